"""Branches: both remain, whatever happens to the other, and each knows what stands beside it."""

from __future__ import annotations

import pytest

from gardener.errors import ConversationNotFound, UsageError
from gardener.projects.branches import alternatives, branch, family
from gardener.projects.history import History
from gardener.projects.registry import Registry
from gardener.state import State


@pytest.fixture
def project(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    return registry.add(str(tmp_path_factory.mktemp("shop"))).id


@pytest.fixture
def history(state: State) -> History:
    return History(state)


def say(history: History, project: str, conversation: str, *texts: str) -> list[int]:
    """Questions and answers in turn."""
    count = len(history.show(project, conversation))
    return [
        history.append(project, conversation, "assistant" if (count + number) % 2 else "user", text)
        for number, text in enumerate(texts)
    ]


def texts(history: History, project: str, conversation: str) -> list[str]:
    return [message.content for message in history.show(project, conversation)]


def beside(state: State, project: str, conversation: str) -> dict[int, list[str]]:
    found = alternatives(family(state, project, conversation), conversation)
    return {position: list(ids) for position, ids in found.items()}


def test_both_remain_and_go_on_by_themselves(state: State, history: History, project: str) -> None:
    first = history.start(project).id
    ids = say(history, project, first, "What?", "That.", "Why?", "Because.")
    history.rate(project, ids[1], -1, "  too short ")
    second = branch(state, project, first, ids[2])
    say(history, project, second.id, "Why not?", "No reason.")
    assert texts(history, project, first) == ["What?", "That.", "Why?", "Because."]
    assert texts(history, project, second.id) == ["What?", "That.", "Why not?", "No reason."]
    assert (second.parent_id, second.shared, second.title) == (first, 2, "What?")
    assert beside(state, project, first) == beside(state, project, second.id) == {2: [first, second.id]}
    rated = history.show(project, first)[1]
    assert (rated.feedback, rated.feedback_reason) == (-1, "too short")
    assert [message.feedback for message in history.show(project, second.id)] == [0] * 4
    found = {hit.conversation.id for hit in history.search(project, "reason")}
    assert found == {second.id}


def test_branches_of_branches_know_all_their_others(state: State, history: History, project: str) -> None:
    a = history.start(project).id
    a_ids = say(history, project, a, "q0", "a1", "q2", "a3")
    b = branch(state, project, a, a_ids[2]).id
    b_ids = say(history, project, b, "q2 b", "a3 b", "q4 b", "a5 b")
    c = branch(state, project, b, b_ids[0]).id  # the same place again, from the branch
    say(history, project, c, "q2 c", "a3 c")
    d = branch(state, project, b, b_ids[2]).id  # deeper
    say(history, project, d, "q4 d", "a5 d")
    e = branch(state, project, a, a_ids[0]).id  # the first question
    say(history, project, e, "q0 e", "a1 e")
    assert [conversation.id for conversation in family(state, project, d)] == [a, b, c, d, e]
    history.retitle(project, b, "b")
    assert beside(state, project, b) == {0: [b, e], 2: [a, b, c], 4: [b, d]}
    assert beside(state, project, d) == {0: [d, e], 2: [a, d, c], 4: [b, d]}
    assert beside(state, project, e)[0][1] == e and 2 not in beside(state, project, e)
    history.delete(project, b)
    assert beside(state, project, d) == {0: [d, e], 2: [a, d, c]}
    assert beside(state, project, c)[2] == [a, d, c]


def test_a_conversation_without_branches_has_nothing_beside_it(state: State, history: History, project: str) -> None:
    alone = history.start(project).id
    say(history, project, alone, "What?", "That.")
    assert beside(state, project, alone) == {}


def test_only_messages_of_the_conversation_in_the_project(
    state: State, history: History, project: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = registry.add(str(tmp_path_factory.mktemp("other"))).id
    mine, theirs = history.start(project).id, history.start(other).id
    (message,) = say(history, other, theirs, "What?")
    with pytest.raises(ConversationNotFound):
        branch(state, project, mine, message)
    with pytest.raises(ConversationNotFound):
        branch(state, project, theirs, message)
    with pytest.raises(ConversationNotFound):
        family(state, project, theirs)


def test_a_reason_without_a_thumb_is_not_kept_and_secrets_never(history: History, project: str) -> None:
    conversation = history.start(project).id
    _, answer = say(history, project, conversation, "What?", "That.")
    history.rate(project, answer, 1, "said ghp_" + "a1B2c3D4e5F6" * 3)
    assert "a1B2c3D4" not in history.show(project, conversation)[1].feedback_reason
    history.rate(project, answer, 0, "never mind")
    assert history.show(project, conversation)[1].feedback_reason == ""
    with pytest.raises(UsageError):
        history.rate(project, answer, 2)
