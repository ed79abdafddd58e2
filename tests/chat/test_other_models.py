"""The fallback model, the stronger one, and the budget that lets none answer: over the sample project."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gardener.chat.answer import Answerer
from gardener.errors import BackendTimeout, BackendUnavailable
from gardener.models.base import Capabilities, Readiness
from gardener.models.registry import BackendRegistry
from gardener.types import Answer, BackendEvent, IndexState, ProjectContext, SearchHit, TextDelta
from tests.chat_samples import HITS, INDEX, ScriptedBackend, callers_of, write_project


class Found:
    hits: tuple[SearchHit, ...] = HITS
    index: IndexState = INDEX
    notes: tuple[str, ...] = ()


def backend(name: str, *script: str | BackendEvent | Exception, **fields: object) -> ScriptedBackend:
    return ScriptedBackend(script or (f"{name} says [1].",), name=name, **fields)  # type: ignore[arg-type]


def ask(
    root: Path,
    *backends: ScriptedBackend,
    question: str = "How does load_session work?",
    fallback: str = "",
    stronger: str = "",
    allowed: Readiness | None = None,
    cancel: threading.Event | None = None,
) -> Answer:
    """An answer where the first backend is the wanted one."""
    write_project(root)
    registry = BackendRegistry(fallback=fallback, may_generate=lambda: allowed or Readiness(True))
    for one in backends:
        registry.register(one.name, lambda one=one: one, automatic=one is backends[0])  # type: ignore[misc]
    answerer = Answerer(
        lambda *_: Found(), lambda _, symbol: callers_of(symbol), registry, stronger=stronger,
        redact=lambda text, path: text,
    )  # fmt: skip
    context = ProjectContext("0" * 12, "shop", str(root), str(root / ".home"))
    events = list(answerer.answer(context, question, cancel=cancel or threading.Event()))
    assert isinstance(events[-1], Answer)
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert said == events[-1].text
    return events[-1]


GONE = BackendUnavailable("Nothing answers.", next_step="ollama serve")


def test_the_fallback_answers_when_the_model_fails_before_its_first_word(tmp_path: Path) -> None:
    small = backend("small")
    answer = ask(tmp_path, backend("large", GONE), small, fallback="small:small")
    assert (answer.backend, answer.model, answer.degradation) == ("small", "small", "small or cached")
    assert answer.degradation_reason == "large: Nothing answers." and answer.complete and answer.generates
    assert "*The model failed (large: Nothing answers.). small small answers instead.*" in answer.text
    assert (answer.problem, [citation.n for citation in answer.citations]) == ("network", [1])
    assert small.requests[0].model == "small" and small.requests[0].scope == "0" * 12


def test_the_fallback_answers_when_the_model_is_not_ready(tmp_path: Path) -> None:
    answer = ask(tmp_path, backend("large", ready=Readiness(False, "it sleeps")), backend("small"), fallback="small")
    assert (answer.backend, answer.degradation) == ("small", "small or cached")
    assert answer.degradation_reason == "large: it sleeps"
    assert answer.text == "small says [1]."


def test_when_the_fallback_fails_too_search_answers(tmp_path: Path) -> None:
    answer = ask(tmp_path, backend("large", GONE), backend("small", BackendTimeout("slow")), fallback="small")
    assert (answer.backend, answer.degradation, answer.generates) == ("extractive", "search only", False)
    assert answer.problem == "timeout" and answer.citations
    assert "slow" in answer.text and "`gardener models recommend`" in answer.text


def test_a_fallback_that_is_not_ready_is_said(tmp_path: Path) -> None:
    sleeping = backend("small", ready=Readiness(False, "it sleeps"))
    answer = ask(tmp_path, backend("large", GONE), sleeping, fallback="small")
    assert answer.degradation == "search only" and "small: it sleeps" in answer.warnings
    assert not sleeping.requests


def test_a_fallback_that_is_misspelt_breaks_nothing(tmp_path: Path) -> None:
    answer = ask(tmp_path, backend("large", GONE), fallback="smal:x")
    assert answer.degradation == "search only" and any("no chat backend 'smal'" in said for said in answer.warnings)


def test_the_model_does_not_stand_in_for_itself(tmp_path: Path) -> None:
    large = backend("large", GONE)
    assert ask(tmp_path, large, fallback="large").degradation == "search only"
    assert len(large.requests) == 1


def test_words_that_were_said_are_not_replaced(tmp_path: Path) -> None:
    small = backend("small")
    answer = ask(tmp_path, backend("large", "It loads", GONE), small, fallback="small")
    assert answer.backend == "large" and not small.requests and not answer.complete
    assert answer.text[: answer.model_characters] == "It loads"
    assert "`ollama serve`" in answer.text


def test_a_fallback_whose_window_is_too_small_is_passed_over(tmp_path: Path) -> None:
    small = backend("small", window=64)
    answer = ask(tmp_path, backend("large", GONE), small, fallback="small")
    assert answer.degradation == "search only" and not small.requests
    assert any("too long" in said for said in answer.warnings)


def test_a_cancelled_answer_gets_no_other_model(tmp_path: Path) -> None:
    cancel = threading.Event()
    large, small = backend("large", GONE, on_event=lambda _: cancel.set()), backend("small")
    answer = ask(tmp_path, large, small, fallback="small", cancel=cancel)
    assert not small.requests and not answer.complete


def test_a_broken_stream_is_counted_without_what_is_quoted_after_it(tmp_path: Path) -> None:
    answer = ask(tmp_path, backend("large", "It loads", GONE))
    assert 0 < answer.usage.completion_tokens <= 4 and answer.usage.estimated
    assert answer.usage.prompt_tokens == answer.receipt.prompt_tokens


# ---- The stronger model -------------------------------------------------------------------------------

WEAK = "recipe for lasagna bolognese"


def test_the_stronger_model_answers_where_the_search_is_weak_and_says_so(tmp_path: Path) -> None:
    strong, usual = backend("strong"), backend("usual")
    answer = ask(tmp_path, usual, strong, question=WEAK, stronger="strong")
    assert (answer.backend, answer.degradation) == ("strong", "full") and not usual.requests
    assert any("the stronger model strong was asked" in said for said in answer.warnings)


def test_the_stronger_model_is_left_alone_where_the_search_is_good(tmp_path: Path) -> None:
    strong = backend("strong")
    assert ask(tmp_path, backend("usual"), strong, stronger="strong").backend == "usual"
    assert not strong.requests


def test_the_usual_model_answers_when_the_stronger_one_fails(tmp_path: Path) -> None:
    answer = ask(tmp_path, backend("usual"), backend("strong", GONE), question=WEAK, stronger="strong")
    assert (answer.backend, answer.degradation, answer.text) == ("usual", "full", "usual says [1].")
    assert any("strong: Nothing answers. So usual small answers." in said for said in answer.warnings)


@pytest.mark.parametrize(
    "fields", [{"capabilities": Capabilities(leaves_machine=True)}, {"ready": Readiness(False, "no room")}]
)
def test_a_stronger_model_must_be_here_and_ready(tmp_path: Path, fields: dict[str, object]) -> None:
    strong = backend("strong", **fields)
    assert ask(tmp_path, backend("usual"), strong, question=WEAK, stronger="strong").backend == "usual"
    assert not strong.requests


# ---- The budget ---------------------------------------------------------------------------------------


def test_without_a_budget_left_no_model_is_asked_not_even_the_fallback(tmp_path: Path) -> None:
    models = backend("large"), backend("small")
    spent = Readiness(False, "The daily budget is used up.", "gardener usage")
    answer = ask(tmp_path, *models, fallback="small", stronger="small", question=WEAK, allowed=spent)
    assert (answer.degradation, answer.degradation_reason) == ("search only", "The daily budget is used up.")
    assert not any(model.requests for model in models)
