from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.chat.packed import unpacked
from gardener.models.relevance import question_terms
from gardener.types import SearchHit
from tests.chat_samples import LOAD, make_hit

PACKED = '''\
class HTTPError(RequestException):
    """An HTTP error occurred."""


class SSLError(ConnectionError):
    """An SSL error occurred."""

    code = 1


TIMEOUT: float = 3.0
LIMITS = [
    1,
]
'''


def narrowed(question: str, text: str = PACKED) -> SearchHit:
    (hit,) = unpacked([make_hit("src/errors.py", 66, text, kind="block")], question_terms(question))
    return hit


def test_the_definition_that_the_question_names() -> None:
    hit = narrowed("where is SSLError defined?")
    assert (hit.symbol, hit.kind, hit.signature) == ("SSLError", "class", "class SSLError(ConnectionError)")
    assert (hit.start_line, hit.end_line) == (70, 73)
    assert hit.text == "\n".join(PACKED.split("\n")[4:8])


@pytest.mark.parametrize(
    ("question", "start", "end", "kind"),
    [
        ("what is TIMEOUT", 76, 76, "constant"),
        ("what is errors.LIMITS", 77, 79, "constant"),
        ("HTTPError", 66, 67, "class"),
    ],
)
def test_constants_and_qualified_names(question: str, start: int, end: int, kind: str) -> None:
    hit = narrowed(question)
    assert (hit.start_line, hit.end_line, hit.kind) == (start, end, kind)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("export default async function go(x) {", "function"),
        ("func (s *Server) go(x int) error {", "function"),
        ("pub fn go(x: u8) {", "function"),
        ("public static final class go {", "class"),
        ("const go = () => {", "constant"),
        ("type go struct {", "type"),
    ],
)
def test_declarations_of_other_languages(line: str, kind: str) -> None:
    hit = narrowed("where is `go`?", f"other()\n{line}\n  body\n}}\nnext()")
    assert (hit.symbol, hit.kind, hit.text) == ("go", kind, f"{line}\n  body\n}}")


@pytest.mark.parametrize("question", ["where are errors raised", "who raises ConnectionError", "sslerror", "Request"])
def test_a_use_of_a_name_is_no_declaration(question: str) -> None:
    assert narrowed(question).symbol == ""


def test_a_chunk_that_has_its_own_symbol_is_left_alone() -> None:
    assert unpacked([LOAD], question_terms("where is `path`?")) == (LOAD,)


@given(st.text(), st.text(max_size=40))
def test_a_narrowed_chunk_is_lines_of_the_chunk(text: str, question: str) -> None:
    hit = narrowed(question, text)
    assert hit.text.split("\n") == text.split("\n")[hit.start_line - 66 : hit.end_line - 65]
