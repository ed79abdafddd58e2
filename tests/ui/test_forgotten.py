"""A page that Gradio has forgotten: it keeps the state of the last few hundred that were loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from gardener.app import Gardener
from gardener.server.edge import Edge, Launch
from tests.chat_samples import ScriptedBackend
from tests.serving import write_project
from ui.ask_handlers import FORGOTTEN, Handlers
from ui.desk import Tab

REQUEST: Any = SimpleNamespace(session_hash="left", query_params={})


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    base = tmp_path_factory.mktemp("forgotten")
    with Gardener(str(base / "home")) as gardener:
        gardener.backends.register("scripted", lambda: ScriptedBackend(script=("Lit.",)))
        for marker in ("compass", "lantern"):
            gardener.update_index(gardener.registry.add(str(write_project(base / marker, marker))))
        gardener.switch("lantern")
        edge = Edge(gardener, Launch("127.0.0.1", 1, "token"))
        yield edge
        edge.jobs.close()


def steps(stream: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [step async for step in stream]

    return asyncio.run(collect())


def loaded(handlers: Handlers) -> Tab:
    tab = Tab()
    steps(handlers.load(tab, REQUEST))
    return tab


def test_its_next_question_continues_what_it_shows(edge: Edge) -> None:
    handlers, history, project = Handlers(edge), edge.gardener.history, edge.gardener.context().id
    tab = loaded(handlers)
    steps(handlers.ask("How is it lit?", tab, REQUEST))
    made = tab.conversation
    history.start(project)  # another page began one since
    steps(handlers.ask("And then?", Tab(), REQUEST))
    assert [message.content for message in history.show(project, made) if message.role == "user"] == [
        "How is it lit?",
        "And then?",
    ]


def test_a_page_is_shown_although_gradio_empties_the_updates_that_it_is_given(edge: Edge) -> None:
    async def load() -> list[dict[str, Any]]:
        shown = []
        async for step in Handlers(edge).load(Tab(), REQUEST):
            shown.append({**step})
            for update in step.values():
                if isinstance(update, dict):
                    update.pop("value", None)  # as gradio.blocks.postprocess_update_dict does
        return shown

    assert asyncio.run(load())[-1]["project"] == "lantern"


def test_its_buttons_act(edge: Edge) -> None:
    handlers = Handlers(edge)
    tab = loaded(handlers)
    steps(handlers.ask("How is it lit?", tab, REQUEST))
    event: Any = gr.EventData(None, {"what": "delete", "argument": tab.conversation, "text": ""})
    step, *_ = steps(handlers.act(Tab(), event, REQUEST))
    assert "Undo" in step["head"]
    event = gr.EventData(None, {"what": "undelete", "argument": "", "text": ""})
    again = Tab()
    steps(handlers.act(again, event, REQUEST))
    assert again.conversation == tab.conversation


def test_what_nobody_remembers_is_said_and_not_done(edge: Edge) -> None:
    asked = len(edge.jobs.find(kind="answer"))
    step, *_ = steps(Handlers(edge).ask("How is it lit?", Tab(), REQUEST))
    assert FORGOTTEN in step["notice"] and "question" not in step
    assert len(edge.jobs.find(kind="answer")) == asked


def test_a_question_meant_for_another_project_is_not_asked_in_this_one(edge: Edge) -> None:
    handlers = Handlers(edge)
    loaded(handlers)
    edge.gardener.switch("compass")
    asked = len(edge.jobs.find(kind="answer"))
    step, *_ = steps(handlers.ask("How is the lantern lit?", Tab(), REQUEST))
    assert FORGOTTEN in step["notice"] and step["tab"].project.name == "compass"
    assert len(edge.jobs.find(kind="answer")) == asked
    edge.gardener.switch("lantern")
