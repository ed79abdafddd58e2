"""The SQLite file behind a vector store: opened, shared between processes, replaced when it is damaged.

Its content can be made again from source text, so damage never stops anyone: an unreadable file is moved
aside, with a message, and an empty one takes its place.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from gardener.errors import IndexDamaged, ModelError, SchemaTooNew, StateDamaged
from gardener.locks import ProcessLock
from gardener.paths import ensure_directory, open_private, translate_os_error
from gardener.state_connection import StateConnection, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("gardener.index")
_Result = TypeVar("_Result")

SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 30.0
_LOCK_TIMEOUT_S = 10.0
_ATTEMPTS = 3
_NAME = re.compile(r"vectors-(\d+)\.db(\.damaged-.*)?\Z")
_DAMAGED = ".db.damaged-"


class VectorDatabase:
    """One connection for all threads of this process; each operation holds it only while it runs.

    `moved_aside` names the damaged file that this instance replaced; "" when it never had to.
    """

    def __init__(self, folder: str, dimensions: int) -> None:
        self.folder = folder
        self.dimensions = dimensions
        self.moved_aside = ""
        self._lock = threading.RLock()
        self._connection: StateConnection | None = None
        self._path = ""
        self._identity: tuple[int, int] | None = None
        self._closed = False

    def run(self, operation: Callable[[StateConnection], _Result]) -> _Result:
        """Runs one short operation. When it finds the file damaged, it runs once more on an empty one.

        Raises ModelError, SchemaTooNew, LockedError, DiskFull or PermissionProblem (see VectorStore),
        IndexDamaged when not even a new file can be read, RuntimeError after `close`.
        """
        why = ""
        for _ in range(_ATTEMPTS):
            with self._lock:
                try:
                    return operation(self._open())
                except StateDamaged as error:
                    why = str(error)
                    self._move_aside(why)
        raise IndexDamaged(
            f"The vectors in {self.folder} cannot be read, not even from a new file ({why}).",
            next_step="gardener doctor",
        )

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._disconnect()

    def _open(self) -> StateConnection:
        if self._closed:
            raise RuntimeError(f"the vector store {self.folder} is closed")
        if self._connection is not None:
            if _identity(self._path) == self._identity:
                return self._connection
            # Another process found the file damaged and moved it aside, or the folder was emptied.
            self._disconnect()
        self._path = self._current()
        self._identity = _identity(self._path)
        self._connection = connect(self._path, _BUSY_TIMEOUT_S)
        try:
            self._prepare(self._connection)
        except BaseException:
            self._disconnect()
            raise
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _prepare(self, connection: StateConnection) -> None:
        connection.row_factory = None
        connection.text_factory = bytes  # bit rot can turn a blob into text that is no UTF-8
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        version = _version(connection)
        if version < SCHEMA_VERSION:
            # Two processes that switch the same new file to WAL get in each other's way.
            with self._process_lock():
                if _version(connection) < SCHEMA_VERSION:
                    self._create(connection)
        elif version > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"{self._path} was written by a newer Gardener: its version is {version}, "
                f"this one knows up to {SCHEMA_VERSION}.",
                next_step="gardener upgrade",
            )
        stored = connection.execute("SELECT dimensions FROM store").fetchone()[0]
        if stored != self.dimensions:
            raise ModelError(
                f"{self._path} holds vectors of {stored} dimensions; the embedder makes {self.dimensions}.",
                next_step="gardener doctor",
            )

    def _create(self, connection: StateConnection) -> None:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        with transaction(connection):
            connection.execute(
                "CREATE TABLE vectors (hash BLOB PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL)"
            )
            connection.execute("CREATE TABLE store (dimensions INTEGER NOT NULL)")
            connection.execute("INSERT INTO store VALUES (?)", (self.dimensions,))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _current(self) -> str:
        """Path of the file in use, made empty if there is none.

        A new file gets a new number: a process that still has the damaged one open would otherwise delete the
        journal of the new one when it closes (https://sqlite.org/howtocorrupt.html, on files renamed while in
        use).
        """
        ensure_directory(self.folder)
        newest = in_use = 0
        for name in os.listdir(self.folder):
            if match := _NAME.match(name):
                newest = max(newest, int(match[1]))
                if not match[2]:
                    in_use = max(in_use, int(match[1]))
        path = os.path.join(self.folder, f"vectors-{in_use or newest + 1}.db")
        if not in_use:
            _create_empty(path)
        return path

    def _move_aside(self, why: str) -> None:
        self._disconnect()
        path = self._path
        with self._process_lock():
            if _identity(path) != self._identity:
                return  # another process has done it
            aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
            try:
                for name in os.listdir(self.folder):
                    if _DAMAGED in name:
                        os.unlink(os.path.join(self.folder, name))  # one is enough to look at
                os.rename(path, aside)
                for journal in (f"{path}-wal", f"{path}-shm"):
                    if os.path.exists(journal):
                        os.unlink(journal)
            except OSError as error:
                raise translate_os_error(error, path) from error
        self.moved_aside = aside
        _log.warning("%s Its vectors will be computed again; it is kept as %s.", why, aside)

    @contextmanager
    def _process_lock(self) -> Iterator[None]:
        lock = ProcessLock(os.path.join(self.folder, "lock"), "gardener (vectors)", subject=self.folder)
        lock.acquire(_LOCK_TIMEOUT_S)
        try:
            yield
        finally:
            lock.release()


@contextmanager
def transaction(connection: StateConnection) -> Iterator[None]:
    """All or nothing, and on the disk when it ends (synchronous = FULL)."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: StateConnection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _create_empty(path: str) -> None:
    # Made under another name and linked: closing a descriptor of the file itself would drop the locks that
    # SQLite may hold on it in this process (https://sqlite.org/howtocorrupt.html, on POSIX advisory locks).
    temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        with open(temporary, "wb", opener=open_private):
            pass
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise translate_os_error(error, path) from error
