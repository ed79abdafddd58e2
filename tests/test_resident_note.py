from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.paths import Paths
from gardener.project_context import ProjectContext
from gardener.resident_note import cost_of_switch, held_models, write_note


@pytest.fixture
def paths(home: Path) -> Paths:
    (home / "models" / "large").mkdir(parents=True, mode=0o700)
    (home / "models" / "large" / "model.safetensors").write_bytes(b"\0" * 200_000_000)
    home.chmod(0o700)
    return Paths(str(home))


def project(**changes: str) -> ProjectContext:
    return ProjectContext("0" * 12, "shop", "/shop", "/home/shop", **changes)  # type: ignore[arg-type]


def test_the_cost_of_another_model_is_said_and_that_of_the_same_is_none(paths: Paths) -> None:
    assert cost_of_switch(paths, project(model="large")) == ""
    write_note(paths, {"mlx": ("/models/small", 4_300_000_000)}, {"mlx": "small"})
    assert cost_of_switch(paths, project()) == ""
    assert cost_of_switch(paths, project(model="small")) == ""
    said = cost_of_switch(paths, project(model="large"))
    assert "'shop' uses another model" in said and "large (0.2 GB)" in said and "small (4.3 GB) leaves memory" in said
    assert cost_of_switch(paths, project(backend="ollama", model="large")) == ""
    assert held_models(paths) == {"mlx": ("/models/small", 4_300_000_000)}
    assert os.stat(os.path.join(paths.run, "resident.json")).st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "held": {}}', '{"pid": ME, "held": {"mlx": 7}}',
        '{"pid": ME, "held": {"mlx": [null, null]}, "defaults": 3}', "[" * 90_000, '{"pid": 99999999999999999999}',
    ],
)  # fmt: skip
def test_a_note_that_is_no_note_says_nothing(paths: Paths, content: str) -> None:
    write_note(paths, {}, {})
    Path(paths.run, "resident.json").write_text(content.replace("ME", str(os.getpid())))
    assert cost_of_switch(paths, project(model="large")) == ""
    assert held_models(paths) == {}


def test_the_note_of_a_process_that_is_gone_counts_no_more(paths: Paths) -> None:
    write_note(paths, {"mlx": ("small", 5)}, {"mlx": "small"})
    file = Path(paths.run, "resident.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": 2**22 + 5}))
    assert cost_of_switch(paths, project(model="large")) == ""


def test_the_budget_knows_what_is_held(home: Path) -> None:
    with Gardener(str(home), {"models.memory_mb": 4_000}) as gardener:
        state = gardener.governor.state()
        assert state.budget_bytes == 4_000_000_000
        assert state.held == {"weights": 0, "prompt caches": 0, "embedder": 0}
        for _ in range(3):
            gardener.governor.relieve("critical")
        assert "memory is short" in gardener.background_waits
