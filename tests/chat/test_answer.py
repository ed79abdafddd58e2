from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gardener.chat.answer import Answerer
from gardener.errors import BackendUnavailable, ConfigError, IndexDamaged, ModelError, UsageError
from gardener.models.base import Capabilities, Readiness
from gardener.models.registry import BackendRegistry
from gardener.types import (
    Answer,
    AnswerEvent,
    BackendEvent,
    Done,
    IndexState,
    Message,
    ProjectContext,
    Retrieved,
    SearchHit,
    TextDelta,
    ThinkingDelta,
    Usage,
)
from tests.chat_samples import HITS, INDEX, LOAD, ScriptedBackend, callers_of, write_project


@dataclass(frozen=True)
class Found:
    hits: tuple[SearchHit, ...] = HITS
    index: IndexState = INDEX
    notes: tuple[str, ...] = ()


class Talk:
    """An answerer over the sample project, with what it searched for on record."""

    def __init__(self, root: Path, backend: ScriptedBackend | None = None, found: Found | None = None) -> None:
        write_project(root)
        self.context = ProjectContext("0" * 12, "shop", str(root), str(root / ".home"))
        self.searched: list[str] = []
        self.limits: list[int] = []
        self.found = found or Found()
        self.registry = BackendRegistry()
        self.backend = backend
        if backend is not None:
            self.registry.register(backend.name, lambda: backend)
        self.cancel = threading.Event()
        self.answerer = self.make()

    def make(self, **changes: object) -> Answerer:
        changes = {"redact": lambda text, path: text} | changes
        return Answerer(self.search, lambda context, symbol: callers_of(symbol), self.registry, **changes)  # type: ignore[arg-type]

    def search(self, context: ProjectContext, query: str, limit: int) -> Found:
        self.searched.append(query)
        self.limits.append(limit)
        return self.found

    def events(self, question: str, history: Sequence[Message] = ()) -> list[AnswerEvent]:
        return list(self.answerer.answer(self.context, question, history, cancel=self.cancel))

    def ask(self, question: str = "How does load_session work?", history: Sequence[Message] = ()) -> Answer:
        answer = self.events(question, history)[-1]
        assert isinstance(answer, Answer)
        return answer


Start = Callable[..., Talk]


@pytest.fixture
def talk(tmp_path: Path) -> Start:
    def start(*script: str | BackendEvent | Exception, found: Found | None = None, **fields: object) -> Talk:
        backend = ScriptedBackend(script, **fields) if script or fields else None  # type: ignore[arg-type]
        return Talk(tmp_path / "project", backend, found)

    return start


