"""/api: what the pages and the command line use, and anyone else may. Bodies and errors are JSON; work is a
job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from gardener.server.bodies import AskBody, ContinueBody, Empty, IndexBody, SearchBody
from gardener.server.conversation_key import conversation_key, conversations_key
from gardener.server.events import JsonObject
from gardener.server.runfile import upgrading_file
from gardener.server.sse import job_stream, sse_response

if TYPE_CHECKING:
    from gardener.server.edge import Edge


MOST_LINES = 5_000
"""Of one file in one answer; more is read window by window."""


def router(edge: Edge) -> APIRouter:
    routes = APIRouter(prefix="/api")
    gardener = edge.gardener

    @routes.get("/pulse", summary="A heartbeat: cheap enough for every open tab")
    def pulse(conversation: str | None = Query(None, max_length=100)) -> JsonObject:
        return pulse_json(edge, conversation)

    @routes.get("/status", summary="Everything that `gardener status` prints")
    def status() -> JsonObject:
        return {**gardener.status(), "jobs": [job.as_json() for job in edge.jobs.find()]}

    @routes.get("/watch", summary="How each project is kept fresh: watching, polling and why, or off")
    def watch() -> JsonObject:
        return {
            "projects": [
                {"project": context.name, **edge.watching.state(context.id).as_json()}
                for context in gardener.projects_by_use()
            ]
        }

    @routes.post("/search", summary="Search one project")
    def search(body: SearchBody) -> JsonObject:
        from gardener.index.search import SearchRequest

        context = gardener.context(body.project)
        request = SearchRequest(
            body.query,
            limit=body.limit or gardener.settings_for(context).integer("search.limit"),
            languages=tuple(body.languages),
            path_glob=body.path,
            symbol=body.symbol,
            no_tests=body.no_tests,
        )
        found = gardener.search(context, request)
        return {"project": context.name, "query": body.query, **found.as_json()}

    @routes.post("/ask", status_code=202, summary="Start an answer; follow its job")
    def ask(body: AskBody) -> JsonObject:
        context = gardener.context(body.project)
        return edge.ask(context, body.question, body.conversation, hits=body.hits).as_json()

    @routes.post("/continue", status_code=202, summary="Continue an answer that broke off; follow its job")
    def go_on(body: ContinueBody) -> JsonObject:
        return edge.go_on(gardener.context(body.project), body.conversation).as_json()

    @routes.post("/index", status_code=202, summary="Bring a project's index up to date; follow its job")
    def index(body: IndexBody) -> JsonObject:
        return edge.update_index(gardener.context(body.project), rebuild=body.rebuild, vectors=body.vectors).as_json()

    @routes.get("/jobs", summary="Jobs of this app, newest first")
    def jobs() -> JsonObject:
        return {"jobs": [job.as_json() for job in edge.jobs.find()]}

    @routes.get("/jobs/{job_id}", summary="One job and everything it has said")
    def job(job_id: str) -> JsonObject:
        found = edge.jobs.get(job_id)
        return {**found.as_json(), "said": found.events()}

    @routes.get(
        "/jobs/{job_id}/events",
        summary="Server-sent events from an offset; leaving does not stop the job",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def events(job_id: str, offset: int = Query(0, ge=0)) -> StreamingResponse:
        return sse_response(job_stream(edge.jobs.get(job_id), offset))

    @routes.post("/jobs/{job_id}/cancel", summary="Stop a job; what it has written is kept")
    def cancel(job_id: str, body: Empty | None = None) -> JsonObject:
        return edge.jobs.cancel(job_id).as_json()

    @routes.get("/source", summary="Lines of a file as they are on the disk now, at most 5,000, secrets redacted")
    def source(
        path: str = Query(min_length=1, max_length=4_096),
        start: int = Query(1, ge=1),
        end: int = Query(1, ge=1),
        project: str | None = None,
    ) -> JsonObject:
        context = gardener.context(project)
        view = gardener.source(context, path, start, min(end, start + MOST_LINES - 1))
        return {
            "project": context.name,
            "path": view.path,
            "start_line": view.start_line,
            "lines": list(view.lines),
            "language": view.language,
            "sha256": view.sha256,
            "exists": view.exists,
            "total_lines": view.total_lines,
            "reason": view.reason,
        }

    @routes.get("/symbols", summary="Definitions of a project by name")
    def symbols(
        pattern: str = Query("", max_length=500),
        kind: str = Query("", max_length=50),
        path: str = Query("", max_length=4_096),
        limit: int = Query(50, ge=1, le=1_000),
        project: str | None = None,
    ) -> JsonObject:
        context = gardener.context(project)
        found = gardener.symbols(context).search(pattern, kind=kind, path=path, limit=limit)
        return {"project": context.name, "symbols": [one.as_json() for one in found]}

    @routes.get("/callers", summary="Who calls a symbol, and how sure that is")
    def callers(
        symbol: str = Query(min_length=1, max_length=500),
        limit: int = Query(50, ge=1, le=1_000),
        project: str | None = None,
    ) -> JsonObject:
        context = gardener.context(project)
        found = gardener.symbols(context).callers(symbol)
        return {
            "project": context.name,
            "symbol": symbol,
            "definitions": [one.as_json() for one in found.definitions],
            "callers": [edge.as_json() for edge in found.edges[:limit]],
            "unattributed": found.unattributed,
        }

    @routes.get("/callees", summary="What a symbol calls, of what the project defines")
    def callees(
        symbol: str = Query(min_length=1, max_length=500),
        limit: int = Query(50, ge=1, le=1_000),
        project: str | None = None,
    ) -> JsonObject:
        context = gardener.context(project)
        found = gardener.symbols(context).callees(symbol)
        return {"project": context.name, "symbol": symbol, "callees": [edge.as_json() for edge in found[:limit]]}

    @routes.get("/map", summary="The definitions that matter most, within a budget of tokens")
    def map_(
        tokens: int = Query(1_000, ge=50, le=100_000),
        focus: str = Query("", max_length=4_096),
        project: str | None = None,
    ) -> JsonObject:
        context = gardener.context(project)
        return {"project": context.name, "focus": focus, **gardener.repository_map(context, tokens, focus).as_json()}

    @routes.post("/link", summary="A one-time address that opens the page in a browser")
    def link(body: Empty | None = None) -> JsonObject:
        return {"url": edge.browser_link()}

    return routes


def pulse_json(edge: Edge, conversation: str | None = None) -> JsonObject:
    """What an open page must notice by itself: a restart, a switch made elsewhere, work under way.

    `page` changes whenever the page has to be built anew, `conversation` and `conversations` when that one of the
    active project, or the list of them, does ("" is a new conversation).
    """
    status = edge.gardener.status()
    active = edge.gardener.registry.active()
    pulse: JsonObject = {"started": edge.launch.started, "page": page_key(edge, status), "active": None, "work": None}
    if os.path.exists(upgrading_file(edge.gardener.paths)):
        pulse["upgrading"] = True  # when the pages lose this app, they know why
    pulse["issues"] = dict(edge.health.counts())
    if active is None:
        return pulse
    pulse["active"] = {"id": active.id, "name": active.name}
    answers = ("backend", "model", "level", "level_reason", "level_next_step")
    pulse["answers"] = {name: status.get(name) for name in answers}
    if conversation is not None:
        pulse["conversation"] = conversation_key(edge, active.id, conversation)
        pulse["conversations"] = conversations_key(edge.gardener, active.id)
    pulse["index"] = {name: status.get(name) for name in ("files", "chunks", "embedded_fraction", "updated_at")}
    work = edge.jobs.unfinished(active.id, "index") or edge.jobs.unfinished(active.id, "embed")
    if work is not None:
        pulse["work"] = {"job": work.id, "kind": work.kind, "state": work.state, "last": work.last}
    return pulse


def page_key(edge: Edge, status: JsonObject | None = None) -> str:
    """Names what a page shows: the active project, and whether it can be searched yet."""
    active = edge.gardener.registry.active()
    if active is None:
        return "nothing"
    return f"{active.id}:{active.name}:{'indexed' if (status or edge.gardener.status()).get('updated_at') else 'empty'}"
