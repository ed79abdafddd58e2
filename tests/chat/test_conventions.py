from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.chat.conventions import MOST_BYTES, conventions, conventions_files, conventions_state


def said(root: Path, most: int = 4000) -> str:
    return conventions(str(root), lambda text: text.replace("hunter2", "REDACTED"), most)


def test_what_a_project_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "ReadMe.md").write_text(
        '# Shop\n\n[![build](https://x/y.svg)](https://x)\n<img src="https://evil/p.png">\n\nSells [things](https://x/y).\n'
    )
    (tmp_path / "CONTRIBUTING.md").write_text("Use tabs. Key: hunter2\n")
    text = said(tmp_path)
    assert text == "CONTRIBUTING.md:\nUse tabs. Key: REDACTED\nReadMe.md:\n# Shop\nSells things."


def test_one_readme_and_nothing_from_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("Secret plans")
    root = tmp_path / "project"
    root.mkdir()
    (root / "AGENTS.md").symlink_to(outside)
    (root / "README.md").write_text("One")
    (root / "README.rst").write_text("Two")
    (root / "CONTRIBUTING.md").mkdir()
    assert said(root) == "README.md:\nOne"
    assert said(tmp_path / "nowhere") == ""


def test_it_keeps_to_its_length_in_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("A line of text.\n" * 10_000)
    (tmp_path / "AGENTS.md").write_bytes(b"\xff\xfe" + b"Rule.\n" * MOST_BYTES)
    text = said(tmp_path, 1000)
    assert len(text) <= 1000
    assert set(text.split("\n")[-3:]) == {"A line of text."}
    assert said(tmp_path, 100) == ""


def test_its_state_changes_with_its_files(tmp_path: Path) -> None:
    before = conventions_state(str(tmp_path))
    (tmp_path / "README.md").write_text("One")
    after = conventions_state(str(tmp_path))
    assert before != after == conventions_state(str(tmp_path))
    assert [Path(path).name for path in conventions_files(str(tmp_path))] == ["README.md"]


@pytest.mark.parametrize(
    "text", ["[" * 40_000, "![" * 20_000, "<" * 40_000, "<img" * 10_000, "[![](" * 8_000, "\n \n" * 13_000]
)
def test_hostile_markup_takes_linear_time(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert len(said(tmp_path)) <= 4000


@given(st.text())
def test_any_readme(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("project")
    (root / "README.md").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert len(said(root, 500)) <= 500
