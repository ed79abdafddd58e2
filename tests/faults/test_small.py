"""The fault programs themselves, each with the least that it can try; `make faults` and `make soak` try much more."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from faults import kills, look, rot
from faults.garden import Done, Garden, Outcome, show


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
    """Two of the smallest packages that pytest brings, and no more processes than are killed or meet damage."""
    for module in (kills, rot):
        monkeypatch.setattr(module, "PACKAGE", "iniconfig")
        monkeypatch.setattr(module, "Garden", Here)
    monkeypatch.setattr(kills, "OTHER", "pluggy")


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


@pytest.mark.parametrize("trial", [kills.switch, kills.restore], ids=["switch", "restore"])
@pytest.mark.usefixtures("small")
def test_nothing_is_lost_by_a_kill(tmp_path: Path, trial: kills.Trial) -> None:
    outcome = trial(tmp_path, random.Random(3), 2)
    assert outcome.tried == 2
    assert not outcome.broken


@pytest.mark.usefixtures("small")
def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    assert rot.main(tmp_path, 37, 2) == 0
