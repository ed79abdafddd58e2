"""LanceDB's handles on one project's tables: opening, errors, refreshing. The only module that imports lancedb, but for
what `table` needs to build its full-text index."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from gardener.errors import DiskFull, GardenerError, IndexDamaged, StorageUnreachable
from gardener.index.facts import summary
from gardener.index.storage import Storage

CHUNKS = "chunks"

SCAN_ROWS = 65_536
"""Rows per batch of a scan. LanceDB's own 1,024 costs seven times as much for a narrow column: each batch is a trip
between threads (48,000 row ids: 17 ms against 2.3 ms)."""


def import_lancedb() -> Any:
    if "lancedb" not in sys.modules:
        # LanceDB writes its own warnings to stderr, where they would look like ours; its errors we report ourselves.
        os.environ.setdefault("LANCEDB_LOG", "error")
        _defer_rest_client()
    import lancedb

    return lancedb


def _defer_rest_client() -> None:
    """Half of LanceDB's import is a generated client for its cloud catalogue, which a local table never calls.

    Its package is entered here without running its __init__, which runs after all if anything asks for a name in it.
    Import of lancedb: 1.55 s before, 0.80 s with this (docs/decisions/0004-lancedb-import.md).
    """
    name = "lance_namespace_urllib3_client"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return
    package = importlib.util.module_from_spec(spec)

    def load_on_demand(attribute: str) -> Any:
        del package.__dict__["__getattr__"]
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = load_on_demand
    sys.modules[name] = package


class _Connection:
    """What a table and its readers have in common.

    LanceDB keeps what it read of a full-text index (its files open, too) until its cache has 6 GB, also when a
    compaction has replaced that index: an app under constant edits grew by 614 MB an hour. A new connection
    starts anew, and the old one's cache goes with the last handle that was opened through it.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.database: Any = None
        self.number = 0


class LanceTables:
    """The tables of one project's index, in `directory`. Thread-safe: one lock around the handles."""

    def __init__(
        self,
        directory: str,
        *,
        repair: str = "gardener index --rebuild",
        storage: Storage | None = None,
        current: Callable[[], str] | None = None,
    ) -> None:
        """`repair` is the command that errors name. `storage` is where the tables lie, if not in `directory`.

        `current` names the table of chunks that counts; the manifest says which, so that a new one can be built
        beside it and take its place in the manifest's transaction.
        """
        self.directory = directory
        self.repair = repair
        self.storage = storage or Storage(directory)
        self._current = current or (lambda: summary(directory).get("chunks_table", ""))
        self._lock = threading.RLock()
        self._connection = _Connection()
        self._connected = 0
        self._tables: dict[str, Any] = {}
        self._opened = ""
        """Name under which the handle at CHUNKS was opened."""

    # ---- opening -------------------------------------------------------------------------------------

    def reader(self) -> Self:
        """The same tables through handles and a lock of their own: it never waits for what this one writes."""
        with self._lock:
            other = type(self)(self.directory, repair=self.repair, storage=self.storage, current=self._current)
            other._connection = self._connection  # shared, because the caches hang on it
            return other

    def view(self) -> Self:
        """A reader of the chunks as they are now, whatever is committed later; the vectors it shows are the newest.

        Never call `refresh` on it. A compaction may take away what it reads: the caller then takes a new view.
        """
        with self._lock:
            other = self.reader()
            other._open(CHUNKS)
            return other

    @property
    def chunks_table(self) -> str:
        """Name of the table of chunks that counts."""
        return self._current() or CHUNKS

    def exists(self) -> bool:
        with self._lock:
            return bool(self._call(self.storage.exists, self.chunks_table, self._connect))

    def chunk_tables(self) -> list[str]:
        """Names of all tables of chunks: the one that counts, a former one, one that was never finished."""
        with self._lock:
            names = self._call(self.storage.names, self._connect)
        return [name for name in names if name == CHUNKS or name.startswith(CHUNKS + "-")]

    def free_name(self) -> str:
        """A name for a table of chunks that no table has or had."""
        taken = {*self.chunk_tables(), self._current()}
        if CHUNKS not in taken and not self._current():
            return CHUNKS
        numbers = [int(name.rpartition("-")[2]) for name in taken if name.rpartition("-")[2].isdecimal()]
        return f"{CHUNKS}-{max(numbers, default=1) + 1}"

    def remove_table(self, name: str) -> None:
        """Deletes a table by name, readable or not."""
        with self._lock:
            self._tables.pop(name, None)
            self._call(self.storage.remove, name, self._connect)

    def _connect(self) -> Any:
        with self._connection.lock:
            if self._connection.database is None:
                options = self.storage.options()
                self._connection.database = self._call(
                    import_lancedb().connect, self.storage.location, storage_options=options or None
                )
            return self._connection.database

    def _connect_anew(self) -> None:
        """For this and its readers, each at its next `refresh`: what is cached of tables that were rewritten goes."""
        with self._lock, self._connection.lock:
            self._connection.database = None
            self._connection.number += 1
            self._tables.clear()

    def _open(self, name: str) -> Any:
        with self._lock:
            if name not in self._tables:
                real = name
                if name == CHUNKS:
                    real = self._opened = self.chunks_table
                self._tables[name] = self._call(self._connect().open_table, real)
            return self._tables[name]

    def _damaged(self, error: Exception) -> IndexDamaged | DiskFull | StorageUnreachable:
        text = str(error)
        unreachable = self.storage.unreachable(error)
        if unreachable is not None:
            return unreachable
        if "No space left on device" in text or "os error 28" in text:
            return DiskFull(
                f"The disk is full: the index in {self.directory} could not be written. The last good one stays.",
                next_step=f'df -h "{self.directory}"',
            )
        # LanceDB appends the place in its own source where the error arose.
        reason = text.splitlines()[0].split(", /")[0][:300] if text else type(error).__name__
        return IndexDamaged(
            f"The index in {self.storage.location} cannot be read: {reason}",
            next_step=self.repair,
        )

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Runs a LanceDB call; its errors, which have no common class, become IndexDamaged or DiskFull."""
        try:
            return function(*arguments, **options)
        except GardenerError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def refresh(self) -> None:
        """Shows what another handle or process has committed since."""
        with self._lock:
            if self._connected != self._connection.number:
                self._connected = self._connection.number
                self._tables.clear()
            known = self._call(self.storage.names, self._connect) if self._tables else []
            for name in list(self._tables):
                if name == CHUNKS and self._opened != self.chunks_table:
                    del self._tables[name]  # another one counts now
                elif (self._opened if name == CHUNKS else name) in known:
                    self._call(self._tables[name].checkout_latest)
                else:
                    del self._tables[name]

    def warm_up(self) -> None:
        """Imports LanceDB, for a caller that has idle time before it needs the table."""
        import_lancedb()

    def close(self) -> None:
        with self._lock:
            self._tables.clear()
            self._connection = _Connection()

    def _scan(self, name: str, columns: Sequence[str]) -> Any:
        """All rows' values of these columns as an Arrow table, in no set order."""
        query = self._open(name).search().select(list(columns)).limit(2**31 - 1)
        return self._call(lambda: query.to_batches(batch_size=SCAN_ROWS).read_all())
