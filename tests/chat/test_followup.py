from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.chat.followup import condense
from gardener.types import Message


def talk(*turns: str) -> list[Message]:
    return [Message("user" if n % 2 == 0 else "assistant", turn) for n, turn in enumerate(turns)]


ASKED = talk("How does `load_session` work?", "**`SessionStore.load_session`** — method in `src/store.py:12-30` [1]")


@pytest.mark.parametrize(
    ("question", "query"),
    [
        ("and who calls it?", "load_session"),
        ("Where is it defined?", "load_session"),
        ("why?", "load_session"),
        ("and with an empty file?", "empty load_session"),
        ("does it cache anything", "cache load_session"),
    ],
)
def test_a_follow_up_is_searched_for_with_what_it_refers_to(question: str, query: str) -> None:
    assert condense(question, ASKED) == query


@pytest.mark.parametrize(
    "question",
    [
        "How does `expire` work?",
        "and what does SessionStore.close() do with it?",
        "How are cookies encrypted and stored on the disk?",
        "cookies",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert condense(question, ASKED) == question


def test_without_a_conversation_nothing_is_added() -> None:
    assert condense("and who calls it?", []) == "and who calls it?"


def test_a_chain_of_follow_ups_goes_back_to_what_it_began_with() -> None:
    history = [*ASKED, *talk("and who calls it?", "`login` [1] calls it.")]
    assert condense("where is it?", history) == "load_session"


def test_a_question_in_words_carries_its_words_and_what_was_found_first() -> None:
    history = talk("How are sessions read from the disk?", "**`SessionStore.load_session`** — method in `x.py:1-2` [1]")
    assert condense("who calls it?", history) == "SessionStore.load_session sessions read disk"


def test_the_project_itself_is_looked_up_in_its_introduction() -> None:
    assert condense("What does this project do?", ASKED, "shop") == "shop README introduction overview"


@given(st.text(), st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text())))
def test_any_conversation_gives_a_query(question: str, history: list[Message]) -> None:
    query = condense(question, history)
    assert query == question or query.strip()


@pytest.mark.parametrize(
    ("question", "query"),
    [
        ("How does requests follow redirects?", "How does it follow redirects?"),
        ("where are cookies kept in Requests?", "where are cookies kept in it?"),
        ("how are requests sent?", "how are requests sent?"),
        ("what is in requests.sessions?", "what is in requests.sessions?"),
        ("how does requests work?", "how does requests work?"),
    ],
)
def test_the_project_s_own_name_finds_nothing_in_the_project(question: str, query: str) -> None:
    assert condense(question, [], "requests-2.34.2") == query


def test_who_calls_it_means_something_that_can_be_called() -> None:
    history = talk(
        "How are sessions kept?",
        "**`LIMIT`** — constant in `a.py:1-2` [1]\n\n**`keep`** — function in `a.py:4-9` [2]",
    )
    assert condense("who calls it?", history) == "keep sessions kept"
    assert condense("where is it?", history) == "LIMIT sessions kept"
