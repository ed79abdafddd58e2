"""A page that turns to something else while an answer ends in it: what was left must not come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import gradio as gr
import pytest

from gardener.app import Gardener
from gardener.server.edge import Edge, Launch
from tests.chat_samples import ScriptedBackend
from tests.serving import write_project
from tests.ui.test_forgotten import REQUEST, loaded, steps
from ui.ask import keyed
from ui.ask_handlers import STARTING, Handlers, Updates
from ui.desk import Desk, Tab
from ui.presence import Presence
from ui.transcript import Transcript

NEW: Any = gr.EventData(None, {"what": "new", "argument": "", "text": ""})


class Gate:
    """Once it is shut, who comes to it waits until it is open."""

    def __init__(self) -> None:
        self.reached, self.passable = threading.Event(), threading.Event()
        self.passable.set()

    def shut(self) -> None:
        self.passable.clear()

    def open(self) -> None:
        self.passable.set()

    def come(self) -> None:
        if not self.passable.is_set():
            self.reached.set()
            assert self.passable.wait(30)


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    return ScriptedBackend(script=("Lit.",))


@pytest.fixture(scope="module")
def edge(backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    base = tmp_path_factory.mktemp("turning")
    with Gardener(str(base / "home")) as gardener:
        gardener.backends.register("scripted", lambda: backend)
        gardener.update_index(gardener.registry.add(str(write_project(base / "lantern", "lantern"))))
        edge = Edge(gardener, Launch("127.0.0.1", 1, "token"))
        yield edge
        edge.jobs.close()


@pytest.fixture
def answering(backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Before the answer's text."""
    gate = Gate()
    monkeypatch.setattr(backend, "on_event", lambda number: gate.come())
    return gate


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Between the page's reading of its conversation and what follows from it."""
    gate, whole = Gate(), Desk.transcript

    def transcript(self: Desk, tab: Tab, job: Any) -> Transcript:
        read = whole(self, tab, job)
        gate.come()
        return read

    monkeypatch.setattr(Desk, "transcript", transcript)
    return gate


async def collected(stream: AsyncIterator[Any], into: list[Any] | None = None) -> list[Any]:
    steps = [] if into is None else into
    async for step in stream:
        steps.append(step)
    return steps


async def reached(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.reached.wait, 30)


def test_a_new_conversation_stays_empty_though_the_answer_before_ends_while_it_begins(
    edge: Edge, answering: Gate, reading: Gate
) -> None:
    handlers = Handlers(edge)
    tab = loaded(handlers)
    shown: list[Any] = []

    async def ask_and_turn() -> None:
        answering.shut()
        asking = asyncio.create_task(collected(handlers.ask("How is it lit?", tab, REQUEST), shown))
        await reached(answering)
        while not shown:
            await asyncio.sleep(0.01)
        reading.shut()
        answering.open()
        await reached(reading)
        turning = asyncio.create_task(collected(handlers.act(tab, NEW, REQUEST), shown))
        threading.Timer(0.2, reading.open).start()  # long enough for a page that does not wait to turn
        await asyncio.gather(asking, turning)

    asyncio.run(ask_and_turn())
    assert tab.conversation == "" and tab.transcript.messages == []
    assert [step["chat"] for step in shown if "chat" in step][-1] == []


def test_a_stop_is_heeded_while_the_page_reads_what_it_shows(edge: Edge, answering: Gate, reading: Gate) -> None:
    handlers = Handlers(edge)
    tab = loaded(handlers)

    async def ask_and_stop() -> None:
        answering.shut()
        asking = asyncio.create_task(collected(handlers.ask("How is it lit?", tab, REQUEST)))
        await reached(answering)
        while not tab.job or tab.job == STARTING:
            await asyncio.sleep(0.01)
        reading.shut()
        again = asyncio.create_task(collected(handlers._show(tab)))
        await reached(reading)
        threading.Timer(0.2, reading.open).start()
        await asyncio.to_thread(handlers.stop, tab, REQUEST)
        assert edge.jobs.find(kind="answer")[0].cancel.is_set()
        answering.open()
        await asyncio.gather(asking, again)

    asyncio.run(ask_and_stop())


def test_what_gradio_sends_once_more_at_the_end_shows_nothing() -> None:
    async def handler() -> AsyncIterator[Updates]:
        yield {"chat": ["of what was left"]}

    sent = asyncio.run(collected(keyed(handler, {"chat": "chat", "notice": "notice"})()))
    assert sent == [{"chat": ["of what was left"]}, {"notice": gr.skip()}]


def test_what_is_shown_by_an_update_is_shown_as_a_plain_value_right_after(edge: Edge) -> None:
    """The browser may have lost the first, when the step behind it says nothing about the same component."""
    shown: dict[str, Any] = {}
    for step in steps(Handlers(edge).load(Tab(), REQUEST)):
        assert not [name for name, last in shown.items() if is_update(last) and name not in step]
        shown |= step
    assert shown["project"] == "lantern" and shown["chat"] and not any(is_update(last) for last in shown.values())


def is_update(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 1


@pytest.mark.parametrize("end", ["rest", "stay", "close"])
def test_a_page_is_looked_at_until_it_rests_stays_anew_or_the_app_closes(end: str) -> None:
    async def look() -> None:
        closing = asyncio.Event()
        presence = Presence(closing)
        first = presence.stay("a")
        await anext(first)
        other = presence.stay("b")
        await anext(other)
        ends: dict[str, Callable[[], Any]] = {
            "rest": lambda: presence.rest("a"),
            "stay": lambda: asyncio.create_task(anext(presence.stay("a"))),  # type: ignore[arg-type]
            "close": closing.set,
        }
        kept = ends[end]()
        assert await collected(first) == []
        assert kept is None or await kept is None
        await other.aclose()  # type: ignore[attr-defined]

    asyncio.run(look())
