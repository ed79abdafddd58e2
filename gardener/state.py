"""`state.db`: projects, the active one, conversations and the audit log, in SQLite with a write-ahead log.

Every write is one BEGIN IMMEDIATE transaction: a deferred one that reads first and writes later fails at once
with SQLITE_BUSY_SNAPSHOT when somebody else wrote in between, whatever the timeout. With synchronous=FULL a
commit has reached the disk when `write()` returns, so what was acknowledged survives a crash and a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager

from gardener.audit import actor, append
from gardener.errors import LockedError, SchemaTooNew, StateDamaged
from gardener.line_log import stamp
from gardener.paths import FILE_MODE, ensure_directory, open_private, sync_directory, translate_os_error
from gardener.sqlite_full_disk import is_full
from gardener.state_connection import StateConnection, connect, damaged
from gardener.state_schema import APPLICATION_ID, MIGRATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for the writer before it; one write takes milliseconds."""

_SIDE_FILES = ("-wal", "-shm")
_HIGHEST_BELIEVABLE_VERSION = 10_000


class State:
    """One open `state.db`. Thread-safe: each thread has its own connection, closed when the thread ends."""

    def __init__(self, path: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Opens the database, creating and migrating it as needed.

        Raises StateDamaged, SchemaTooNew, DiskFull, PermissionProblem or LockedError; each names the file.
        """
        self.path = os.path.abspath(path)
        self.busy_timeout_s = busy_timeout_s
        self._local = threading.local()
        self._connections: dict[int, StateConnection] = {}
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        _make_private(self.path)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def read(self) -> sqlite3.Connection:
        """This thread's connection, for SELECTs; rows are sqlite3.Row. Use `snapshot` for several at once."""
        return self._connection()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: every SELECT in it sees the same moment, whatever other processes commit."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed and on the disk when the block ends, rolled back when it raises.

        Raises LockedError naming state.db when another process keeps writing beyond the timeout, DiskFull
        when the commit does not fit. Not nestable: the block is the commit point, plain to see.
        """
        connection = self._connection()
        if connection.in_transaction:
            raise RuntimeError("State.write() inside another transaction of the same thread")
        self._begin_immediate(connection)
        try:
            connection.said.clear()
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        for line in connection.said:
            append(os.path.join(os.path.dirname(self.path), "logs"), line)

    def generation(self) -> int:
        """A number that grows with every change of the active project; cheap enough to poll."""
        row = self._connection().execute("SELECT generation FROM pointers WHERE key = 'active'").fetchone()
        return int(row[0]) if row else 0

    def check(self) -> list[str]:
        """What SQLite's integrity check and the foreign keys find wrong; empty when all is well."""
        connection = self._connection()
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            broken = [
                f"{row[0]} row {row[1]} refers to a missing {row[2]}"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
        except StateDamaged as error:
            return [error.message]
        return [problem for problem in found if problem != "ok"] + broken

    def scrub(self) -> bool:
        """Rewrites the file so that nothing of deleted rows can be read from it or its log any more.

        Returns False when the log could not be emptied because another process was reading all the while; the
        log then goes when the last process closes the database. Raises LockedError or DiskFull.
        """
        connection = self._connection()
        connection.execute("VACUUM")
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Closes the connections of every thread. Call it when no thread is in the middle of a query."""
        with self._guard:
            self._closed = True
            connections, self._connections = list(self._connections.values()), {}
        if os.getpid() == self._pid:
            for connection in connections:
                connection.close()

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- Connections -------------------------------------------------------------------------------------

    def _connection(self) -> StateConnection:
        if os.getpid() != self._pid:
            self._abandon_after_fork()
        held: _Held | None = getattr(self._local, "held", None)
        replaced = False
        if held is not None and not self._closed:
            replaced = not held.connection.in_transaction and self._is_another(held.file)
            if not replaced and (not held.connection.makeshift or is_full(self.path)):
                return held.connection
            self._forget(held.connection)  # there is room again: a real one takes its place
        if self._closed:
            raise RuntimeError(f"{self.path} has been closed")
        connection = connect(self.path, self.busy_timeout_s)
        with self._guard:
            self._connections[id(connection)] = connection
        self._local.held = _Held(connection, self._forget, _identity(self.path))
        if replaced:
            try:
                self._migrate()  # a restored one may be of an older or a newer Gardener
            except BaseException:
                del self._local.held
                raise
        return connection

    def _is_another(self, file: tuple[int, int] | None) -> bool:
        """Whether a restore, say, has put another file in the place of that one. Without this a long-lived process,
        such as the monitor, would go on reading and writing what has no name any more."""
        now = _identity(self.path)
        return now is not None and file is not None and now != file

    def _forget(self, connection: StateConnection) -> None:
        with self._guard:
            found = self._connections.pop(id(connection), None)
        if found is not None:
            found.close()

    def _abandon_after_fork(self) -> None:
        """SQLite connections must be neither used nor closed in a forked child; new ones are opened."""
        _inherited.extend(self._connections.values())
        self._connections = {}
        self._guard = threading.Lock()
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None:
            _inherited_holds.append(held)
        self._local = threading.local()
        self._pid = os.getpid()

    def _begin_immediate(self, connection: sqlite3.Connection) -> None:
        """Asks every 2 ms until the time limit. SQLite's own waiting sleeps for up to 100 ms at a time, and
        of six processes that wrote without a pause one had to wait more than 5 s; so each gets its turn.
        """
        deadline = time.monotonic() + self.busy_timeout_s
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except LockedError:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.002)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self.busy_timeout_s * 1000)}")

    # ---- Migrations --------------------------------------------------------------------------------------

    def _migrate(self) -> None:
        connection = self._connection()
        version = self._version(connection)
        if version == len(MIGRATIONS):
            return
        self._use_write_ahead_log(connection)
        self._begin_immediate(connection)
        try:
            version = self._version(connection)  # another process may have migrated while we waited
            if 0 < version < len(MIGRATIONS):
                self._keep_copy(version)
            for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
                migration(connection)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        # One moment for all three, which another process that is just creating the schema would tear apart. Not
        # BEGIN, as this may be inside a transaction.
        connection.execute("SAVEPOINT version")
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            application = int(connection.execute("PRAGMA application_id").fetchone()[0])
            empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        finally:
            connection.execute("RELEASE version")
        believable = empty if version == 0 else 0 < version <= _HIGHEST_BELIEVABLE_VERSION
        if not believable or (version and application != APPLICATION_ID):
            raise damaged(self.path, "it is a SQLite database, but not one of Gardener's")
        if version > len(MIGRATIONS):
            raise SchemaTooNew(
                f"{self.path} was written by a newer Gardener (schema {version}; this one knows "
                f"{len(MIGRATIONS)}). It was left as it is.",
                next_step="gardener upgrade",
            )
        return version

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Once per database; the setting is kept in the file."""
        deadline = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except LockedError:
                # This statement does not honour the busy timeout when two processes create the file together.
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    def _keep_copy(self, version: int) -> None:
        """Keeps the database as it was, beside it. Called with the write lock held: nobody changes it."""
        copy = f"{self.path}.before-{version}"
        temporary = f"{copy}.{os.getpid()}.tmp"
        reader = connect(self.path, self.busy_timeout_s)
        try:
            os.close(open_private(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC))
            reader.execute("VACUUM INTO ?", (temporary,))
            os.replace(temporary, copy)
            sync_directory(os.path.dirname(copy))
        except OSError as error:
            raise translate_os_error(error, copy) from error
        finally:
            reader.close()
            if os.path.exists(temporary):
                os.unlink(temporary)

    def old_copies(self) -> list[str]:
        """The copies that migrations have kept beside the database."""
        folder, name = os.path.split(self.path)
        return sorted(
            os.path.join(folder, entry) for entry in os.listdir(folder) if entry.startswith(f"{name}.before-")
        )


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite has already rolled back by itself after some errors, such as a full disk.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None when nothing is there, as for a moment in a restore. Opens nothing (see _make_private)."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Held:
    """Lives in a thread's local storage; Python drops it when the thread ends, and the connection with it."""

    __slots__ = ("_forget", "connection", "file")

    def __init__(
        self, connection: StateConnection, forget: Callable[[StateConnection], None], file: tuple[int, int] | None
    ) -> None:
        self.connection = connection
        self.file = file
        self._forget = forget

    def __del__(self) -> None:
        self._forget(self.connection)


_inherited: list[StateConnection] = []
_inherited_holds: list[_Held] = []


def _make_private(path: str) -> None:
    """Creates the file with mode 0600, or tightens it; SQLite gives -wal and -shm the mode of the main file.

    An existing file is never opened here: closing a second descriptor would drop the POSIX locks that SQLite
    holds on it for other connections of this process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    ensure_directory(os.path.dirname(path))
    try:
        try:
            descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.fchmod(descriptor, FILE_MODE)
            os.close(descriptor)
        except FileExistsError:
            if os.stat(path).st_size == 0:
                _refuse_emptied(path)
        for name in (path, *(path + end for end in _SIDE_FILES)):
            try:
                if os.stat(name).st_mode & 0o777 != FILE_MODE:
                    os.chmod(name, FILE_MODE)
            except FileNotFoundError:
                continue
    except OSError as error:
        raise translate_os_error(error, path) from error


def _refuse_emptied(path: str) -> None:
    """An empty file is a new database to SQLite. With project data beside it, it is a lost one."""
    projects = os.path.join(os.path.dirname(path), "projects")
    if os.path.isdir(projects) and os.listdir(projects):
        raise damaged(path, f"it is empty, although {projects} holds data of projects")


def record_event(connection: sqlite3.Connection, kind: str, project_id: str | None, **data: str | int | float) -> None:
    """Adds a line to the audit log, inside the caller's transaction. `kind` is like "project.added".

    The file logs/audit.log gets its line when the transaction is committed. SQLite builds the JSON, so that
    `gardener switch` need not import json.
    """
    now, by = time.time(), actor()
    data = {name: _redacted(value) for name, value in data.items()}
    places = ", ".join("?" for _ in range(2 * len(data)))
    values = [part for pair in data.items() for part in pair]
    connection.execute(
        f"INSERT INTO events (at, kind, project_id, data) VALUES (?, ?, ?, json_object({places}))",
        (now, kind, project_id, *values),
    )
    (line,) = connection.execute(
        "SELECT json_object('time', ?, 'pid', ?, 'event', ?, 'actor', ?, 'project', "
        f"(SELECT name FROM projects WHERE id = ?), 'project_id', ?, 'fields', json_object({places}))",
        (stamp(now), os.getpid(), kind, by, project_id, project_id, *values),
    ).fetchone()
    if isinstance(connection, StateConnection):
        connection.said.append(line)


def _redacted(value: str | int | float) -> str | int | float:
    if not isinstance(value, str):
        return value
    from gardener.secret_patterns import redact_text

    return redact_text(value)