def text_of(events: Sequence[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_first_what_was_found_then_text_then_the_answer(talk: Start) -> None:
    events = talk("It reads ", ThinkingDelta("hm"), "a file [1].").events("How does load_session work?")
    assert [type(event) for event in events] == [Retrieved, TextDelta, ThinkingDelta, TextDelta, Answer]
    retrieved, answer = events[0], events[-1]
    assert isinstance(retrieved, Retrieved)
    assert isinstance(answer, Answer)
    assert retrieved.hits == HITS
    assert retrieved.index == answer.index == INDEX
    assert answer.text == "It reads a file [1]."
    assert answer.complete
    assert (answer.backend, answer.degradation, answer.degradation_reason) == ("scripted", "full", "")
    assert answer.project == "shop"
    assert answer.usage.completion_tokens > 0
    assert set(answer.timings_ms) == {"search", "first_token", "total"}
    assert 0 <= answer.timings_ms["search"] <= answer.timings_ms["first_token"] <= answer.timings_ms["total"]


def test_citations_are_what_the_text_cites_checked_against_the_disk(talk: Start) -> None:
    started = talk("Read [1], called [3], invented [42].")
    (Path(started.context.root) / "src/handlers.py").write_text("# rewritten\n" * 9)
    answer = started.ask()
    assert answer.text == "Read [1], called [3], invented [?]."
    assert [(c.n, c.path, c.state) for c in answer.citations] == [
        (1, "src/store.py", "current"),
        (3, "src/handlers.py", "changed"),
    ]
    assert any("[42]" in warning for warning in answer.warnings)
    assert any("src/handlers.py:4-8 has changed" in warning for warning in answer.warnings)


def test_a_caller_is_cited_at_its_call(talk: Start) -> None:
    answer = talk("Called [4].").ask()
    (citation,) = answer.citations
    assert (citation.path, citation.start_line, citation.end_line) == ("src/store.py", 33, 35)


def test_without_a_model_it_answers_from_the_index_and_says_so(talk: Start) -> None:
    started = talk()
    events = started.events("How does load_session work?")
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert text_of(events) == answer.text
    assert "No language model was used" in answer.text
    assert (answer.backend, answer.degradation) == ("extractive", "search only")
    assert "No language model is set up." in answer.degradation_reason
    assert answer.degradation_next_step == "gardener models recommend"
    assert answer.complete
    assert answer.citations
    assert {citation.state for citation in answer.citations} == {"current"}
    assert all(entry["sent"] for entry in answer.receipt.retrieved)


def test_nothing_relevant_is_said_and_nothing_is_cited(talk: Start) -> None:
    answer = talk().ask("recipe for lasagna")
    assert "Nothing relevant found in `shop`" in answer.text
    assert answer.citations == ()
    assert answer.complete


def test_a_model_gets_the_prompt_and_the_warning_when_nothing_relevant_was_found(talk: Start) -> None:
    started = talk("Nothing relevant was found.")
    answer = started.ask("recipe for lasagna")
    assert any("shares words" in warning for warning in answer.warnings)
    assert started.backend
    (request,) = started.backend.requests
    assert request.messages[-1].content.endswith("Question: recipe for lasagna")
    assert request.evidence[0].hit == LOAD


def test_a_model_that_cites_nothing_is_reported(talk: Start) -> None:
    assert any("cites nothing" in warning for warning in talk("Trust me.").ask().warnings)


def test_a_backend_that_is_not_ready_is_replaced_and_the_reason_given(talk: Start) -> None:
    answer = talk("x", ready=Readiness(False, "The server is down.", "start it")).ask()
    assert (answer.backend, answer.degradation) == ("extractive", "search only")
    assert answer.degradation_reason == "scripted: The server is down."


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ((BackendUnavailable("Connection refused."),), "Connection refused."),
        ((ModelError("The weights are damaged."),), "The weights are damaged."),
        ((Done("error", error="CUDA on fire"),), "CUDA on fire"),
        ((RuntimeError("a bug"),), "RuntimeError: a bug"),
    ],
)
def test_a_model_that_fails_at_once_is_replaced_and_it_is_said(
    talk: Start, script: tuple[BackendEvent | Exception, ...], why: str
) -> None:
    events = talk(*script).events("How does load_session work?")
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert (answer.backend, answer.degradation) == ("extractive", "search only")
    assert answer.degradation_reason == f"scripted: {why}"
    assert answer.text.startswith(f"*The model failed (scripted: {why}).*")
    assert "SessionStore.load_session" in answer.text
    assert answer.complete, "the quoted answer is whole"
    assert answer.citations
    assert text_of(events) == answer.text


@pytest.mark.parametrize("failure", [Done("error", error="Connection reset."), BackendUnavailable("Connection reset.")])
def test_a_model_that_fails_in_the_middle_keeps_its_words(talk: Start, failure: BackendEvent | Exception) -> None:
    events = talk("It reads [2] and", failure).events("How does load_session work?")
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text.startswith("It reads [2] and\n\n---\n\n*The model's answer breaks off here")
    assert "No language model was used: what follows" in answer.text
    assert not answer.complete
    assert answer.error == "Connection reset."
    assert (answer.backend, answer.degradation) == ("scripted", "search only")
    assert 2 in {citation.n for citation in answer.citations}
    assert text_of(events) == answer.text


def test_a_fence_that_broke_off_is_closed_before_anything_is_added(talk: Start) -> None:
    answer = talk("Like this:\n```python\nx = [1]\n", Done("error", Usage(10, 7), error="Gone.")).ask()
    assert "x = [1]\n\n```\n\n---\n" in answer.text
    assert answer.citations, "the quoted part is not inside the fence"
    assert answer.usage == Usage(10, 7)


