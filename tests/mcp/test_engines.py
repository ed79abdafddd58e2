"""Who does the work for the tools of `gardener mcp`."""

from __future__ import annotations

from gardener.app import Gardener
from gardener.index.search import SearchRequest
from gardener.server.mcp_engines import AppOrSelf
from gardener.types import ProjectContext


def test_vectors_are_seen_to_once_for_a_burst_of_calls(shared: Gardener) -> None:
    seen: list[str] = []

    def afterwards(gardener: Gardener, context: ProjectContext) -> None:
        seen.append(context.name)

    engine = AppOrSelf(shared, afterwards)
    for name in ("lantern", "compass", "lantern"):
        assert engine.search(shared.context(name), SearchRequest("engine"))["hits"]
    events = list(engine.ask(shared.context("lantern"), "how is it lit?", None).events())
    assert events[-1]["event"] == "answer"
    assert seen == ["lantern", "compass"]


def test_an_answer_that_is_stopped_before_it_is_read_ends(shared: Gardener) -> None:
    answer = AppOrSelf(shared, lambda *_: None).ask(shared.context("lantern"), "how is it lit?", None)
    answer.stop()
    answer.stop()
    assert [event for event in answer.events() if event["event"] == "text"] == []
