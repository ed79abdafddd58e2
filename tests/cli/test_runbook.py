"""`gardener runbook`: the pages are there in a checkout and in an installed wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gardener import runbooks

TOP = Path(__file__).resolve().parents[2]


def test_all_of_them_and_one(gardener: Any) -> None:
    listed = gardener("runbook", "--json").json
    assert listed["folder"] == str(TOP / "runbooks")
    assert {"name": "disk-full", "title": "The disk is full or nearly so"} in listed["runbooks"]
    assert "disk-full" in gardener("runbook").out
    said = gardener("runbook", "disk-full")
    assert said.code == 0 and said.out == (TOP / "runbooks/disk-full.md").read_text()
    assert gardener("runbook", "disk-full", "--json").json["text"] == said.out


def test_one_that_is_not_there_names_the_nearest(gardener: Any) -> None:
    said = gardener("runbook", "disk-ful")
    assert said.code == 4 and "Did you mean 'disk-full'?" in said.err and "try: gardener runbook disk-full" in said.err
    for name in ("../README", "README", "disk-full.md", ""):
        assert gardener("runbook", name).code == 4, name


def test_a_wheel_carries_them_where_they_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    inside = Path(runbooks.FOLDERS[0]).relative_to(TOP)
    assert wheel["force-include"]["runbooks"] == inside.as_posix()
    pages = tmp_path / "runbook_pages"
    pages.mkdir()
    (pages / "one.md").write_text("# One\n\nText.\n")
    monkeypatch.setattr(runbooks, "FOLDERS", (str(pages), str(tmp_path / "nowhere")))
    assert runbooks.names() == ["one"] and runbooks.read("one").title == "One"


def test_an_installation_without_them_says_so(gardener: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runbooks, "FOLDERS", (str(tmp_path / "a"), str(tmp_path / "b")))
    said = gardener("runbook")
    assert said.code == 1 and "The runbooks are missing" in said.err
