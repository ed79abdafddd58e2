"""/livez, /readyz and /metrics: is the process up, can it do its work, and what has it done.

/livez touches nothing, so that a supervisor does not restart a healthy process because a disk is slow.
/readyz looks at what an answer needs. Without a credential both say only yes or no; names and paths need one.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse

from gardener.errors import GardenerError, NoActiveProject
from gardener.index.facts import summary
from gardener.metrics import CONTENT_TYPE
from gardener.paths import index_directory
from gardener.server.events import JsonObject
from gardener.telemetry import lost_records
from gardener.types import IndexState, ProjectContext

if TYPE_CHECKING:
    from gardener.server.edge import Edge


log = logging.getLogger("gardener.server")


def router(edge: Edge) -> APIRouter:
    routes = APIRouter()

    @routes.get("/livez", summary="The process is up; depends on nothing", response_class=PlainTextResponse)
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @routes.get(
        "/readyz",
        summary="The state and the active project's index can be read",
        responses={503: {"description": "They cannot", "content": {"application/json": {"schema": {}}}}},
    )
    def readyz(request: Request) -> JSONResponse:
        checks = readiness(edge)
        ready = all(check["ok"] for check in checks)
        body: JsonObject = {"ready": ready}
        if request.scope["gardener.caller"].kind:
            body["checks"] = checks
        return JSONResponse(body, 200 if ready else 503)

    @routes.get("/metrics", summary="Prometheus text format 0.0.4", response_class=PlainTextResponse)
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(metrics_text(edge), media_type=CONTENT_TYPE)

    return routes


def readiness(edge: Edge) -> list[JsonObject]:
    """One entry per dependency: name, ok, detail, next_step."""
    checks: list[JsonObject] = []
    try:
        active = edge.gardener.registry.active()
        checks.append(check("state", True, edge.gardener.paths.state_db))
    except (GardenerError, sqlite3.Error) as error:
        checks.append(check("state", False, str(error), getattr(error, "next_step", "gardener doctor")))
        return checks
    if active is None:
        nothing = NoActiveProject()
        checks.append(check("index", True, nothing.message, nothing.next_step))
        return checks
    try:
        # Opening the table itself takes a second and is the first thing that the app does in the background; what
        # it finds is in edge.damaged.
        facts = summary(index_directory(active.home))
        if active.id in edge.damaged:
            raise edge.damaged[active.id]
        counts = f"{facts.get('files', '0')} files, {facts.get('chunks', '0')} chunks"
        checks.append(check("index", True, f"{active.name}: {counts}"))
    except GardenerError as error:
        checks.append(check("index", False, error.message, error.next_step))
    return checks


def check(name: str, ok: bool, detail: str, next_step: str = "") -> JsonObject:
    return {"name": name, "ok": ok, "detail": detail, "next_step": next_step}


def metrics_text(edge: Edge) -> str:
    """gardener.metrics' table, and the figures that only the server has, read off at this moment."""
    active = edge.gardener.registry.active()
    index = _index_state(edge, active)
    if active is not None and index is not None:
        edge.metrics.set("gardener_index_files", index.files, project=active.name)
        edge.metrics.set("gardener_index_chunks", index.chunks, project=active.name)
        edge.metrics.set("gardener_index_changed_files", index.changed_files, project=active.name)
        edge.metrics.set("gardener_index_embedded_ratio", index.embedded_fraction, project=active.name)
    text = Exposition()
    text.metric("gardener_uptime_seconds", "gauge", "Time since the start.", time.time() - edge.launch.started)
    text.metric("gardener_projects", "gauge", "Registered projects.", len(edge.gardener.registry.list()))
    for context in edge.gardener.registry.list():
        mode = edge.watching.state(context.id).mode
        text.metric(
            "gardener_watching",
            "gauge",
            "1 for how the app keeps a project fresh.",
            1,
            project=context.name,
            mode=mode,
        )
    for severity in ("warning", "error"):
        text.metric(
            "gardener_issues",
            "gauge",
            "Open issues that nobody has taken note of.",
            edge.health.counts()[severity],
            severity=severity,
        )
    edge.metrics.set("gardener_budget_used_ratio", _budget_used(edge))
    edge.metrics.set("gardener_log_records_lost", lost_records())
    for name, held in edge.gardener.models.resident().items():
        text.metric("gardener_model_weight_bytes", "gauge", "Weights in memory.", held.weight_bytes, backend=name)
        text.metric("gardener_model_cache_bytes", "gauge", "Prompt caches in memory.", held.cache_bytes, backend=name)
        for counter, value in sorted(held.counters.items()):
            text.metric(
                f"gardener_model_{counter}_total",
                "counter",
                "Of a chat backend; see docs/models.md.",
                value,
                backend=name,
            )
    changes = edge.warming.changes
    text.metric("gardener_switches_total", "counter", "Changes of the active project, by whomever.", changes)
    unfinished = [job for job in edge.jobs.find() if not job.over]
    for state in ("queued", "running"):
        count = sum(job.state == state for job in unfinished)
        text.metric("gardener_jobs", "gauge", "Jobs that are not finished.", count, state=state)
    for ended, count in sorted(edge.jobs.finished_states.items()):
        text.metric("gardener_jobs_finished_total", "counter", "Jobs that ended.", count, state=ended)
    edge.system.add_to(text)
    for code, count in sorted(edge.refusals.items()):
        text.metric("gardener_refused_requests_total", "counter", "Refused by the guard.", count, reason=code)
    return edge.metrics.text().decode() + text.finished()


def _budget_used(edge: Edge) -> float:
    try:
        return round(edge.gardener.usage.today().percent / 100, 4)
    except GardenerError as error:
        log.warning("metrics.no_budget", extra={"fields": {"code": error.code, "reason": error.message}})
        return 0.0


def _index_state(edge: Edge, active: ProjectContext | None) -> IndexState | None:
    """None when there is no active project, or none whose index can be read: the other figures are still wanted."""
    try:
        return None if active is None else edge.index_state(active)
    except GardenerError as error:
        log.warning("metrics.no_index", extra={"fields": {"code": error.code, "reason": error.message}})
        return None


class Exposition:
    """Collects samples; all of one metric stand together below its HELP and TYPE, as the format asks for."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def metric(self, name: str, kind: str, help_text: str, value: float, **labels: str) -> None:
        lines = self._families.setdefault(name, [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"])
        inside = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}")

    def finished(self) -> str:
        return "\n".join(line for lines in self._families.values() for line in lines) + "\n"


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
