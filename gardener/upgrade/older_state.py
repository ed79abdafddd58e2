"""The state of an older version: which schema the live one has, and a backup put in its place."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from gardener.backup.restore import Restored, restore_home
from gardener.backup.store import Store
from gardener.paths import Paths
from gardener.upgrade.carry import Carried, carry_over


def restore_older(paths: Paths, store: Store, backup: str) -> tuple[Restored, Carried]:
    """Puts the state of a backup in the place of a newer one that this version cannot read, with what was made since.

    The newer state is kept aside. Raises as `restore_home`.
    """
    carried: list[Carried] = []
    done = restore_home(paths, store, backup, amend=lambda staged: carried.append(carry_over(paths, staged)))
    return done, carried[0]


def schema_of(state_db: str) -> int:
    """The schema version of a state.db of any version; 0 when there is none."""
    if not os.path.exists(state_db):
        return 0
    with closing(sqlite3.connect(f"file:{state_db}?mode=ro", uri=True, timeout=10)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])
