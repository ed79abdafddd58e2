"""Colours never change the text, and never let it act."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.highlight import highlighted


def plain(line: str) -> str:
    return unescape(re.sub(r"</?span[^>]*>", "", line))


@given(
    st.lists(st.text(alphabet="\"'`#/*-<>&\\ aif1=\t", max_size=40), max_size=8),
    st.sampled_from(["python", "go", "sql", "markdown", "unknown", ""]),
)
def test_every_character_survives_and_is_escaped(lines: list[str], language: str) -> None:
    shown = highlighted(lines, language)
    assert [plain(line) for line in shown] == lines
    assert all(re.fullmatch(r'(?:[^<>]|<span class="[csnk]">|</span>)*', line) for line in shown)


def test_kinds_are_told_apart() -> None:
    line = highlighted(['if x == 12: return "if"  # if'], "python")[0]
    assert re.findall(r'<span class="(.)">(.*?)</span>', line) == [
        ("k", "if"),
        ("n", "12"),
        ("k", "return"),
        ("s", "&quot;if&quot;"),
        ("c", "# if"),
    ]


@pytest.mark.parametrize(
    ("language", "lines"),
    [("python", ['"""Opens.', "if inside", 'closes"""', "if outside"]), ("go", ["/* a", "if b", "*/", "if c"])],
)
def test_what_spans_lines_is_followed(language: str, lines: list[str]) -> None:
    shown = highlighted(lines, language)
    assert 'class="k"' not in shown[1]
    assert '<span class="k">if</span>' in shown[3]


def test_a_very_long_line_is_left_alone() -> None:
    assert highlighted(["if " * 500], "python") == ["if " * 500]
