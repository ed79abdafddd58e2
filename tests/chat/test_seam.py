"""The two halves of an answer become one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.chat.seam import LONGEST_OVERLAP, Seam, numbering, overlap
from gardener.types import Citation
from tests.chat_samples import EXPIRE, LOAD, LOGIN, STORE_CLASS


def joined(first: str, second: str, numbers: dict[int, int] | None = None, piece: int = 7) -> str:
    seam = Seam(first, numbers or {})
    shown = "".join(seam.add(second[at : at + piece]) for at in range(0, len(second), piece)) + seam.end()
    assert shown == seam.text
    return first + shown


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("The store is lo", "aded from disk.", "The store is loaded from disk."),
        ("The store is loo", "ked up.", "The store is looked up."),
        ("The store is loo", "looked up.", "The store is looked up."),  # the cut word begun anew
        ("x = foo + ", "foo + bar", "x = foo + foo + bar"),  # as good code as any
        ("it had", " had none", "it had had none"),
        ("see the caller of it", "the caller of it, and then", "see the caller of it, and then"),
        ("one\n- item two\n", "- item two\n- item three\n", "one\n- item two\n- item three\n"),
        ("a\n\n", "b", "a\n\nb"),
        ("```python\nx = 1\ny =", "```python\ny = 2\n```\n", "```python\nx = 1\ny = 2\n```\n"),
        ("```python\nx = 1\n", "```python\ny = 2\n```\n", "```python\nx = 1\ny = 2\n```\n"),
        ("```python\nx = 1\n", "```\nThen it ends.", "```python\nx = 1\n```\nThen it ends."),
    ],
)
def test_nothing_is_said_twice_and_nothing_is_lost(first: str, second: str, whole: str) -> None:
    for piece in (1, 7, 1_000):
        assert joined(first, second, piece=piece) == whole


@given(st.text(max_size=60), st.text(max_size=60))
def test_an_overlap_is_the_end_of_one_and_the_beginning_of_the_other(first: str, second: str) -> None:
    length = overlap(first, second)
    assert 0 <= length <= LONGEST_OVERLAP and first.endswith(second[:length])


@given(st.text(alphabet="ab [1]`\n~", max_size=80), st.text(alphabet="ab [12]`\n~", max_size=900), st.integers(1, 50))
def test_pieces_do_not_matter(first: str, second: str, piece: int) -> None:
    numbers = {1: 1, 2: 5}
    assert joined(first, second, numbers, piece) == joined(first, second, numbers, 10_000)


def test_markers_get_the_numbers_of_the_whole_except_in_code() -> None:
    first, numbers = "It loads [1].\n", {1: 4, 2: 1}
    second = "Then [1], and [2].\n```\nitems[1]\n```\n`row[2]` is kept, [1, 2], [9].\n"
    assert joined(first, second, numbers) == (
        first + "Then [4], and [1].\n```\nitems[1]\n```\n`row[2]` is kept, [4][1], [?].\n"
    )


def test_a_fence_that_is_open_keeps_its_code() -> None:
    assert joined("```python\nx = ", "items[1]\ny = items[2]\n```\nsee [1]\n", {1: 3, 2: 4}) == (
        "```python\nx = items[1]\ny = items[2]\n```\nsee [3]\n"
    )


def test_a_code_span_that_is_open_keeps_its_code() -> None:
    assert joined("It is `items", "[1]` and [1]", {1: 3}) == "It is `items[1]` and [3]"


def citation(n: int, path: str, start: int, end: int) -> Citation:
    return Citation(n, path, start, end, "f" * 64, "current")


def test_the_same_lines_keep_their_number_and_others_never_take_it() -> None:
    sources = (LOAD, STORE_CLASS, LOGIN, EXPIRE)
    kept = (citation(2, LOAD.path, LOAD.start_line, LOAD.end_line), citation(3, "gone.py", 1, 2))
    numbers = numbering(kept, sources)
    assert numbers == {1: 2, 2: 5, 3: 6, 4: 4}
    assert numbering((citation(1, LOAD.path, LOAD.start_line, LOAD.end_line),), sources) == {1: 1, 2: 2, 3: 3, 4: 4}


@given(st.sets(st.integers(1, 30)), st.integers(0, 4))
def test_no_two_sources_share_a_number(taken: set[int], known: int) -> None:
    sources = (LOAD, STORE_CLASS, LOGIN, EXPIRE)
    kept = [citation(n, f"{n}.py", 1, 1) for n in sorted(taken)]
    kept[:known] = [
        citation(one.n, source.path, source.start_line, source.end_line)
        for one, source in zip(kept[:known], sources, strict=False)
    ]
    numbers = numbering(kept, sources)
    assert len(set(numbers.values())) == len(sources)
    strangers = {one.n for one in kept} - {numbers[at] for at in range(1, 5)}
    assert not strangers & set(numbers.values())
