from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gardener.models.inert import clipped, code_span, fenced, prose, visible

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
MARKUP = st.text(alphabet="`~*_[]()!<>#|\\&:;/@$-+=.1a \n\t\"'wmhtp\x1b\u202e\u200b\u2028\ud800")
HOSTILE = st.one_of(st.text(), MARKUP)


def tokens(markdown: str) -> list[Token]:
    flat: list[Token] = []
    for token in PARSER.parse(markdown):
        flat += [token, *(token.children or ())]
    return flat


def assert_nothing_acts(markdown: str, allowed: set[str]) -> None:
    assert {token.type for token in tokens(markdown)} <= allowed, tokens(markdown)
    assert all(c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in markdown)


PARAGRAPH = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}


@given(HOSTILE)
@example("![x](http://evil/p.png) <img src=http://evil> [a](javascript:1) [1]: http://evil")
@example("1) one")
@example("***\n# x")
def test_prose_is_one_paragraph_of_words_and_code(text: str) -> None:
    assert_nothing_acts(prose(text), PARAGRAPH | {"code_inline"})


@given(HOSTILE)
def test_prose_inside_our_own_sentence_does_not_act(text: str) -> None:
    assert_nothing_acts(f"**x** — {prose(text)} in y.", PARAGRAPH | {"code_inline", "strong_open", "strong_close"})


@given(HOSTILE)
def test_a_code_span_is_one_code_span(text: str) -> None:
    span = code_span(text)
    if span:
        inline = [token for token in tokens(f"See {span} there") if token.type == "code_inline"]
        assert len(inline) == 1
        assert inline[0].content.strip() == " ".join(visible(text).split())[:160].strip() or len(text) > 100
        assert_nothing_acts(f"See {span} there", PARAGRAPH | {"code_inline"})


@given(st.lists(HOSTILE, max_size=6), HOSTILE)
@example(["````", "```", "    ```"], "python")
def test_a_fence_holds_whatever_is_inside(lines: list[str], language: str) -> None:
    block = fenced(lines, language)
    parsed = PARSER.parse("\n".join(block))
    assert [token.type for token in parsed] == ["fence"]
    assert parsed[0].content.count("\n") == len(lines)


@pytest.mark.parametrize("address", ["see http://evil.example/x", "www.evil.example", "a@evil.example", "mailto:a"])
def test_bare_addresses_do_not_become_links(address: str) -> None:
    """GitHub's dialect and Gradio's link bare addresses; an escape inside the address stops them."""
    assert "\\" in prose(address)


def test_what_is_written_in_code_quotes_stays_code() -> None:
    assert prose("Sends a :class:`Request` with ``**kwargs`` to *all* of some_name.") == (
        "Sends a `Request` with `**kwargs` to all of some_name."
    )


def test_names_with_underscores_become_code() -> None:
    assert prose("Options for __rich_console__ and _x() of _very_ snake_case.") == (
        "Options for `__rich_console__` and `_x()` of very snake_case."
    )


def test_emphasis_and_links_leave_their_words() -> None:
    assert prose("**Shop** sells [*many* things](http://x.example/y) ![](http://t) 2*3*4") == (
        r"Shop sells many things  2\*3\*4"
    )


def test_a_marker_in_a_docstring_is_not_ours() -> None:
    assert prose("As shown in [1], it works.") == r"As shown in \[1\], it works."


def test_hidden_characters_are_shown() -> None:
    assert visible("a\x1b[31mb\u202ec\u200bd\U000e0041") == r"a\x1b[31mb\u202ec\u200bd\U000e0041"
    assert visible("ok\tä\n😀") == "ok\tä\n😀"


def test_long_lines_are_cut_and_tabs_widened() -> None:
    assert clipped("\tx\r\n") == "    x"
    assert len(clipped("y" * 1000)) == 160
    assert clipped("y" * 1000).endswith("…")


def test_nothing_gives_nothing() -> None:
    assert code_span(" \n ") == ""
    assert prose("") == ""
    assert fenced([]) == ["```", "```"]
