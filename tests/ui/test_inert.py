"""An answer's Markdown keeps its meaning and loses what acts."""

from __future__ import annotations

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
        ("`<img>` stays code", "`<img>` stays code"),
        ("``a ` <b>`` <i>", "``a ` <b>`` &lt;i>"),
        ("unclosed ` <b>", "unclosed ` &lt;b>"),
        ("escaped \\<b> is literal", "escaped \\<b> is literal"),
        ("twice \\\\<b> is not", "twice \\\\&lt;b> is not"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n&lt;b>"),
        ("~~~~\n~~~\n<b>\n~~~~\n<b>", "~~~~\n~~~\n<b>\n~~~~\n&lt;b>"),
        ("- ```\n  <b>\n  ```\n<b>", "- ```\n  <b>\n  ```\n&lt;b>"),
    ],
)
def test_html_and_images_become_text_outside_code(given_text: str, shown: str) -> None:
    assert inert(given_text) == shown


def test_only_known_numbers_outside_code_become_citations() -> None:
    text = "[1] and [2][3], not `[1]`, not [9], not \\[1], not [1](address), not ![1]"
    assert inert(text, link, {1, 2, 3}) == (
        "<1> and <2><3>, not `[1]`, not [9], not \\[1], not [1](address), not !\\[1]"
    )


@given(st.text(alphabet="<>![]()`~\\\n ab1", max_size=60))
def test_no_tag_begins_outside_code(text: str) -> None:
    shown = inert(text)
    if "`" not in text and "~" not in text:
        assert "![" not in shown.replace("\\![", "")
        for at, character in enumerate(shown):
            if character == "<":
                before = shown[:at]
                assert (len(before) - len(before.rstrip("\\"))) % 2 == 1
    assert shown.count("\n") == text.count("\n")
