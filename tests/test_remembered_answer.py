"""What a model once answered is repeated when none can answer: to the same question, while it is still true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.errors import BackendUnavailable
from gardener.models.base import Readiness
from gardener.types import Done, Usage
from tests.talk import Talk, talking

GONE = BackendUnavailable("it is gone")
SAID = "It pays one [1], as pay says."


@pytest.fixture
def talk(home: Path, tmp_path: Path) -> Iterator[Talk]:
    """A model has answered once; the next question begins a conversation of its own."""
    with talking(home, tmp_path) as made:
        assert made.ask(SAID, Done("stop", Usage(10, 5))).complete
        made.conversation = ""
        yield made


def test_it_is_repeated_and_says_so(talk: Talk) -> None:
    answer = talk.ask(GONE, question="  What does pay return? ")
    assert answer.text.endswith(SAID)
    assert "*No model can answer now (scripted: it is gone). This is what scripted small answered" in answer.text
    assert (answer.degradation, answer.complete, answer.problem) == ("small or cached", True, "network")
    assert [(citation.n, citation.path, citation.state) for citation in answer.citations] == [(1, "pay.py", "current")]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (0, 0), "nothing was read or written"
    assert talk.stored()[-1].content == answer.text
    # What was repeated is not repeated in its turn, with one introduction before the other.
    talk.conversation = ""
    assert talk.ask(GONE).text.count("No model can answer") == 1


def test_also_when_the_model_is_not_even_asked(talk: Talk) -> None:
    talk.model.ready = Readiness(False, "it sleeps")
    answer = talk.ask()
    assert answer.text.endswith(SAID) and "it sleeps" in answer.degradation_reason
    assert answer.degradation == "small or cached" and talk.model.requests[1:] == []


def test_not_when_what_it_cites_has_changed(talk: Talk, tmp_path: Path) -> None:
    source = tmp_path / "shop" / "pay.py"
    source.write_text(source.read_text().replace("return 1", "return 2"))
    answer = talk.ask(GONE)
    assert answer.degradation == "search only" and SAID not in answer.text
    source.unlink()
    talk.conversation = ""
    assert SAID not in talk.ask(GONE).text


def test_not_to_another_question_or_in_a_conversation(talk: Talk) -> None:
    assert SAID not in talk.ask(GONE, question="what does refund return?").text
    assert SAID not in talk.ask(GONE).text, "what a question means there depends on what was said before"


def test_not_when_it_was_cut_disliked_or_deleted_or_cites_nothing(talk: Talk) -> None:
    history, first = talk.gardener.history, talk.gardener.history.list(talk.context.id)[0]
    history.rate(talk.context.id, history.show(talk.context.id, first.id)[-1].id, -1)
    assert SAID not in talk.ask(GONE).text
    for script in ((SAID, Done("length", Usage(1, 1))), ("It pays.", Done("stop", Usage(1, 1)))):
        talk.conversation = ""
        talk.ask(*script, question="does it pay?")
        talk.conversation = ""
        assert talk.ask(GONE, question="does it pay?").degradation == "search only"
    talk.conversation = ""
    talk.ask(SAID, Done("stop", Usage(1, 1)), question="who pays?")
    history.delete(talk.context.id, talk.conversation)
    talk.conversation = ""
    assert SAID not in talk.ask(GONE, question="who pays?").text


def test_not_when_quoting_is_what_was_chosen(talk: Talk) -> None:
    talk.gardener.registry.configure(talk.context.id, backend="extractive")
    talk.context = talk.gardener.context("shop")
    answer = talk.ask()
    assert (answer.backend, answer.degradation) == ("extractive", "search only") and SAID not in answer.text


def test_not_from_another_project(talk: Talk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "pay.py").write_text("def pay():\n    return 1\n")
    talk.context = talk.gardener.registry.add(str(other), "other")
    talk.gardener.update_index(talk.context)
    assert SAID not in talk.ask(GONE).text
