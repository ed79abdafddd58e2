from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.index.words import MAXIMUM_WORD, identifiers, index_words, query_words, split_identifier, stem


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("getHTTPResponse2", ("get", "http", "response", "2")),
        ("snake_case_name", ("snake", "case", "name")),
        ("XMLHttpRequest", ("xml", "http", "request")),
        ("SCREAMING_SNAKE", ("screaming", "snake")),
        ("__init__", ("init",)),
        ("utf8", ("utf", "8")),
        ("größe", ("größe",)),
        ("maxGröße_Übel", ("max", "größe", "übel")),
        ("名前", ("名前",)),
    ],
)
def test_identifiers_split_where_people_would(identifier: str, parts: tuple[str, ...]) -> None:
    assert split_identifier(identifier) == parts


def test_whole_identifier_and_its_parts_are_indexed() -> None:
    assert index_words("getHTTPResponse2(x)") == "gethttpresponse2 get http respons 2 x"
    assert index_words("snake_case") == "snakecas snake case"
    assert index_words("größe() übel") == "größe übel"


def test_noise_is_left_out() -> None:
    assert index_words("a" * (MAXIMUM_WORD + 1)) == ""
    assert index_words("... --- !!!") == ""


def test_question_words_go_while_others_remain() -> None:
    assert query_words("where is the session cookie set?") == ["session", "cookie", "set"]
    assert query_words("what is this") != []


def test_a_pasted_page_is_bounded() -> None:
    page = " ".join(f"identifierNumber{n}" for n in range(5_000))
    assert 0 < len(query_words(page)) <= 48


@given(st.text())
def test_query_words_of_a_text_are_among_its_index_words(text: str) -> None:
    assert {stem(word) for word in query_words(text, limit=10**6)} <= set(index_words(text).split())


@pytest.mark.parametrize(("question", "code"), [("resolving urls", "resolve_url"), ("indexed", "indexes")])
def test_english_endings_meet(question: str, code: str) -> None:
    assert {stem(word) for word in query_words(question)} <= set(index_words(code).split())


@given(st.text())
def test_words_are_lower_case_and_whole(text: str) -> None:
    for word in index_words(text).split():
        assert word == word.lower() or not word.isascii()
        assert identifiers(word) == [word] or not word.isascii()
