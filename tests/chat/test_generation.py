from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gardener.chat.generation import Generation, closing_fence
from gardener.models.base import ChatRequest
from gardener.models.registry import Choice
from gardener.types import BackendEvent, Done, TextDelta
from tests.chat_samples import ScriptedBackend


def generate(first: ScriptedBackend, second: ScriptedBackend, cancel: threading.Event | None = None) -> Generation:
    generation = Generation(first.name, "small", "full", "", time.perf_counter())
    choice = Choice(first, "small", "full")
    list(generation.run(choice, second, ChatRequest((), "q"), cancel or threading.Event()))
    return generation


def test_when_the_last_resort_fails_too_both_reasons_are_kept() -> None:
    generation = generate(ScriptedBackend((RuntimeError("one"),)), ScriptedBackend((RuntimeError("two"),), name="last"))
    assert not generation.complete
    assert generation.error == "RuntimeError: one; RuntimeError: two"


def test_the_last_resort_does_not_replace_itself() -> None:
    only = ScriptedBackend((RuntimeError("one"),))
    generation = generate(only, only)
    assert (generation.complete, generation.error, generation.text) == (False, "RuntimeError: one", "")
    assert len(only.requests) == 1


def test_the_last_resort_gets_no_model_name_of_another() -> None:
    last = ScriptedBackend(name="last")
    generation = generate(ScriptedBackend((RuntimeError("one"),)), last)
    assert last.requests[0].model == ""
    assert (generation.backend, generation.model) == ("last", "")


def test_what_is_no_event_is_left_out() -> None:
    class Chatty(ScriptedBackend):
        def _play(self, request, cancel):  # type: ignore[no-untyped-def]
            yield "not an event"
            yield from super()._play(request, cancel)

    assert generate(Chatty(("a",)), ScriptedBackend()).text == "a"


def test_text_that_comes_after_the_stop_is_not_shown() -> None:
    cancel = threading.Event()

    class Deaf(ScriptedBackend):
        def _play(self, request, cancel):  # type: ignore[no-untyped-def]
            yield TextDelta("heard ")
            cancel.set()
            yield TextDelta("not heard")

    generation = generate(Deaf(), ScriptedBackend(), cancel)
    assert (generation.text, generation.complete, generation.error) == ("heard ", False, "")


@pytest.mark.parametrize(
    ("text", "closed_by"),
    [
        ("words", ""),
        ("```python\nx", "\n```"),
        ("```\nx\n```\ny", ""),
        ("````\n```\nx\n", "\n````"),
        ("~~~\n```\n", "\n~~~"),
        ("```\n``` not closing\n", "\n```"),
    ],
)
def test_the_fence_that_text_leaves_open(text: str, closed_by: str) -> None:
    assert closing_fence(text) == closed_by


@given(st.text(alphabet="`~ \nx"))
def test_after_closing_whatever_follows_is_outside(text: str) -> None:
    follow = "\n\nMARK"
    blocks = MarkdownIt("commonmark").parse(text + closing_fence(text) + follow)
    fences = [block for block in blocks if block.type == "fence"]
    assert not any("MARK" in block.content for block in fences)


def test_events_are_passed_on_as_they_come() -> None:
    generation = Generation("scripted", "", "full", "", time.perf_counter())
    backend = ScriptedBackend(("a", "b"))
    stream = generation.run(Choice(backend, "", "full"), backend, ChatRequest((), "q"), threading.Event())
    first: BackendEvent = next(stream)
    assert first == TextDelta("a")
    assert generation.text == "a"
    assert generation.first_token_ms is not None


def test_the_stream_is_closed_even_when_nothing_else_drops_it() -> None:
    """A backend may hand out an iterator of its own that holds a connection."""
    closed: list[bool] = []

    class Connection:
        def __init__(self) -> None:
            self.events: list[BackendEvent] = [TextDelta("a"), Done("stop"), TextDelta("never read")]

        def __iter__(self) -> Connection:
            return self

        def __next__(self) -> BackendEvent:
            return self.events.pop(0)

        def close(self) -> None:
            closed.append(True)

    held = Connection()

    class Connected(ScriptedBackend):
        def stream(self, request, cancel):  # type: ignore[no-untyped-def]
            return held

    assert generate(Connected(), ScriptedBackend()).text == "a"
    assert closed == [True]
    assert held.events == [TextDelta("never read")]
