"""An answer's Markdown keeps its meaning and loses what acts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.inert import inert


def link(n: int) -> str:
    return f"<{n}>"


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("a <b>bold</b> claim", "a &lt;b>bold&lt;/b> claim"),
        ("![x](http://t/p.png)", "!\\[x](http://t/p.png)"),
        ("`<img>` stays code", "<code>&#60;img&#62;</code> stays code"),
        ("``a ` <b>`` <i>", "<code>a &#96; &#60;b&#62;</code> &lt;i>"),
        ("unclosed ` <b>", "unclosed &#96; &lt;b>"),
        ("escaped \\<b> is literal", "escaped &lt;b> is literal"),
        ("twice \\\\<b> is not", "twice \\\\&lt;b> is not"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n&lt;b>"),
        ("~~~~\n~~~\n<b>\n~~~~\n<b>", "```\n~~~\n<b>\n```\n&lt;b>"),
        ("- ```\n  <b>\n  ```\n<b>", "```\n<b>\n```\n&lt;b>"),
        ("1. a\n   ```c\n     <b>\n   ```", "1. a\n```c\n  <b>\n```"),
        ("> ```\n> <b>\n> ```\n> <b>", "```\n<b>\n```\n> &lt;b>"),
        ("```\nopen", "```\nopen\n```"),
        ("~~~\n```\n~~~", "````\n```\n````"),
        ("[a]: x", "[a]\\: x"),
        ("turned \u202e", "turned \\u202e"),
    ],
)
def test_html_and_images_become_text_outside_code(given_text: str, shown: str) -> None:
    assert inert(given_text) == shown


def test_only_known_numbers_outside_code_become_citations() -> None:
    text = "[1] and [2][3], not `[1]`, not [9], not \\[1], not [1](address), not ![1]"
    assert inert(text, link, {1, 2, 3}) == (
        "<1> and <2><3>, not <code>&#91;1&#93;</code>, not [9], not \\[1], not [1](address), not !\\[1]"
    )


BYPASSES = (
    "> ```\n> a\n\n{}",
    "- ```\n  a\n\n{}",
    "1. ```\n{}",
    "foo ` bar\nbaz ` {} `",
    "`a\n{}`",
    "```a`b\n{}",
    "```\n```~\n{}",
    "```\r{}",
    "[`a`](x`) {} `",
    "\\` {} `",
    "http://x/` {} `",
    "http://x/\\{}",
    "~~a ` b~~ {} `",
    "|a|b|\n|-|-|\n| ` | {} ` |",
    "[a]:\n```\n{}",
    "[a]: x '\n```\n{}'",
    "   ```\n```\n{}",
    ">\t~~~\n~~~\n{}",
    "```\t\n{}\n```\t\n{}",
)
"""Where a parser of our own and that of a renderer may differ about what is code."""
TAG = '<a class="acts" href="#do-delete-1">Helpful</a>'


@pytest.mark.parametrize("form", BYPASSES)
def test_what_is_code_is_no_matter_of_opinion(form: str) -> None:
    text = inert(form.replace("{}", TAG))
    assert_inert(text)


def assert_inert(text: str) -> None:
    """Nothing begins a tag but our own spans of code, outside of fences at the margin that nothing in them closes."""
    fence = ""
    for line in text.split("\n"):
        if fence:
            fence = "" if line == fence else fence
            assert not line.lstrip().startswith(fence or "\0"), line
        elif line.startswith("```"):
            fence = re.match("`+", line).group()  # type: ignore[union-attr]
            assert "`" not in line[len(fence) :]
        else:
            assert "`" not in line and "~~~" not in line and "\r" not in line
            assert "<" not in re.sub(r"<code>(?:&#\d+;|[^<&`])*</code>", "", line), line
            assert "![" not in line and "]:" not in line
    assert not fence


@given(st.text(alphabet="<>![]():`~\\\n\r\t -1.ab", max_size=80))
def test_nothing_acts_outside_code(text: str) -> None:
    assert_inert(inert(text))
