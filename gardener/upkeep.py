"""Finds damage in a project's index and mends it: what is damaged is made again beside what still serves."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from gardener.errors import GardenerError, LockedError
from gardener.index.facts import summary
from gardener.index.vector_tables import VECTORS
from gardener.locks import ProcessLock
from gardener.paths import embed_lock, index_directory, project_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from gardener.app import Gardener
    from gardener.index.index_report import ProgressCallback
    from gardener.index.integrity import Verdict
    from gardener.types import ProjectContext

_log = logging.getLogger("gardener.index")

SWEEP_EVERY_S = 24 * 3600.0
"""A project's files are all read again a day after the last time."""
SWEEP_LOOK_S = 600.0
SWEEP_BYTES_PER_S = 20_000_000
"""Slow enough that nobody notices: Django's index takes five seconds."""
_LOCK_WAIT_S = 10.0


def repair_index(
    gardener: Gardener,
    context: ProjectContext,
    verdict: Verdict,
    progress: ProgressCallback | None = None,
    cancel: threading.Event | None = None,
) -> list[str]:
    """Makes the damaged tables again. Returns what was done, as sentences.

    Chunks are built anew beside the damaged table, which serves until then. Vectors are removed, and come back from
    the shared store or the model with the next `embed`. Raises LockedError and what Indexer.update raises.
    """
    indexer = gardener.index(context).indexer
    done = []
    symbols = indexer.symbols.problem() if indexer.table.chunks_table not in verdict.tables else ""
    if symbols:
        report = gardener.update_index(context, progress, cancel, rebuild=True, lock_timeout_s=_LOCK_WAIT_S)
        done.append(f"the symbols were damaged ({symbols}): the index was built anew, {report.files:,} files")
    for name in verdict.tables:
        if name.startswith(VECTORS):
            with _lock(embed_lock(context.home), context):
                indexer.table.remove_table(name)
                indexer.hashes.record(indexer.table.vector_tables(), pruned=True)
                indexer.manifest.commit(facts={"vectors_complete": "0"})
            done.append(f"the damaged vectors {name.removeprefix(VECTORS)} were removed; they are being made again")
        elif name == indexer.table.chunks_table:
            report = gardener.update_index(context, progress, cancel, rebuild=True, lock_timeout_s=_LOCK_WAIT_S)
            done.append(f"the index was built anew: {report.files:,} files, {report.chunks:,} chunks")
        else:
            with _lock(project_lock(context.home), context):
                indexer.drop_stale_tables(now=True)
                indexer.hashes.record([indexer.table.chunks_table], pruned=True)
            done.append(f"{name}, which nobody uses any more, was removed")
    return done


def repair_store(gardener: Gardener) -> list[str]:
    """Drops damaged vectors from the shared store; they are made again when a project needs them."""
    done = []
    for store in gardener.embedding.stores():
        dropped = store.drop_damaged()
        if dropped:
            done.append(f"{dropped:,} damaged vectors were dropped from the shared store")
        if store.moved_aside:
            done.append(f"the shared store could not be read and was moved to {store.moved_aside}")
    return done


def _lock(path: str, context: ProjectContext, *, wait_s: float = _LOCK_WAIT_S) -> ProcessLock:
    lock = ProcessLock(path, "gardener index --repair", subject=f"'{context.name}'")
    lock.acquire(wait_s)
    return lock


class Sweep:
    """Reads every index file again, slowly and once a day, in a thread of the app; mends what is damaged."""

    def __init__(self, gardener: Gardener, *, make_vectors: Callable[[ProjectContext], object]) -> None:
        """`make_vectors` is told which project needs vectors after a repair."""
        self._gardener = gardener
        self._make_vectors = make_vectors
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index-sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SWEEP_LOOK_S):
            for context in self._gardener.registry.list():
                if self._stop.is_set():
                    return
                try:
                    self.look_at(context)
                except GardenerError as error:
                    _log.warning("The index of '%s' could not be checked: %s", context.name, error)

    def look_at(self, context: ProjectContext) -> list[str]:
        """Checks one project if its last check is a day old. Returns what was mended."""
        facts = summary(index_directory(context.home))
        if facts.get("replaced_table"):
            self._drop_replaced(context)
        checked = float(facts.get("hashes_checked_at", "0"))
        if not facts.get("table_version") or 0 <= time.time() - checked < SWEEP_EVERY_S:
            return []
        indexer = self._gardener.index(context).indexer
        verdict = indexer.hashes.verify(context, pause=self._pause)
        if self._stop.is_set():
            return []
        done: list[str] = []
        if verdict.damaged or indexer.symbols.problem():
            for damage in verdict.damaged:
                _log.error("'%s': the index file %s is damaged (%s).", context.name, damage.path, damage.what)
            done = repair_index(self._gardener, context, verdict, cancel=self._stop)
            for sentence in done:
                _log.warning("'%s': %s.", context.name, sentence)
            self._make_vectors(context)
        indexer.manifest.commit(facts={"hashes_checked_at": str(time.time())})
        return done

    def _drop_replaced(self, context: ProjectContext) -> None:
        """Deletes what a rebuild left behind, should no update have done it since."""
        indexer = self._gardener.index(context).indexer
        if indexer.table.storage.remote or len(indexer.table.chunk_tables()) < 2:
            return
        try:
            with _lock(project_lock(context.home), context, wait_s=0):
                indexer.drop_stale_tables()
        except LockedError:
            return  # an update is at work, and does this itself at its end

    def _pause(self, count: int) -> bool:
        return self._stop.wait(count / SWEEP_BYTES_PER_S)
