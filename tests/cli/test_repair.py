"""`gardener repair`: nothing unasked, what it will do is said first, and the checks decide about the exit code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gardener.cli.console import Console
from tests.cli.conftest import Gardener as Run


@pytest.fixture
def wrong(gardener: Run, home: Path) -> Path:
    """A settings file with a wrong value, control characters and all."""
    assert gardener("config", "set", "server.port", "7999").code == 0
    config = home / "config.toml"
    config.write_text(config.read_text() + '[search]\nlimit = "\\u001b[2Jmany"\n')
    return config


def test_without_a_kind_it_only_says_what_it_would_do(gardener: Run, wrong: Path) -> None:
    before = wrong.read_text()
    said = gardener("repair")
    assert said.code == 0 and "config-invalid: " in said.out and "would: Take search.limit out of" in said.out
    assert "\x1b" not in said.out and "gardener repair --all" in said.err
    shown = gardener("repair", "--dry-run", "--json").json
    row = next(row for row in shown["findings"] if row["id"] == "config-invalid")
    assert row["repairable"] and "search.limit" in row["does"] and shown["repairs"] == []
    assert all(row["repairable"] or (row["why_not"] and row["instead"]) for row in shown["findings"])
    assert wrong.read_text() == before and not (wrong.parent / "repairs").exists()


def test_it_asks_and_says_what_came_of_it(gardener: Run, wrong: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = wrong.read_text()
    said = gardener("repair", "--all")
    assert said.code == 2 and "--dry-run" in said.err and wrong.read_text() == before
    monkeypatch.setattr(Console, "interactive", True)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    said = gardener("repair", "config-invalid")
    assert said.code == 1 and "Do it? [y/N]" in said.err and wrong.read_text() == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = gardener("repair", "config-invalid")
    assert said.code == 0 and "looked again: it is mended" in said.out and "port = 7999" in wrong.read_text()
    (kept,) = (wrong.parent / "repairs").rglob("config.toml")
    assert kept.read_text() == before and str(kept.parent) in said.out
    said = gardener("repair", "config-invalid", "--yes")
    assert said.code == 0 and said.out == "Nothing of the kind config-invalid was found.\n"


def test_what_it_does_not_mend_it_says_and_fails(gardener: Run, home: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    assert gardener("add", str(tmp_path / "gone"), "--no-vectors").code == 0
    (tmp_path / "gone").rmdir()
    said = gardener("repair", "project-folder-gone", "--yes")
    assert said.code == 1 and "not here: Where it is now" in said.out
    assert gardener("repair", "no-such-kind").code == 2
    assert gardener("repair", "modes-open", "--all").code == 2


def test_what_was_only_a_consequence_is_not_mended_twice(
    gardener: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("def one():\n    return 1\n")
    assert gardener("add", str(tmp_path / "code"), "--no-vectors").code == 0
    (home / "config.toml").write_text('[index]\nworkers = "many"\n')
    (home / "config.toml").chmod(0o600)
    said = gardener("repair", "config-invalid", "--yes", "--json")
    assert said.code == 0 and said.json["ok"] and [row["mended"] for row in said.json["repairs"]] == [True]
    assert {row["subject"] for row in said.json["findings"]} == {"", "code"}
