"""Reading SQLite files on a disk that has not a byte left.

A database with a write-ahead log needs 32 kB for its shared index even to be read, unless another process has it open
already. When there is no room for that, it is opened as a file that nobody changes: true while its log is empty, as
nobody can write anything either. With something in the log (a process was killed) it is opened by this process alone,
which then keeps that index in memory (https://sqlite.org/wal.html#use_of_wal_without_shared_memory).
"""

from __future__ import annotations

import os
import sqlite3

from gardener.errors import DiskFull, PermissionProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Connection = TypeVar("Connection", bound=sqlite3.Connection)

ROOM = 1_000_000
"""Bytes below which a disk counts as full."""


def is_full(path: str) -> bool:
    """Whether the disk of a file has next to no room left. False when its folder cannot be looked at."""
    try:
        space = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < ROOM


def connect_even_when_full(connect: Callable[[str], Connection], path: str) -> tuple[Connection, bool]:
    """A connection that can read, and whether it is a makeshift one, to be replaced once there is room again.

    `connect` opens a file: URI. Raises what it and the first read raise when the disk is not the reason.
    """
    connection = connect(_uri(path))
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        return connection, False
    except (sqlite3.OperationalError, DiskFull, PermissionProblem):
        connection.close()
        if not is_full(path):
            raise
    log = f"{path}-wal"
    if os.path.exists(log) and os.path.getsize(log):
        connection = connect(_uri(path))
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    else:
        connection = connect(_uri(path) + "?immutable=1")
    return connection, True


def _uri(path: str) -> str:
    """SQLite's form of a path; its own three special characters are escaped."""
    return "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
