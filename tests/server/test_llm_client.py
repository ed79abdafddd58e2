"""simonw/llm from PyPI, set up as docs/editors.md says, asks the running app."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat_samples import ScriptedBackend
from tests.serving import Served

EDITORS = Path(__file__).parents[2] / "docs" / "editors.md"


def documented(section: str, language: str) -> str:
    """The first block of a language below a heading of docs/editors.md."""
    text = EDITORS.read_text(encoding="utf-8").split(f"## {section}", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def environment(served: Served, tmp_path: Path) -> dict[str, str]:
    """llm's folder with the documented configuration; only the port and the token are this app's."""
    token = served.edge.access.create_client(tmp_path.name)
    models = documented("llm", "yaml").replace("http://127.0.0.1:7468", served.url)
    assert served.url in models
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    (tmp_path / "keys.json").write_text(f'{{"gardener": "{token}"}}')
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**clean, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}


def llm(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    code = "from llm.cli import cli; cli()"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_llm_gets_a_cited_answer(environment: dict[str, str], model: ScriptedBackend) -> None:
    words = ("-m", "gardener", "-s", "Answer in Dutch.", "-o", "temperature", "0", "-o", "seed", "5")
    ran = llm(environment, *words, "How is the lantern lit?")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "The lantern is lit by light_lantern [1]."
    request = model.requests[-1]
    assert "Answer in Dutch." in request.messages[-1].content
    assert (request.temperature, request.seed) == (0, 5)


def test_llm_shows_what_is_wrong(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"gardener": "no-such-token"}')
    ran = llm(environment, "-m", "gardener", "How is the lantern lit?")
    assert ran.returncode != 0
    assert "This needs a link or a token from your terminal" in ran.stderr
