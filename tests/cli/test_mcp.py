"""`gardener mcp install`: shown, asked, written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Gardener
from tests.serving import write_project


@pytest.fixture(autouse=True)
def own_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's home folder of the test's own, and standard input that nobody sits at."""
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return user


def test_the_change_is_shown_and_written(gardener: Gardener, own_user: Path, home: Path) -> None:
    path = own_user / ".cursor" / "mcp.json"
    path.parent.mkdir()
    token = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    before = f'{{\n  // mine\n  "mcpServers": {{\n    "hub": {{"env": {{"TOKEN": "{token}"}}}}\n  }}\n}}\n'
    path.write_text(before)
    said = gardener("mcp", "install", "cursor", "--yes")
    assert said.code == 0
    assert '+    "gardener": {' in said.out
    assert token not in said.out  # the lines around it are shown too
    assert f"Wrote {path}" in said.out
    assert token in path.read_text()
    assert "// mine" in path.read_text()
    assert str(home) in path.read_text()  # an editor does not see GARDENER_HOME
    assert (own_user / ".cursor" / "mcp.json.before-gardener").read_text() == before
    again = gardener("mcp", "install", "cursor", "--json")
    assert again.json == {"client": "cursor", "file": str(path), "outcome": "unchanged", "backup": None}
    removed = gardener("mcp", "install", "cursor", "--remove", "--yes", "--json")
    assert removed.json["outcome"] == "removed"
    assert path.read_text() == before


def test_nothing_is_written_without_a_yes(gardener: Gardener, own_user: Path) -> None:
    said = gardener("mcp", "install", "zed")
    assert said.code == 2
    assert "there is nobody to ask" in said.err
    assert list(own_user.iterdir()) == []


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_the_answer_counts(
    gardener: Gardener, own_user: Path, monkeypatch: pytest.MonkeyPatch, answer: str, written: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("gardener.cli.console.Console.interactive", property(lambda self: True))
    said = gardener("mcp", "install", "claude-code")
    assert said.code == 0
    assert (own_user / ".claude.json").exists() is written
    assert ("Nothing was written." in said.err) is not written


def test_print_writes_nothing(gardener: Gardener, own_user: Path) -> None:
    said = gardener("mcp", "install", "vscode", "--print")
    entry = said.json["servers"]["gardener"]
    assert entry["type"] == "stdio"
    assert entry["args"][0] in ("mcp", "-m")
    assert list(own_user.iterdir()) == []


def test_the_projects_own_file(
    gardener: Gardener, tmp_path: Path, own_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARDENER_INDEX_BACKGROUND_EMBEDDING", "false")
    root = write_project(tmp_path / "shop")
    monkeypatch.chdir(root / "src")
    outside = gardener("mcp", "install", "vscode", "--project-scope", "--yes")
    assert outside.code == 2
    assert "is in no project" in outside.err
    assert gardener("add", str(root), "--quiet").code == 0
    assert gardener("mcp", "install", "vscode", "--project-scope", "--yes").code == 0
    written = json.loads((root / ".vscode" / "mcp.json").read_text())
    assert written == {"servers": {"gardener": {"type": "stdio", "command": "gardener", "args": ["mcp"]}}}
    assert list(own_user.iterdir()) == []


def test_a_broken_file_is_named_and_kept(gardener: Gardener, own_user: Path) -> None:
    path = own_user / ".claude.json"
    path.write_text("{broken")
    said = gardener("mcp", "install", "claude-code", "--yes")
    assert said.code == 3
    assert str(path) in said.err
    assert "line 1, column 2" in said.err
    assert path.read_text() == "{broken"


def test_wrong_words_are_refused(gardener: Gardener) -> None:
    assert "emacs is not one of claude-code, cursor, vscode, zed" in gardener("mcp", "install", "emacs").err
    assert "Which client?" in gardener("mcp", "install").err
    assert "belong to `install`" in gardener("mcp", "--yes").err
    assert gardener("mcp", "uninstall").code == 2