def test_an_error_message_of_a_server_is_inert(talk: Start) -> None:
    answer = talk(BackendUnavailable("<img src=x> ![](http://evil)")).ask()
    assert "<img" not in answer.text.replace("\\<img", "")
    assert "![](" not in answer.text


def test_a_stream_that_just_stops_is_an_error(talk: Start) -> None:
    class Silent(ScriptedBackend):
        def _play(self, request, cancel):  # type: ignore[no-untyped-def]
            yield TextDelta("Half")

    started = talk()
    started.registry.register("silent", lambda: Silent(name="silent"))
    answer = started.ask()
    assert answer.text.startswith("Half")
    assert not answer.complete
    assert "without an end" in answer.error


def test_events_after_done_are_not_read(talk: Start) -> None:
    assert talk("One.", Done("stop"), "Two.").ask().text == "One."


def test_an_answer_that_is_cut_at_its_length_is_incomplete(talk: Start) -> None:
    answer = talk("One.", Done("length")).ask()
    assert not answer.complete
    assert any(warning.startswith("Cut at") for warning in answer.warnings)
    assert answer.degradation == "full"


def test_cancel_ends_the_answer_with_what_was_said(talk: Start) -> None:
    started = talk("One [1] ", "two ", "three", on_event=lambda number: started.cancel.set() if number == 1 else None)
    answer = started.ask()
    assert answer.text == "One [1] "
    assert not answer.complete
    assert answer.error == ""
    assert [citation.n for citation in answer.citations] == [1]
    assert started.backend
    assert started.backend.streams_closed == 1


def test_cancel_before_the_first_word(talk: Start) -> None:
    for started in (talk(), talk("words")):
        started.cancel.set()
        answer = started.ask()
        assert (answer.text, answer.complete) == ("", False)


def test_cancel_in_a_failing_backend_does_not_start_another_answer(talk: Start) -> None:
    started = talk("One ", RuntimeError("x"), on_event=lambda number: None)

    class Cancelling(ScriptedBackend):
        def _play(self, request, cancel):  # type: ignore[no-untyped-def]
            yield TextDelta("One ")
            cancel.set()
            raise RuntimeError("broken by the stop")

    started.registry.register("cancelling", lambda: Cancelling(name="cancelling"))
    started.answerer = started.make(default_backend="cancelling")
    answer = started.ask()
    assert answer.text == "One "
    assert not answer.complete


def test_leaving_early_closes_the_stream(talk: Start) -> None:
    started = talk("One ", "two ")
    stream = started.answerer.answer(started.context, "How does load_session work?", cancel=started.cancel)
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert started.backend
    assert started.backend.streams_closed == 1


def test_a_follow_up_is_searched_for_with_what_it_refers_to(talk: Start) -> None:
    started = talk()
    history = [Message("user", "How does `load_session` work?"), Message("assistant", "It reads [1].")]
    answer = started.ask("and who calls it?", history)
    assert started.searched == ["load_session"]
    assert "Searched for: load_session" in answer.warnings
    assert "Searched for: `load_session`" in answer.text
    assert "`src/handlers.py:6` in `login`" in answer.text


def test_a_list_and_an_overview_look_at_more_than_other_questions(talk: Start) -> None:
    started = talk()
    for question in ("How does load_session work?", "list the sessions", "what does this project do?"):
        started.ask(question)
    assert started.limits == [8, 16, 40]
    assert started.searched[2] == "shop README introduction overview"


def test_missing_vectors_lower_a_model_s_answer_one_level(talk: Start) -> None:
    note = "Vectors are switched off: results are by words and symbols."
    answer = talk("Words [1].", found=Found(notes=(note,))).ask()
    assert (answer.degradation, answer.degradation_reason) == ("no enhancement", note)
    assert note in answer.warnings
    other = talk("Words [1].", found=Found(notes=("2 result(s) left out",))).ask()
    assert other.degradation == "full"


