"""Hashes of the files of a project's tables, because LanceDB does not notice a flipped bit.

The files of a Lance table never change once written, so each is hashed once, right after the commit that brought it
and under the lock of that commit. A file that is damaged before that instant (the write itself) is not noticed, nor
one on an object store, which keeps checksums of its own. docs/architecture.md says who looks at the hashes and when.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from gardener.errors import DiskFull, LockedError
from gardener.index.facts import is_disk_full
from gardener.index.lance_tables import CHUNKS
from gardener.index.storage import Storage
from gardener.locks import ProcessLock
from gardener.paths import create_private, embed_lock, ensure_directory, project_lock

if TYPE_CHECKING:
    from gardener.types import ProjectContext

_log = logging.getLogger("gardener.index")

FILE = "hashes.db"
_HINT = "latest_version_hint.json"
"""The one file of a Lance table that is written over; Lance lists the versions when the hint is of no use."""
_BLOCK = 1 << 20
SAMPLE_BYTES = 32_000_000
"""What a quick check reads: about a tenth of a second."""
_LOCK_WAIT_S = 5.0


class Damage(NamedTuple):
    """A file that is not what was written. `path` is absolute."""

    path: str
    table: str
    what: Literal["changed", "missing"]


class Verdict(NamedTuple):
    """What a check of the files found. Sizes in bytes."""

    damaged: tuple[Damage, ...]
    files: int
    bytes: int
    bytes_read: int
    """How much of `bytes` was compared; of the rest only that the files are there, with the right size."""

    @property
    def tables(self) -> list[str]:
        """Names of the damaged tables."""
        return sorted({damage.table for damage in self.damaged})


class FileHashes:
    """The SHA-256 of every file of the tables in `storage`, kept in `directory`/hashes.db. Thread-safe."""

    def __init__(self, directory: str, storage: Storage | None = None) -> None:
        self.storage = storage or Storage(directory)
        self.path = os.path.join(directory, FILE)
        self._lock = threading.Lock()

    def record(self, tables: Sequence[str], *, pruned: bool = False) -> int:
        """Hashes the files of these tables that are new; call it under the lock of their writer.

        `pruned` says that the commit took files away (a compaction does): what is gone is then forgotten. Otherwise
        a file that is gone stays on the list, and counts as damage. Returns how many files were hashed.
        """
        if self.storage.remote:
            return 0
        with self._database() as database:
            known = {row[0] for row in database.execute("SELECT path FROM files")}
            present = {path for table in tables for path in self._files(table)}
            rows = [(path, *digest) for path in sorted(present - known) if (digest := _digest(self._absolute(path)))]
            exist = set(self.storage.names(None))
            if any(table.startswith(CHUNKS) for table in tables):  # the one that counts; others are on their way out
                exist -= {name for name in exist if name.startswith(CHUNKS) and name not in tables}
            gone = [
                path
                for path in known - present
                if (table := _table_of(path)) not in exist or (pruned and table in tables)
            ]
            database.execute("BEGIN IMMEDIATE")
            # Never replaced: the first hash is of what was written, a later one perhaps of what it has become.
            database.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", rows)
            database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            database.execute("COMMIT")
            return len(rows)

    def verify(
        self,
        context: ProjectContext,
        *,
        sample_bytes: int | None = None,
        pause: Callable[[int], bool] = lambda count: False,
    ) -> Verdict:
        """Compares the files with their hashes; only some, chosen at random, when `sample_bytes` bounds it.

        `pause` is told after each file how many bytes were read, and ends the check early by giving True.
        """
        if self.storage.remote or not os.path.exists(self.path):
            return Verdict((), 0, 0, 0)
        rows = self._rows()
        random.shuffle(rows)
        damaged: list[Damage] = []
        total = read = 0
        for path, size, digest in rows:
            total += size
            absolute = self._absolute(path)
            try:
                same = os.stat(absolute).st_size == size
            except FileNotFoundError:
                damaged.append(Damage(absolute, _table_of(path), "missing"))
                continue
            if same and (sample_bytes is None or read < sample_bytes):
                found = _digest(absolute)
                same = found is None or found[1] == digest  # None: taken away meanwhile, not damaged
                read += size
                if pause(size):
                    break
            if not same:
                damaged.append(Damage(absolute, _table_of(path), "changed"))
        if any(damage.what == "missing" for damage in damaged):
            damaged = self._confirmed(context, damaged)
        return Verdict(tuple(sorted(damaged)), len(rows), total, read)

    def _confirmed(self, context: ProjectContext, damaged: list[Damage]) -> list[Damage]:
        """Without the files that a commit has taken away meanwhile and not yet crossed off the list."""
        changed = [damage for damage in damaged if damage.what == "changed"]
        try:
            with ExitStack() as locks:
                for place in (project_lock, embed_lock):
                    lock = ProcessLock(place(context.home), "gardener doctor", subject=f"'{context.name}'")
                    lock.acquire(_LOCK_WAIT_S)
                    locks.enter_context(lock)
                listed = {self._absolute(path) for path, _, _ in self._rows()}
        except LockedError:
            return changed  # somebody is writing: what is really missing will still be at the next check
        return [damage for damage in damaged if damage.what == "changed" or damage.path in listed]

    # ---- the list ------------------------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, int, bytes]]:
        with self._database() as database:
            return database.execute("SELECT path, size, sha256 FROM files").fetchall()

    def _absolute(self, path: str) -> str:
        return os.path.join(self.storage.location, path)

    def _files(self, table: str) -> Iterator[str]:
        """Paths of a table's files, relative to the storage. No file is looked at: only the names count."""
        pending = [f"{table}.lance"]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self._absolute(folder)) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}"
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(path)
                        elif not entry.name.startswith(".") and entry.name != _HINT:
                            yield path
            except FileNotFoundError:
                continue

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Raises DiskFull when the list cannot be written for want of room; the last one stays."""
        with self._lock:
            try:
                with closing(self._open()) as database:
                    yield database
            except sqlite3.DatabaseError as error:
                if not is_disk_full(error, self.path):
                    raise
                raise DiskFull(
                    f"The disk is full: {self.path} could not be written. The last good index stays in force.",
                    next_step=f'df -h "{os.path.dirname(self.path)}"',
                ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if "locked" in str(error) or is_disk_full(error, self.path):
                raise
            _log.warning("%s was damaged (%s) and is made anew from the files as they are now.", self.path, error)
            for suffix in ("", "-journal"):
                if os.path.exists(self.path + suffix):
                    os.unlink(self.path + suffix)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        ensure_directory(os.path.dirname(self.path))
        create_private(self.path)
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            # What a power cut takes is hashed again at the next commit.
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA journal_mode = TRUNCATE")
            database.execute(
                "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, sha256 BLOB NOT NULL)"
            )
        except BaseException:
            database.close()
            raise
        return database


def _table_of(path: str) -> str:
    return path.partition("/")[0].removesuffix(".lance")


def _digest(path: str) -> tuple[int, bytes] | None:
    """Size and SHA-256 of a file; None when it is gone."""
    size = 0
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(_BLOCK):
                size += len(block)
                digest.update(block)
    except FileNotFoundError:
        return None
    return size, digest.digest()
