from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gardener.chat.citations import lines_sha256, reader, settle_markers, verify
from gardener.types import Citation
from tests.chat_samples import EXPIRE, LOAD, LOGIN, make_hit, write_project


@pytest.mark.parametrize(
    ("text", "shown", "cited"),
    [
        ("It is here [1].", "It is here [1].", (1,)),
        ("Here [2][1] and [1, 3].", "Here [2][1] and [1][3].", (2, 1, 3)),
        ("All [1-3], or [1–2].", "All [1][2][3], or [1][2].", (1, 2, 3)),
        ("Footnotes [^2] too", "Footnotes [2] too", (2,)),
        ("No such [9].", "No such [?].", ()),
        ("Half [1, 9].", "Half [1][?].", (1,)),
        ("Zero [0], huge [999999].", "Zero [?], huge [?].", ()),
        ("Silly range [1-999999].", "Silly range [1][?].", (1,)),
        ("A link [1](http://evil)", "A link [1] (http://evil)", (1,)),
        ("[1]: http://evil", "[1] : http://evil", (1,)),
        ("![1](http://evil/x.png)", "[1] (http://evil/x.png)", (1,)),
        ("Code `items[1]` and ``a ` [2]``", "Code `items[1]` and ``a ` [2]``", ()),
        ("```python\nx[1]\n```\nafter [2]", "```python\nx[1]\n```\nafter [2]", (2,)),
        ("```\nx[1] never closed\n", "```\nx[1] never closed\n", ()),
        (
            "- a list\n    ```py\n    x[9]\n    ```\n  [1]",
            "- a list\n    ```py\n    x[9]\n    ```\n  [1]",
            (1,),
        ),
        ("``` not ` a fence\n[9]", "``` not ` a fence\n[?]", ()),
        ("````\n```\nx[1]\n````\n[3]", "````\n```\nx[1]\n````\n[3]", (3,)),
        (r"Escaped \[1\] is a quotation", r"Escaped \[1\] is a quotation", ()),
        ("words [not one] and [x1]", "words [not one] and [x1]", ()),
        ("An unpaired ` and [1]", "An unpaired ` and [1]", (1,)),
        ("", "", ()),
    ],
)
def test_markers(text: str, shown: str, cited: tuple[int, ...]) -> None:
    marked = settle_markers(text, 3)
    assert (marked.text, marked.cited) == (shown, cited)


def test_unknown_numbers_are_reported() -> None:
    assert settle_markers("[7] [1] [8]", 3).unknown == (7, 8)


@given(st.text(alphabet="[]^0123456789,;-– and`~\n()!:\\x") | st.text(), st.integers(0, 5))
def test_any_text_parses_and_only_known_numbers_stay(text: str, count: int) -> None:
    marked = settle_markers(text, count)
    assert set(marked.cited) <= set(range(1, count + 1))
    again = settle_markers(marked.text, count)
    assert set(again.cited) <= set(marked.cited)
    assert not again.unknown or "`" in text or "~" in text


@given(st.text(alphabet="[]1234^,(): !http/\n"))
def test_a_marker_never_becomes_a_link(text: str) -> None:
    parsed = MarkdownIt("commonmark").parse(settle_markers(text, 3).text)
    for token in (child for block in parsed for child in (block.children or ())):
        assert token.type not in ("link_open", "image") or not re.fullmatch(r"\d+", token.content or "x")


def check(root: Path, *hits: object) -> tuple[Citation, ...]:
    return verify(range(1, len(hits) + 1), hits, reader(str(root), redact=lambda text, path: text))  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    write_project(project)
    return project


def test_unchanged_lines_are_current_and_hashed_as_anyone_can(root: Path) -> None:
    (citation,) = check(root, LOAD)
    assert (citation.state, citation.start_line, citation.end_line) == ("current", 12, 30)
    on_disk = (root / "src/store.py").read_text().splitlines()[11:30]
    assert citation.sha256 == hashlib.sha256("\n".join(on_disk).encode()).hexdigest()
    assert (citation.n, citation.path, citation.symbol) == (1, "src/store.py", "SessionStore.load_session")


