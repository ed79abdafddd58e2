"""A question from the terminal: asked of the running app, else answered here; the events are the same."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def answer_events(
    gardener: Gardener,
    context: ProjectContext,
    question: str | None,
    conversation: str | None,
    cancel: threading.Event,
    hits: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The events of one answer as JSON objects: retrieved, text, thinking, answer. Raises GardenerError.

    Without a question the last answer of the conversation is continued; the texts are what is new then.
    Setting `cancel` ends the work behind it, also in the app; the last event then says that it is incomplete.
    """
    from gardener.server.client import AppClient, find_app

    app = find_app(gardener.paths)
    if app is not None:
        yield from _from_app(AppClient(app), context, question, conversation, cancel, hits)
        return
    from gardener.server.events import event_json

    events = (
        gardener.go_on(context, conversation or "", cancel)
        if question is None
        else gardener.ask(context, question, conversation, cancel, hits=hits)
    )
    for event in events:
        yield event_json(event)
    from gardener.cli.index import resume_vectors

    resume_vectors(gardener, context)


def _from_app(
    client: Any,
    context: ProjectContext,
    question: str | None,
    conversation: str | None,
    cancel: threading.Event,
    hits: int | None,
) -> Iterator[dict[str, Any]]:
    from gardener.server.client import AppError

    body = {"project": context.name, "conversation": conversation}
    if question is None:
        job = client.request("POST", "/api/continue", body)["job"]
    else:
        job = client.request("POST", "/api/ask", {**body, "question": question, "hits": hits})["job"]
    try:
        for event in client.stream("GET", f"/api/jobs/{job}/events"):
            if event["event"] == "error":
                raise AppError(event, 500)
            yield event
    except (KeyboardInterrupt, GeneratorExit):
        client.request("POST", f"/api/jobs/{job}/cancel")
        raise
