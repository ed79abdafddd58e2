"""Who searches and answers for the MCP tools: the app that they run in, an app that runs elsewhere, or this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from gardener.server.client import AppClient, AppError, find_app
from gardener.server.events import event_json

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest
    from gardener.mcp.engine import RunningAnswer
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext

AFTERWARDS_SECONDS = 60.0
"""An agent's calls come in bursts, and one process that makes vectors is enough."""


class InApp:
    """For /mcp: answers are jobs of the app, under its limits and in its figures."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def search(self, context: ProjectContext, request: SearchRequest) -> dict[str, Any]:
        return self._edge.gardener.search(context, request).as_json()

    def ask(self, context: ProjectContext, question: str, hits: int | None) -> RunningAnswer:
        return _JobAnswer(self._edge, self._edge.ask(context, question, None, hits=hits))


class _JobAnswer:
    def __init__(self, edge: Edge, job: Job) -> None:
        self._edge = edge
        self._job = job

    def events(self) -> Iterator[dict[str, Any]]:
        for event in self._job.tail():
            if event["event"] == "error":
                raise AppError(event, 500)
            yield event

    def stop(self) -> None:
        self._edge.jobs.cancel(self._job.id)


class AppOrSelf:
    """For `gardener mcp`: the running app while there is one, with its warm models, else this process.

    It is looked for at every call, as the app may come and go while an editor stays open. `afterwards` is called with
    the project after work that was done here, at most once in AFTERWARDS_SECONDS for each.
    """

    def __init__(self, gardener: Gardener, afterwards: Callable[[Gardener, ProjectContext], None]) -> None:
        self._gardener = gardener
        self._afterwards = afterwards
        self._last_afterwards: dict[str, float] = {}
        self._lock = threading.Lock()

    def search(self, context: ProjectContext, request: SearchRequest) -> dict[str, Any]:
        app = find_app(self._gardener.paths)
        if app is not None:
            return AppClient(app).request(
                "POST",
                "/api/search",
                {
                    "project": context.id,
                    "query": request.query,
                    "limit": request.limit,
                    "languages": list(request.languages),
                    "path": request.path_glob,
                    "symbol": request.symbol,
                    "no_tests": request.no_tests,
                },
            )
        found = self._gardener.search(context, request)
        if found.index.embedded_fraction < 1:
            self._after(context)
        return found.as_json()

    def ask(self, context: ProjectContext, question: str, hits: int | None) -> RunningAnswer:
        app = find_app(self._gardener.paths)
        if app is not None:
            return _RemoteAnswer(AppClient(app, timeout_s=600.0), context, question, hits)
        return _OwnAnswer(self._gardener, context, question, hits, self._after)

    def _after(self, context: ProjectContext) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._last_afterwards.get(context.id, float("-inf")) < AFTERWARDS_SECONDS:
                return
            self._last_afterwards[context.id] = now
        self._afterwards(self._gardener, context)


class _RemoteAnswer:
    """An answer that is a job of the running app."""

    def __init__(self, client: AppClient, context: ProjectContext, question: str, hits: int | None) -> None:
        self._client = client
        body = {"project": context.id, "question": question, "conversation": None, "hits": hits}
        self._job = str(client.request("POST", "/api/ask", body)["job"])

    def events(self) -> Iterator[dict[str, Any]]:
        for event in self._client.stream("GET", f"/api/jobs/{self._job}/events"):
            if event["event"] == "error":
                raise AppError(event, 500)
            yield event

    def stop(self) -> None:
        self._client.request("POST", f"/api/jobs/{self._job}/cancel")


class _OwnAnswer:
    """An answer that this process writes."""

    def __init__(
        self,
        gardener: Gardener,
        context: ProjectContext,
        question: str,
        hits: int | None,
        afterwards: Callable[[ProjectContext], None],
    ) -> None:
        self._gardener = gardener
        self._context = context
        self._question = question
        self._hits = hits
        self._afterwards = afterwards
        self._cancel = threading.Event()

    def events(self) -> Iterator[dict[str, Any]]:
        # Closed on this thread: the model must be free before the call returns.
        with closing(self._gardener.ask(self._context, self._question, None, self._cancel, hits=self._hits)) as events:  # type: ignore[type-var]
            for event in events:
                yield event_json(event)
        self._afterwards(self._context)

    def stop(self) -> None:
        self._cancel.set()
