"""The fault programs themselves, each with the least that it can try; `make faults` and `make soak` try much more."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from faults import crowd, kills, look, rot, soak
from faults.garden import Done, Garden, Outcome, real_project, show
from faults.servers import FAULTS
from faults.soak_verdict import Acknowledged, Sample, growth, losses, too_little
from tests.ollama_server import ollama_server


class Here(Garden):
    """Commands that nothing happens to run in this process."""

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        mask = os.umask(0o022)
        try:
            with mock.patch.dict(os.environ, self.environment | dict(environment or {}), clear=True):
                return Done(*look.command(*words))
        finally:
            os.umask(mask)

    def look(self, what: str, *arguments: str) -> Any:
        with mock.patch.dict(os.environ, self.environment, clear=True):
            return look.LOOKS[what](*arguments)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the smallest packages that pytest brings, and no more processes than are killed or meet damage."""
    for module in (kills, rot):
        monkeypatch.setattr(module, "PACKAGE", "iniconfig")
        monkeypatch.setattr(module, "Garden", Here)


def test_a_broken_promise_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Outcome("good", 3), Outcome("bad", 2, ["a message is gone"])
    assert show("Title", [good], 0.0) == 0
    assert show("Title", [good, bad], 0.0) == 1
    said = capsys.readouterr().out
    assert "1 BROKEN" in said and "a message is gone" in said


def test_a_garden_sees_what_differs(tmp_path: Path) -> None:
    """The comparisons that the verdicts rest on tell different homes apart."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "a.py").write_text("def one():\n    return 1\n")
    garden = Here(tmp_path / "home")
    garden.must("add", str(root), "--no-vectors", "--quiet")
    chunks, memory = garden.chunks("code"), garden.memory()
    (root / "a.py").write_text("def one():\n    return 2\n")
    garden.must("index", "--quiet")
    garden.must("ask", "What does one return?", "--json")
    assert garden.chunks("code") != chunks
    assert garden.memory() != memory


@pytest.mark.usefixtures("small")
def test_nothing_is_lost_by_a_kill_in_a_restore(tmp_path: Path) -> None:
    """Kills of what else writes are in the small soak."""
    outcome = kills.restore(tmp_path, random.Random(3), 2)
    assert outcome.tried == 2
    assert not outcome.broken


@pytest.mark.usefixtures("small")
def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    assert rot.main(tmp_path, 37, 1) == 0


def test_an_answer_that_was_given_is_looked_for_and_not_only_its_question() -> None:
    memory = {"projects": ["p"], "p/1": ["Where?", "Here.", "And then?", ""]}
    assert kills.kept("Where?", "Here.", memory)
    assert not kills.kept("And then?", "There.", memory)  # only begun
    assert not kills.kept("Why?", "Because.", memory)


@pytest.mark.usefixtures("small")
def test_a_soak_of_two_projects_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of `make soak`, until everything has happened once."""
    monkeypatch.setattr(crowd, "Garden", Here)
    with ollama_server() as server:
        garden = Here(tmp_path / "home", config=soak.SETTINGS.format(url=server.url, seconds=2))
        del garden.environment["GARDENER_OLLAMA_URL"]
        roots = {name: real_project(tmp_path / name, name) for name in ("iniconfig", "pluggy")}
        for root in roots.values():
            garden.must("add", str(root), "--no-vectors", "--quiet")
        life = soak.Soak(garden, roots, server, 0, pace=2.0, rounds=1)
        server.faults = deque([FAULTS["cuts the stream"]])
        life.run()
        server.faults.clear()
        verdict = life.verdict()
        assert show("A small soak", verdict, 0.0) == 0
        lies = Acknowledged(answers={"Why?": "Never said."}, backups={"never-made": 1}, active={"another"})
        found = losses(garden, roots=dict.fromkeys(roots, tmp_path / "pluggy"), told=lies, kept_backups=99)
        seen = "; ".join(found.broken)
    for loss in ("answers kept", "active project", "backups whole", "indexes equal to new ones"):
        assert loss in seen


def test_a_soak_in_which_too_little_happened_proves_nothing() -> None:
    missing = too_little({"ask": Outcome("ask", 3, counts={"killed": 3})})
    assert "ask: never by the model" in missing and "backup create: never done" in missing


@pytest.mark.parametrize(("per_hour", "broken"), [(0.0, False), (20.0, False), (60.0, True)])
def test_memory_that_grows_is_told_from_memory_that_varies(per_hour: float, broken: bool) -> None:
    """Half an hour of samples; the app settles at first, and every fifth second it is busy."""
    samples = [
        Sample(
            at,
            500
            + per_hour * at / 3600
            + (200 if at % 5 == 0 else 0)
            + random.Random(at).uniform(-8, 8)
            - max(0, 300 - at),
            40,
            20,
        )
        for at in range(1800)
    ]
    assert bool(growth(samples).broken) is broken
    assert "too short" in str(growth(samples[:600]).counts)
