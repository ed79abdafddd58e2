"""The facts of an index at a glance, for commands that must not pay for more: switch, list, status, doctor."""

from __future__ import annotations

import os
import sqlite3

from gardener.errors import DiskFull, IndexDamaged
from gardener.sqlite_full_disk import connect_even_when_full, is_full


def summary(directory: str) -> dict[str, str]:
    """The facts of an index without creating anything: for `switch`, `list` and `status`. Empty when not indexed.

    Raises IndexDamaged when the manifest is there and cannot be read.
    """
    path = os.path.join(directory, "manifest.db")
    if not os.path.exists(path):
        return {}
    try:
        database, _ = connect_even_when_full(lambda uri: sqlite3.connect(uri, uri=True, timeout=5), path)
        try:
            database.execute("PRAGMA query_only = ON")
            return dict(database.execute("SELECT key, value FROM facts").fetchall())
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            return {}  # made and not filled: the disk was full, or it was killed
        if is_disk_full(error, path):
            raise DiskFull(
                f"The disk is full: SQLite has no room to read {path}.", next_step=f'df -h "{directory}"'
            ) from error
        raise IndexDamaged(
            f"The index manifest {path} cannot be read: {error}.", next_step="gardener index --rebuild"
        ) from error


def is_disk_full(error: sqlite3.DatabaseError, path: str) -> bool:
    """Whether SQLite failed for want of space: it says so, or it says "disk I/O error" on a disk that is full."""
    if "disk is full" in str(error):
        return True
    return is_full(path) and any(sign in str(error) for sign in ("disk I/O error", "unable to open", "readonly"))
