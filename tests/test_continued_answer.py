"""An answer that broke off goes on: with a real index, history and state; the model is scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.chat.continuation import GO_ON
from gardener.continued_answer import broken_answer
from gardener.errors import BackendUnavailable, ConversationNotFound, UsageError
from gardener.types import Answer, Done, TextDelta, Usage
from tests.talk import Talk, talking

BROKEN = BackendUnavailable("it broke the connection off")


@pytest.fixture
def talk(home: Path, tmp_path: Path) -> Iterator[Talk]:
    with talking(home, tmp_path) as made:
        yield made


@pytest.fixture(params=["broken", "length", "cancelled"])
def cut(request: pytest.FixtureRequest) -> Callable[[Talk], Answer]:
    """An answer that ends after "It pays [1] and retu", in one of three ways."""

    def ask(talk: Talk) -> Answer:
        end = BROKEN if request.param == "broken" else Done(request.param, Usage(10, 5))
        return talk.ask("It pays [1] and retu", end)

    return ask


def test_the_whole_is_one_message_with_its_citations(talk: Talk, cut: Callable[[Talk], Answer]) -> None:
    first = cut(talk)
    assert not first.complete
    new, answer = talk.go_on("rns one [1].", Done("stop", Usage(50, 5, False)))
    assert (new, answer.text, answer.complete) == ("rns one [1].", "It pays [1] and returns one [1].", True)
    assert [citation.n for citation in answer.citations] == [1]
    question, message = talk.stored()
    assert (question.role, message.content, message.complete) == ("user", answer.text, True)
    assert message.id == first.message_id == answer.message_id
    assert message.citations[0]["path"] == "pay.py" and message.model_characters == 0
    rows = talk.gardener.state.read().execute("SELECT ended FROM generations ORDER BY id").fetchall()
    assert len(rows) == 2 and rows[1]["ended"] == "stop"


def test_the_model_sees_the_conversation_and_where_it_stopped(talk: Talk) -> None:
    talk.ask("First of all.", question="is there a refund?")
    talk.ask("It pays [1] and", BROKEN)
    talk.go_on(" more.")
    messages = talk.model.requests[-1].messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[1].content == "is there a refund?" and "Question: what does pay return?" in messages[3].content
    assert messages[4].content == "It pays [1] and" and messages[5].content == GO_ON


def test_it_can_be_continued_until_it_is_complete(talk: Talk) -> None:
    talk.ask("one ", BROKEN)
    _, second = talk.go_on("two ", BROKEN)
    assert (second.text, second.complete, second.problem) == ("one two ", False, "network")
    assert talk.stored()[-1].content == "one two " and not talk.stored()[-1].complete
    _, third = talk.go_on("three")
    assert (third.text, third.complete) == ("one two three", True)


def test_what_there_was_stays_when_it_fails_at_once(talk: Talk) -> None:
    talk.ask("It pays", BROKEN)
    before = talk.stored()[-1]
    new, answer = talk.go_on(BROKEN)
    assert (new, answer.text, answer.complete, answer.error) == ("", "It pays", False, BROKEN.message)
    assert talk.stored()[-1] == before


def test_what_came_is_kept_when_the_reader_goes_away(talk: Talk) -> None:
    talk.ask("It pays", BROKEN)
    talk.model.script = (" and more\n" * 60, "never read")
    events = talk.gardener.go_on(talk.context, talk.conversation)
    next(event for event in events if isinstance(event, TextDelta))
    events.close()  # type: ignore[attr-defined]
    message = talk.stored()[-1]
    assert message.content.startswith("It pays and more\n and more") and not message.complete
    rows = talk.gardener.state.read().execute("SELECT finish FROM generations ORDER BY id").fetchall()
    assert [row["finish"] for row in rows] == ["incomplete", "left"]


def test_citations_of_the_first_half_are_checked_again(talk: Talk) -> None:
    talk.ask("It pays [1] and", BROKEN)
    (Path(talk.context.root) / "pay.py").write_text("def other():\n    pass\n")
    _, answer = talk.go_on(" more.")
    assert [citation.state for citation in answer.citations] != ["current"]


def test_half_a_marker_is_begun_anew(talk: Talk) -> None:
    talk.ask("It pays [", BROKEN)
    _, answer = talk.go_on(" [1] at once.")
    assert answer.text == "It pays [1] at once." and [citation.n for citation in answer.citations] == [1]
    talk.ask("```python\nitems[1", BROKEN)
    assert talk.go_on("]\n```\n")[1].text == "```python\nitems[1]\n```\n"


def test_what_cannot_be_continued_is_said(talk: Talk) -> None:
    with pytest.raises(ConversationNotFound):
        broken_answer(talk.gardener.history, talk.context, "abcdef01")
    talk.ask("All of it.")
    with pytest.raises(UsageError, match="is complete"):
        talk.go_on("more")
    talk.ask(BROKEN)
    with pytest.raises(UsageError, match="is complete"):  # quoted from the index, and whole
        talk.go_on("more")


def test_without_a_model_nothing_is_made_up(talk: Talk) -> None:
    talk.ask("It pays", BROKEN)
    before = talk.stored()[-1]
    talk.context = talk.gardener.registry.configure("shop", backend="extractive")
    with pytest.raises(BackendUnavailable, match="Only a language model"):
        talk.go_on()
    assert talk.stored()[-1] == before


def test_of_a_first_half_that_is_too_long_the_model_sees_the_end(talk: Talk) -> None:
    talk.ask(*("".join(f"line {number}\n" for number in range(at, at + 10)) for at in range(0, 150, 10)), BROKEN)
    talk.model.window = 2_000
    _, answer = talk.go_on("and so on")
    seen = talk.model.requests[-1].messages[-2].content
    assert seen.startswith("line ") and seen.endswith("line 149\n") and "line 0\n" not in seen
    assert answer.text.startswith("line 0\n") and answer.text.endswith("line 149\nand so on")
