"""Connections to `state.db` whose errors are Gardener's own.

This is the only place where sqlite3's errors are translated: who uses such a connection meets LockedError,
DiskFull, PermissionProblem or StateDamaged, and of sqlite3's own only IntegrityError (a constraint) and those
that are our mistakes (ProgrammingError, a misspelt statement).
"""

from __future__ import annotations

import os
import sqlite3

from gardener.errors import DiskFull, LockedError, PermissionProblem, StateDamaged
from gardener.sqlite_full_disk import connect_even_when_full, is_full

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Primary result codes, https://www.sqlite.org/rescode.html
_PERM, _BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 3, 5, 6, 8, 10, 11, 13, 14, 26
# Extended codes of SQLITE_IOERR for reading; all its others are about writing.
_IOERR_READ, _IOERR_SHORT_READ, _IOERR_CORRUPTFS = 266, 522, 8458


class _TranslatingCursor(sqlite3.Cursor):
    """A cursor whose errors are Gardener's."""

    def execute(self, sql: str, parameters: Any = (), /) -> _TranslatingCursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _TranslatingCursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        try:
            return super().fetchmany(size)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> Exception:
        connection = self.connection
        return translate_sqlite_error(error, connection.path) if isinstance(connection, StateConnection) else error


class StateConnection(sqlite3.Connection):
    """A connection that knows its file, and whose cursors translate errors."""

    path = ""
    makeshift = False
    """Opened for reading on a full disk; see sqlite_full_disk."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.said: list[str] = []
        """Lines for logs/audit.log about the transaction under way; see gardener.state."""

    def cursor(self, factory: Any = _TranslatingCursor) -> Any:
        return super().cursor(factory)

    # sqlite3's own shortcuts would make a plain cursor.
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor().execute(sql, parameters)
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self.cursor().executemany(sql, parameters)
        return cursor


def connect(path: str, busy_timeout_s: float) -> StateConnection:
    connection, makeshift = connect_even_when_full(lambda uri: _open(uri, path, busy_timeout_s), path)
    connection.makeshift = makeshift
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _open(uri: str, path: str, busy_timeout_s: float) -> StateConnection:
    try:
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,  # close() closes the connections of the other threads
            factory=StateConnection,
        )
    except sqlite3.Error as error:
        raise translate_sqlite_error(error, path) from error
    connection.path = path
    connection.row_factory = sqlite3.Row
    return connection


def damaged(path: str, why: str) -> StateDamaged:
    # A backup is what helps, and the runbook says it in order: copy, restore, and what to do without a backup.
    return StateDamaged(
        f"{path} is damaged: {why}. Gardener neither deletes nor changes it; a backup brings back what was in it.",
        next_step="gardener runbook state-damaged",
    )


def translate_sqlite_error(error: sqlite3.Error, path: str) -> Exception:
    """What a user should see for an error of SQLite about `path`; the same error when it is our mistake."""
    extended = getattr(error, "sqlite_errorcode", 0)
    primary = extended & 0xFF
    if primary in (_BUSY, _LOCKED):
        return LockedError(
            f"{path} is busy: another Gardener process keeps writing to it. Nothing was changed.",
            next_step="gardener status",
        )
    if primary in (_CORRUPT, _NOTADB) or extended in (_IOERR_READ, _IOERR_SHORT_READ, _IOERR_CORRUPTFS):
        return damaged(path, str(error))
    if primary in (_FULL, _IOERR) or (primary in (_READONLY, _CANTOPEN) and is_full(path)):
        return DiskFull(
            f"{path} could not be written ({error}): the disk is full, over its quota, or failing. What was "
            "stored before is whole.",
            next_step=f'df -h "{os.path.dirname(path)}"',
        )
    if primary in (_PERM, _READONLY, _CANTOPEN):
        return PermissionProblem(
            f"{path} could not be opened for writing ({error}).",
            next_step=f'ls -la "{os.path.dirname(path)}"',
        )
    return error
