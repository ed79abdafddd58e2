"""Whose vectors come next: the active project's, then those of the projects used last."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from gardener.background import ANSWERING, Conditions
from gardener.errors import GardenerError
from gardener.index.facts import summary
from gardener.paths import index_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gardener.app import Gardener
    from gardener.index.embed import EmbedProgress, EmbedReport
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.index")

LOOK_S = 2.0
"""Time between two looks at whether another project has become more important."""


def missing_vectors(gardener: Gardener, leave_out: Mapping[str, str] | None = None) -> list[ProjectContext]:
    """Projects with chunks that have no vector yet, most important first.

    `leave_out` are ids and the `index_version` with which a project was dealt with already.
    """
    found = []
    for context in gardener.projects_by_use():
        try:
            facts = summary(index_directory(context.home))
        except GardenerError:
            continue  # damaged: `gardener doctor` and the next search say so, and there is nothing to do here
        if (
            facts.get("table_version")
            and (leave_out or {}).get(context.id) != _version(gardener, facts)
            and not gardener.embedding.finished(facts)
            and gardener.settings_for(context).flag("index.background_embedding")
        ):
            found.append(context)
    return found


def more_important(
    gardener: Gardener, context: ProjectContext, leave_out: Mapping[str, str] | None = None
) -> Callable[[], bool]:
    """A question to ask between two batches: does another project come first now?"""
    asked = time.monotonic()

    def ask() -> bool:
        nonlocal asked
        if time.monotonic() - asked < LOOK_S:
            return False
        asked = time.monotonic()
        first = next(iter(missing_vectors(gardener, leave_out)), context)
        return first.id != context.id

    return ask


class WaitingRule:
    """Asked by embed_missing between two batches: gives the reason to wait, "" to go on; sets `stop` to end early."""

    def __init__(
        self,
        conditions: Conditions,
        *,
        answering: Callable[[], bool],
        leave: Callable[[], bool],
        show: Callable[[str], object],
        unload: Callable[[], object],
        half_speed_on_battery: bool,
    ) -> None:
        """`show` is told a reason that will last, and "" when it is over; `unload` gives the model's memory back."""
        self.stop = threading.Event()
        self._conditions = conditions
        self._answering = answering
        self._leave = leave
        self._show = show
        self._unload = unload
        self._half_speed = half_speed_on_battery
        self._shown = ""
        self._resumed_at = time.monotonic()

    def __call__(self) -> str:
        if self._leave():
            self.stop.set()
        reason = self._conditions.reason()
        if reason != self._shown:
            self._shown = reason
            self._show(reason)
        if self._conditions.short_of_memory:
            self._unload()
        if not reason and self._answering():
            return ANSWERING  # over in a moment: not worth a write
        if not reason and self._conditions.on_battery and self._half_speed:
            self.stop.wait(min(time.monotonic() - self._resumed_at, 1.0))  # as much rest as work
        self._resumed_at = time.monotonic()
        return reason

    def over(self) -> None:
        """Takes back what was shown."""
        if self._shown:
            self._show("")


def index_version(gardener: Gardener, context: ProjectContext) -> str:
    """What `missing_vectors` compares; read before the work, so that an update in the middle of it counts."""
    return _version(gardener, summary(index_directory(context.home)))


def _version(gardener: Gardener, facts: Mapping[str, str]) -> str:
    """Changes with every update of the index and with the wanted embedder."""
    return f"{facts.get('updated_at', '')} {gardener.embedding.glance()}"


def work_off(gardener: Gardener, over: Callable[[], bool]) -> None:
    """Makes the vectors of every project that lacks some, until there is none or `over` says so.

    A project that fails is logged and left out; the others go on.
    """
    left_out: dict[str, str] = {}
    while not over():
        first = next(iter(missing_vectors(gardener, left_out)), None)
        if first is None:
            return
        later = more_important(gardener, first, left_out)
        version = index_version(gardener, first)
        gave_way = False

        def give_way(later: Callable[[], bool] = later) -> bool:
            nonlocal gave_way
            gave_way = gave_way or over() or later()
            return gave_way

        try:
            gardener.embed(first, give_way=give_way)
        except GardenerError as error:
            log.warning(
                "vectors.failed",
                extra={"fields": {"project": first.name, "code": error.code, "reason": error.message}},
            )
        if not gave_way:
            left_out[first.id] = version  # done, or there is nothing to be done now


def make_vectors(
    gardener: Gardener,
    context: ProjectContext,
    progress: Callable[[EmbedProgress], None] | None,
    cancel: threading.Event | None,
    *,
    lock_timeout_s: float,
    give_way: Callable[[], bool],
    asked_for: bool,
) -> EmbedReport:
    """Gives every chunk of one project its vector, and its symbols what a large update left out; see Gardener.embed."""
    from gardener.embedding_service import UNKNOWN, EmbedderChanged
    from gardener.index.embed import embed_missing

    service = gardener.embedding
    fingerprint = service.fingerprint
    indexer = gardener.index(context).indexer
    settings = gardener.settings_for(context)
    conditions = gardener.conditions or Conditions(
        battery_percent=0 if asked_for else settings.integer("index.pause_on_battery_below"),
        memory_percent=settings.integer("index.pause_below_memory"),
        held_back=lambda: gardener.background_waits,
    )
    rule = WaitingRule(
        conditions,
        answering=gardener.foreground.anybody,
        leave=lambda: (
            (not asked_for and gardener.vectors_asked_for.anybody())
            or give_way()
            or (cancel is not None and cancel.is_set())
            or service.fingerprint != fingerprint
        ),
        show=lambda reason: indexer.manifest.commit(facts={"vectors_paused": reason}),
        unload=service.unload,
        half_speed_on_battery=not asked_for,
    )

    def record(done: int, total: int) -> None:
        complete = str(int(done == total))
        facts = {"vectors": str(done), "contents": str(total), "vectors_complete": complete}
        facts["vectors_counted_of"] = fingerprint
        if done == total:
            facts["vectors_of"] = fingerprint  # from now on these answer; the other embedder's go afterwards
        indexer.manifest.commit(facts=facts)

    try:
        with gardener.vectors_asked_for.busy() if asked_for else nullcontext():
            indexer.complete_symbols(cancel)
            report = embed_missing(
                context,
                indexer.table,
                service.store(fingerprint),
                lambda: service.embedder(fingerprint),
                fingerprint,
                record=record,
                progress=progress or (lambda _: None),
                cancel=rule.stop,
                pause=rule,
                lock_timeout_s=lock_timeout_s,
            )
    except EmbedderChanged:
        report = None  # what is stored stays; the model that is there now makes vectors of its own
    finally:
        rule.over()
    if report is not None and service.fingerprint in (fingerprint, UNKNOWN):
        return report
    return make_vectors(
        gardener, context, progress, cancel, lock_timeout_s=lock_timeout_s, give_way=give_way, asked_for=asked_for
    )
