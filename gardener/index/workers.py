"""Worker processes that prepare files, and what happens when one dies.

Parsing runs other people's bytes through C code. A file that kills its worker (a crash of a grammar, the system's
out-of-memory killer) must cost that file and nothing else: the batch is tried again one file at a time, each in a
process of its own, and the culprit is recorded as skipped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from gardener.errors import GardenerError
from gardener.index.manifest import FileRecord
from gardener.index.prepare import PreparedFile, prepare_files
from gardener.index.walk import FileEntry

Batch = Sequence[tuple[FileEntry, str]]

CRASHED = "parser-crashed"
"""Skip reason of a file whose worker died twice: in its batch and alone."""


class WorkerPool:
    """Up to `workers` processes, started when first needed. Use as a context manager."""

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def prepare(
        self, root: str, batches: Sequence[Batch], max_file_bytes: int, meanwhile: Callable[[], None]
    ) -> Iterator[list[PreparedFile]]:
        """The prepared files of each batch, in the order in which they are ready. `meanwhile` runs once, when all
        workers are busy.
        """
        todo = iter(batches)
        waiting: dict[Future[list[PreparedFile]], Batch] = {}

        def feed() -> None:
            while len(waiting) < 2 * self.workers and (batch := next(todo, None)) is not None:
                waiting[self._submit(root, batch, max_file_bytes)] = batch

        feed()
        meanwhile()
        while waiting:
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            died = [future for future in finished if isinstance(future.exception(), BrokenProcessPool)]
            suspects = [waiting.pop(future) for future in died]
            for future in finished.difference(died):
                del waiting[future]
                yield future.result()
            if suspects:
                # The whole pool is gone with the one that died: everything that was under way is suspect.
                suspects += waiting.values()
                waiting.clear()
                self._discard()
                for batch in suspects:
                    yield self._one_by_one(root, batch, max_file_bytes)
            feed()

    def _one_by_one(self, root: str, batch: Batch, max_file_bytes: int) -> list[PreparedFile]:
        prepared: list[PreparedFile] = []
        for entry, known in batch:
            try:
                prepared += self._submit(root, [(entry, known)], max_file_bytes).result()
            except BrokenProcessPool as error:
                self._discard()
                self._check_that_workers_run(error)
                record = FileRecord(entry.path, entry.size, entry.mtime_ns, "", "", 0, 0, skipped=CRASHED)
                prepared.append(PreparedFile(record, (), False))
        return prepared

    def _check_that_workers_run(self, error: BrokenProcessPool) -> None:
        """A file is only to blame if a worker without it lives: otherwise this machine cannot start processes."""
        try:
            self._start_pool().submit(os.getpid).result()
        except BrokenProcessPool:
            self._discard()
            raise GardenerError(
                "Worker processes die as soon as they start, so large changes cannot be indexed in parallel.",
                next_step="GARDENER_INDEX_WORKERS=1 gardener index",
            ) from error

    def _submit(self, root: str, batch: Batch, max_file_bytes: int) -> Future[list[PreparedFile]]:
        if self._pool is not None:
            try:
                return self._pool.submit(prepare_files, root, batch, max_file_bytes)
            except BrokenProcessPool:
                self._discard()  # a worker died since the last look; what it had is found out by its future
        return self._start_pool().submit(prepare_files, root, batch, max_file_bytes)

    def _start_pool(self) -> ProcessPoolExecutor:
        # spawn: LanceDB and other threads of this process do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start)
        return self._pool

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _start() -> None:
    """A worker leaves Ctrl-C to its parent and creates nothing that others can read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