def test_the_server_s_count_is_kept_and_a_cut_prompt_is_reported(talk: Start) -> None:
    answer = talk("Words [1].", Done("stop", Usage(100, 5, estimated=False))).ask()
    assert answer.receipt.server_prompt_tokens == 100
    assert answer.receipt.prompt_tokens > 200
    assert any("cut the prompt" in warning for warning in answer.warnings)
    fine = talk("Words [1].", Done("stop", Usage(answer.receipt.prompt_tokens - 9, 5, estimated=False))).ask()
    assert not any("cut the prompt" in warning for warning in fine.warnings)


def test_the_prompt_is_bounded_by_the_setting_and_by_the_window(talk: Start) -> None:
    assert talk("x").make().answer is not None
    assert talk("x").ask().receipt.budget_tokens == 6000
    assert talk("x", window=3000).ask().receipt.budget_tokens == 3000 - 1024


def test_a_project_s_own_backend_and_model(talk: Start, tmp_path: Path) -> None:
    started = talk("x")
    started.context = started.context.replace(backend="extractive")
    assert started.ask().backend == "extractive"
    started.context = started.context.replace(backend="scripted", model="small")
    assert started.ask().model == "small"
    started.context = started.context.replace(model="huge")
    assert "There is no model 'huge'" in started.ask().degradation_reason
    started.context = started.context.replace(backend="olama", model="")
    with pytest.raises(ConfigError, match="olama"):
        started.ask()


def test_a_backend_that_forgets_its_model_between_asking_and_answering(talk: Start) -> None:
    class Forgetful(ScriptedBackend):
        def readiness(self, model: str = "") -> Readiness:
            return Readiness(True)

    started = talk()
    started.registry.register("forgetful", lambda: Forgetful(name="forgetful"))
    started.context = started.context.replace(backend="forgetful", model="gone")
    answer = started.ask()
    assert (answer.backend, answer.degradation) == ("extractive", "search only")
    assert answer.degradation_reason == "forgetful: There is no model 'gone'."


@pytest.mark.parametrize("question", ["", "  \n "])
def test_an_empty_question_is_refused(talk: Start, question: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        talk().ask(question)


@pytest.mark.parametrize("script", [(), ("x",)])
def test_a_question_larger_than_the_window_is_refused_with_the_numbers(talk: Start, script: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"too long: 50,000 tokens"):
        talk(*script).ask("x " * 50_000)


def test_what_the_search_raises_comes_through(talk: Start) -> None:
    started = talk()

    def broken(context: ProjectContext, query: str, limit: int) -> Found:
        raise IndexDamaged("The index is damaged.")

    started.search = broken  # type: ignore[method-assign]
    started.answerer = started.make()
    with pytest.raises(IndexDamaged):
        started.ask()


def test_one_project_s_answer_holds_nothing_of_another(talk: Start) -> None:
    """The answerer keeps nothing between answers: two at once, interleaved, stay apart."""
    started = talk("Words [1].")
    first = started.answerer.answer(started.context, "How does load_session work?", cancel=threading.Event())
    next(first)
    started.found = Found(hits=())
    second = list(started.answerer.answer(started.context, "recipe for lasagna", cancel=threading.Event()))
    rest = list(first)
    assert isinstance(second[-1], Answer)
    assert second[-1].citations == ()
    assert isinstance(rest[-1], Answer)
    assert [citation.path for citation in rest[-1].citations] == ["src/store.py"]


def test_a_backend_that_does_not_generate_is_search_only(talk: Start) -> None:
    answer = talk("Quoted.", capabilities=Capabilities(generates=False)).ask()
    assert answer.degradation == "search only"


def test_a_model_is_shown_the_map_and_the_last_resort_is_not(talk: Start) -> None:
    asked: list[int] = []

    def draw(context: ProjectContext, tokens: int) -> str:
        asked.append(tokens)
        return "src/store.py:\n  12: def load_session()"

    shown = talk("It loads [1].")
    shown.answerer = shown.make(repository_map=draw)
    assert shown.ask().receipt.map_tokens > 0
    assert asked == [450]
    alone = talk()
    alone.answerer = alone.make(repository_map=draw)
    assert alone.ask().receipt.map_tokens == 0
    assert asked == [450]
