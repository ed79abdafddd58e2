from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.models.relevance import (
    aside,
    judge,
    names,
    question_terms,
    split_words,
    stem,
    stems,
    term_match,
)
from tests.chat_samples import HITS, LOAD, STORE_CLASS, make_hit


def relevant(question: str, *hits: object) -> bool:
    return judge(question_terms(question), hits or HITS).relevant  # type: ignore[arg-type]


def test_identifiers_are_split() -> None:
    assert split_words("getHTTPAdapter_v2 naïve") == ["get", "http", "adapter", "v", "2", "na", "ï", "ve"]


@pytest.mark.parametrize(
    "family",
    [
        ("redirect", "redirects", "redirected", "redirecting", "redirection"),
        ("cookie", "cookies"),
        ("query", "queries"),
        ("cache", "caches", "cached", "caching"),
        ("run", "running"),
        ("handle", "handles", "handler", "handled", "handling"),
        ("proxy", "proxies"),
    ],
)
def test_forms_of_a_word_share_a_stem(family: tuple[str, ...]) -> None:
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize(("one", "other"), [("header", "head"), ("process", "procedure"), ("status", "state")])
def test_other_words_do_not(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@given(st.text(max_size=60))
def test_a_stem_is_never_empty_and_never_longer(word: str) -> None:
    for part in split_words(word):
        assert 0 < len(stem(part)) <= len(part)


def test_a_beginning_counts_less_than_the_whole() -> None:
    bag = stems("authenticate")
    assert term_match(stem("authentication"), bag) == 1.0
    assert 0 < term_match("auth", bag) < 1.0
    assert term_match("au", bag) == 0.0


def test_terms_of_a_question() -> None:
    terms = question_terms("Where does `load_session` read the Cookie file, and how do I use HTTPAdapter.send()?")
    assert terms.identifiers == ("load_session", "HTTPAdapter.send")
    assert "where" not in terms.words.values()
    assert {"load", "session", "cookie", "read", "send"} <= set(terms.words.values())
    assert "Cookie" in terms.plain_names


def test_a_name_made_of_stop_words_is_still_asked_for() -> None:
    assert question_terms("who calls get()?").words == {"get": "get"}


@pytest.mark.parametrize(
    ("identifier", "symbol", "same"),
    [
        ("load_session", "SessionStore.load_session", True),
        ("SessionStore.load_session", "SessionStore.load_session", True),
        ("sessionstore", "SessionStore", True),
        ("session", "SessionStore", False),
        ("Other.load_session", "SessionStore.load_session", False),
        ("a::b", "x.a.b", True),
    ],
)
def test_names(identifier: str, symbol: str, same: bool) -> None:
    assert names(identifier, symbol) is same


@pytest.mark.parametrize(
    "question",
    [
        "How are sessions loaded from disk?",
        "where is SessionStore",
        "load_session",
        "what happens with an empty file after a crash when loading?",
        "sessions",
    ],
)
def test_questions_about_the_code_are_relevant(question: str) -> None:
    assert relevant(question)


@pytest.mark.parametrize(
    "question",
    [
        "recipe for lasagna",
        "how do I bake a chocolate cake?",
        "who won the world cup in 1998",
        "what is the weather in Paris tomorrow",
        "mortgage interest rate calculator",
        "asdfgh qwerty",
        "what does the crash of 1929 teach about stock markets?",
        "",
        "what is this?",
    ],
)
def test_questions_about_something_else_are_not(question: str) -> None:
    assert not relevant(question)


def test_one_of_two_words_in_passing_is_not_enough_but_in_the_name_it_is() -> None:
    passing = make_hit("src/a.py", 1, "x = 1  # recipe", symbol="mix")
    assert not relevant("recipe for lasagna", passing)
    assert relevant("where are recipes persisted", make_hit("src/recipes.py", 1, "x = 1", symbol="save"))


def test_a_long_table_that_has_every_word_somewhere_is_not_relevant() -> None:
    words = ("dog", "eel", "train", "trap", "sit")
    table = make_hit("src/emoji.py", 1, "\n".join(f'"{w}_{n}": {n},' for w in words for n in range(40)))
    assert not relevant("train my dog to sit", table)
    near = make_hit("src/zoo.py", 1, "def f():\n    dog.train()\n    dog.sit()")
    assert relevant("train my dog to sit", near)


def test_missing_words_are_named_as_they_were_written() -> None:
    relevance = judge(question_terms("How are Sessions persisted to the disk or Redis?"), HITS)
    assert relevance.relevant
    assert relevance.missing == ("persisted", "redis")


def test_how_surely_a_symbol_is_named() -> None:
    def named(question: str) -> int:
        return judge(question_terms(question), [STORE_CLASS]).matches[0].named

    assert named("where is `SessionStore`") == 3
    assert named("what is in src/store.py") == 3
    assert named("how are sessions kept") == 0
    store = make_hit("src/s.py", 1, "class Store: ...", symbol="Store", kind="class")
    matches = {
        q: judge(question_terms(q), [store]).matches[0].named for q in ("the Store", "the store", "s.py", "stores")
    }
    assert matches == {"the Store": 2, "the store": 1, "s.py": 3, "stores": 0}


def test_tests_and_change_lists_stand_aside_unless_asked_for() -> None:
    assert aside("tests/test_store.py", "how is it loaded")
    assert aside("CHANGELOG.md", "how is it loaded")
    assert not aside("tests/test_store.py", "which tests cover loading")
    assert not aside("HISTORY.md", "when did loading change")
    assert not aside("src/contest.py", "how is it loaded")
    assert not aside("src/latest/attestation.py", "how is it loaded")


@given(st.text(max_size=200))
def test_any_question_can_be_judged(question: str) -> None:
    relevance = judge(question_terms(question), [LOAD])
    assert len(relevance.matches) == 1
    assert all(0 < strength <= 1 for strength in relevance.matches[0].strengths.values())


def test_a_name_of_one_letter_can_be_asked_for() -> None:
    terms = question_terms("what does g do")
    assert (terms.words, terms.plain_names) == ({"g": "g"}, ("g",))
    g = make_hit("globals.py", 1, "g = LocalProxy()", symbol="g")
    assert judge(terms, [g]).matches[0].named == 2
    assert judge(terms, [g]).relevant


def test_a_beginning_of_a_word_counts_in_names_and_not_in_passing() -> None:
    assert relevant("how does auth work", make_hit("a.py", 1, "x", symbol="authenticate"))
    assert not relevant(
        "wear to a wedding", make_hit("emoji.py", 1, "weary_face\nwedding = 1"), make_hit("b", 1, "weary")
    )
