"""The performance log: a line for every search, update of an index and answer, with its times and no words of it.

    {"time", "pid", "event", "actor", "project", "project_id", "fields": {"ms", "outcome", ...}}

`outcome` is ok, or the code of the error. Questions, answers, paths and code are never in it.
"""

from __future__ import annotations

import os
import time

from gardener.audit import line
from gardener.errors import GardenerError
from gardener.line_log import PERFORMANCE_LOG, append_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gardener.app import Gardener
    from gardener.index.index_report import IndexReport
    from gardener.index.search import SearchRequest, SearchResult
    from gardener.project_context import ProjectContext
    from gardener.usage import Generation

MAX_BYTES = 5_000_000
BACKUPS = 4
"""With these, at least the last 20 MB: some 60,000 searches."""


class PerformanceLog:
    """Thread-safe. A line that cannot be written costs nobody anything; see append_line."""

    def __init__(self, logs: str) -> None:
        """`logs` is paths.logs."""
        self._path = os.path.join(logs, PERFORMANCE_LOG)
        self.watchers: list[Callable[[str, float, str], None]] = []
        """Told of each line's event, seconds and outcome: the app counts them for /metrics."""

    def note(self, event: str, project: str, project_id: str, seconds: float, outcome: str, **fields: Any) -> None:
        said = line(event, project, project_id, {"ms": round(1000 * seconds, 2), "outcome": outcome, **fields})
        append_line(self._path, said.encode(), max_bytes=MAX_BYTES, backups=BACKUPS)
        for watcher in self.watchers:
            watcher(event, seconds, outcome)

    def answer(self, generation: Generation) -> None:
        """One answer, as gardener.usage stores it."""
        usage = generation.usage
        outcome = "left" if generation.left else "ok" if generation.complete else generation.problem or "incomplete"
        self.note(
            "answer",
            generation.project_name,
            generation.project_id,
            generation.total_ms / 1000,
            outcome,
            backend=generation.backend,
            model=generation.model,
            level=generation.level,
            first_token_ms=_rounded(generation.first_token_ms),
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            prompt_s=_rounded(usage.prompt_s),
            completion_s=_rounded(usage.completion_s),
            load_s=_rounded(usage.load_s),
        )


def measured_search(gardener: Gardener, context: ProjectContext, request: SearchRequest) -> SearchResult:
    """Gardener.search, with its line in the log."""
    begun = time.perf_counter()
    try:
        with gardener.foreground.busy():
            result = gardener.index(context).search(request).with_watching(gardener.watch_state(context))
            problem = gardener.settings_problem(context)
            result = result.with_note(f"Settings were not read: {problem}") if problem else result
    except GardenerError as error:
        gardener.performance.note("search", context.name, context.id, time.perf_counter() - begun, error.code)
        raise
    gardener.performance.note(
        "search",
        context.name,
        context.id,
        time.perf_counter() - begun,
        "ok",
        hits=len(result.hits),
        fresh=result.index.fresh,
        embedded=round(result.index.embedded_fraction, 4),
        parts_ms={name: round(value, 2) for name, value in result.timings_ms},
    )
    return result


def measured_update(gardener: Gardener, context: ProjectContext, **how: Any) -> IndexReport:
    """Gardener.update_index, with its line in the log; `how` is for ProjectIndex.update."""
    begun = time.perf_counter()
    try:
        report = gardener.index(context).update(**how)
    except GardenerError as error:
        gardener.performance.note("index", context.name, context.id, time.perf_counter() - begun, error.code)
        raise
    gardener.performance.note(
        "index",
        context.name,
        context.id,
        time.perf_counter() - begun,
        "ok",
        added=report.added,
        changed=report.changed,
        removed=report.removed,
        files=report.files,
        chunks=report.chunks,
        rebuilt=report.rebuilt,
    )
    return report


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
