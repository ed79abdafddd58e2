"""The facts of an index at a glance, for commands that must not pay for more: switch, list, status, doctor."""

from __future__ import annotations

import os
import sqlite3

from gardener.errors import IndexDamaged


def summary(directory: str) -> dict[str, str]:
    """The facts of an index without creating anything: for `switch`, `list` and `status`. Empty when not indexed.

    Raises IndexDamaged when the manifest is there and cannot be read.
    """
    path = os.path.join(directory, "manifest.db")
    if not os.path.exists(path):
        return {}
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return dict(database.execute("SELECT key, value FROM facts").fetchall())
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        raise IndexDamaged(
            f"The index manifest {path} cannot be read: {error}.", next_step="gardener index --rebuild"
        ) from error
