"""Work of minutes as jobs: looking at a folder, evaluating search, training, cleaning up, checking every hash.

Each says how far it is as {"event": "progress", "phase", "done", "total", "rate", "eta_s"}, its result as
{"event": "report", ...} and what went wrong as {"event": "error", ...}.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gardener.errors import Interrupted
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.project_evaluation import EvaluationRequest
    from gardener.project_training import TrainingRequest
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job, JobKind
    from gardener.types import ProjectContext

RATE_AFTER_SECONDS = 1.0
"""Before that a rate would say more about the start than about the work."""
PROGRESS_SECONDS = 0.1


class Pace:
    """Turns "so many of so many" into progress events of a job, with a rate for each phase; not more often than
    anybody can read."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._phase = ""
        self._since = 0.0
        self._first = 0
        self._said = float("-inf")

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._since, self._first, self._said = phase, now, done, float("-inf")
        if now - self._said < PROGRESS_SECONDS and done < total:
            return
        self._said = now
        took = now - self._since
        rate = (done - self._first) / took if took > RATE_AFTER_SECONDS and done > self._first else None
        eta = (total - done) / rate if rate else None
        self._job.say(
            {"event": "progress", "phase": phase, "done": done, "total": total, "rate": rate, "eta_s": eta}
        )  # fmt: skip


def _start(
    edge: Edge, kind: JobKind, about: str, run: Callable[[Job], JsonObject], context: ProjectContext | None = None
) -> Job:
    def work(job: Job) -> Iterator[JsonObject]:
        yield {"event": "report", **run(job)}

    return edge.jobs.start(kind, context.id if context else "", kind, about, work)


def preview_folder(edge: Edge, path: str, exclude: tuple[str, ...], include_vendored: bool | None) -> Job:
    """What indexing a folder would take in and leave out. Nothing is registered or written."""
    from dataclasses import asdict

    from gardener.preview import preview

    settings = edge.gardener.settings

    def run(job: Job) -> JsonObject:
        pace = Pace(job)
        found = preview(
            path,
            max_file_bytes=settings.integer("index.max_file_bytes"),
            exclude=(*settings.texts("index.exclude"), *exclude),
            include_vendored=settings.flag("index.include_vendored") if include_vendored is None else include_vendored,
            progress=lambda done, total: pace("looking", done, total),
            cancel=job.cancel,
        )
        return asdict(found)

    return _start(edge, "preview", path, run)


def evaluate(edge: Edge, context: ProjectContext, request: EvaluationRequest) -> Job:
    """Measures search; the scores are recorded. See gardener.project_evaluation."""
    from gardener.project_evaluation import evaluate_project

    def run(job: Job) -> JsonObject:
        evaluation, comparison = evaluate_project(edge.gardener, context, request, Pace(job), job.cancel)
        compared = comparison.as_json() if comparison else None
        return {"project": context.name, **evaluation.as_json(), "comparison": compared}

    return _start(edge, "evaluation", context.name, run, context)


def train(edge: Edge, context: ProjectContext, request: TrainingRequest) -> Job:
    """Trains an adapter; what was trained so far is kept when it is cancelled. See gardener.project_training."""
    from gardener.project_training import train_project

    def run(job: Job) -> JsonObject:
        pace = Pace(job)

        def say(event: dict[str, Any]) -> None:
            if event["event"] == "phase":
                pace(event["phase"], event["done"], event["total"])
            else:
                job.say({**event, "event": "training-" + event["event"]})

        report = train_project(edge.gardener, context, request, say, job.cancel)
        return {"project": context.name, **report.as_json()}

    return _start(edge, "training", context.name, run, context)


def clean_disk(edge: Edge) -> Job:
    """Removes what nobody needs; all of it can be made again. Not stopped in the middle of one removal."""
    from gardener.disk import clean

    def run(job: Job) -> JsonObject:
        def say(what: str) -> None:
            if job.cancel.is_set():
                raise Interrupted("Cleaning was stopped; what was removed stays removed.", next_step="gardener disk")
            job.say({"event": "progress", "phase": what, "done": 0, "total": 0, "rate": None, "eta_s": None})

        return clean(edge.gardener, say).as_json()

    return _start(edge, "clean", "", run)


def check_health(edge: Edge, *, deep: bool) -> Job:
    """Every check of `gardener doctor`."""

    def run(job: Job) -> JsonObject:
        return findings(edge, deep=deep)

    return _start(edge, "health", "deep" if deep else "", run)


def make_backup(edge: Edge) -> Job:
    """A backup of the whole home. It cannot be stopped half way, and takes seconds."""
    from gardener.backup_service import BackupService

    return _start(edge, "backup", "everything", lambda job: BackupService(edge.gardener).create().as_json())


def prove_backup(edge: Edge, backup: str) -> Job:
    """Compares every byte of a backup with its manifest, then opens a restored copy and queries it."""
    from gardener.backup_service import BackupService

    def run(job: Job) -> JsonObject:
        entry, problems, _ = BackupService(edge.gardener).verify(backup, "restore")
        return {"id": entry.id, "ok": not problems, "problems": list(problems)}

    return _start(edge, "backup", backup, run)


def findings(edge: Edge, *, deep: bool = False) -> JsonObject:
    """What `gardener doctor --json` prints."""
    from gardener.checks import all_checks
    from gardener.health.check import run_checks
    from gardener.server.app_state import own_state

    found = run_checks(all_checks(edge.gardener, lambda: own_state(edge), deep=deep), edge.health.runner)
    return {
        "ok": not any(finding.severity == "error" for finding in found),
        "findings": [finding.as_json() for finding in found],
    }