def test_lines_that_moved_are_current_where_they_are_now(root: Path) -> None:
    file = root / "src/store.py"
    file.write_text("# one\n# two\n" + file.read_text())
    load, expire = check(root, LOAD, EXPIRE)
    assert (load.state, load.start_line, load.end_line) == ("current", 14, 32)
    assert (expire.state, expire.start_line) == ("current", 35)


def test_of_two_places_the_nearer_one(root: Path) -> None:
    (root / "two.py").write_text("a\n" * 3 + "x = 1\n" + "b\n" * 30 + "x = 1\n")
    (citation,) = check(root, make_hit("two.py", 33, "x = 1"))
    assert citation.start_line == 35


def test_edited_lines_are_changed_and_keep_the_hash_of_what_was_cited(root: Path) -> None:
    file = root / "src/store.py"
    before = check(root, LOAD)[0].sha256
    file.write_text(file.read_text().replace("return {}", "return None"))
    load, expire = check(root, LOAD, EXPIRE)
    assert (load.state, load.sha256) == ("changed", before)
    assert expire.state == "current"


def test_one_flipped_character_anywhere_is_noticed(root: Path) -> None:
    file = root / "src/store.py"
    text = file.read_text()
    start = text.index("    def load_session")
    for at in range(start, start + len(LOAD.text), 37):
        file.write_text(text[:at] + ("#" if text[at] != "#" else "%") + text[at + 1 :])
        assert check(root, LOAD)[0].state == "changed"


def test_a_file_that_is_gone_or_too_short_is_missing(root: Path) -> None:
    (root / "src/handlers.py").unlink()
    (root / "src/store.py").write_text("# nothing left\n")
    assert [citation.state for citation in check(root, LOGIN, LOAD)] == ["missing", "missing"]


def test_nothing_outside_the_root_is_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text("x = 1\n")
    (root / "link.txt").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    hits = [
        make_hit(path, 1, "x = 1") for path in ("link.txt", "linked/secret.txt", "../secret.txt", str(outside), "pipe")
    ]
    assert {citation.state for citation in check(root, *hits)} == {"missing"}


def test_a_file_that_has_grown_too_big_is_not_read(root: Path) -> None:
    lines = reader(str(root), redact=lambda text, path: text, max_file_bytes=10)
    assert verify([1], [LOAD], lines)[0].state == "missing"


def test_redacted_lines_are_compared_redacted(root: Path) -> None:
    def redact(text: str, path: str) -> str:
        return text.replace("visits", "[secret]")

    hit = replace(LOAD, text=redact(LOAD.text, ""))
    (citation,) = verify([1], [hit], reader(str(root), redact=redact))
    assert citation.state == "current"
    assert citation.sha256 == lines_sha256(hit.text)
    assert verify([1], [LOAD], reader(str(root), redact=redact))[0].state == "changed"


def test_the_index_s_own_redaction_is_the_default(root: Path) -> None:
    (citation,) = verify([1], [LOAD], reader(str(root)))
    assert citation.state == "current"


def test_line_ends_of_windows_do_not_count(root: Path) -> None:
    (root / "w.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    (citation,) = check(root, make_hit("w.py", 1, "a = 1\r\nb = 2\r"))
    assert citation.state == "current"
    assert citation.sha256 == hashlib.sha256(b"a = 1\nb = 2").hexdigest()


def test_blank_lines_are_not_looked_for_elsewhere(root: Path) -> None:
    (root / "b.py").write_text("x\n\n\n\n")
    assert check(root, make_hit("b.py", 1, "\n"))[0].state == "changed"


def test_each_file_is_read_once() -> None:
    reads: list[str] = []

    def read_lines(path: str) -> list[str]:
        reads.append(path)
        return []

    verify([1, 2], [LOAD, EXPIRE], read_lines)
    assert reads == ["src/store.py"]
