"""Repairs of state.db: its rows in a new file when all can be read, else the newest good backup, else what is left.

The damaged file is moved aside, never changed. The moves are those of a restore (gardener.backup.swap): written down
first, finished by whoever comes next.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from gardener.errors import StateDamaged
from gardener.paths import ensure_directory
from gardener.repair.plan import NotHere, Plan
from gardener.sizes import counted
from gardener.state import State
from gardener.state_schema import MIGRATIONS

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.backup.store import Entry
    from gardener.health.check import Finding
    from gardener.paths import Paths
    from gardener.repair.plan import Aside

_HARMLESS = re.compile(
    r"ok|\*\*\* in database main \*\*\*|row \d+ missing from index \w+|wrong # of entries in index \w+|"
    r"non-unique entry in index \w+|Page \d+(:| is) never used|Freelist: .*|"
    r"Page \d+: btreeInitPage.*"  # of a table or not: reading the tables tells
)
_TREE = re.compile(r"(?:Tree|On tree page) (\d+)\b.*")
"""What PRAGMA integrity_check says (https://www.sqlite.org/pragma.html): the first when the rows themselves are whole,
the second with the first page of the table or index that is damaged."""
_SIDES = ("", "-wal", "-shm")


class Rows(NamedTuple):
    """What can be read of a damaged database."""

    rows: int
    whole: bool
    """Nothing is missing: what is damaged can be made from the rows."""
    schema: int


def state(gardener: Gardener, finding: Finding) -> Plan | NotHere:
    paths = gardener.paths
    found = readable(paths.state_db)
    usable = found.rows > 0 and found.schema == len(MIGRATIONS)
    if found.whole and usable:
        return Plan(
            f"Write all of its {counted(found.rows, 'row')} into a new state.db; no row is damaged.",
            "The damaged state.db is moved aside as it is.",
            _rebuild,
        )
    backup = _newest_backup(gardener)
    rows = f"{counted(found.rows, 'row')} of the damaged one can still be read"
    if backup is not None and backup.manifest is not None:
        hours = max(0.0, time.time() - backup.manifest.created_at) / 3600
        return Plan(
            f"Restore backup {backup.id}, {hours:,.0f} hours old, tried before it takes its place: projects, settings "
            f"and conversations are then as they were. {rows}.",
            "Everything that is replaced is kept: gardener backup restore --undo",
            lambda gardener, _: _restore(gardener, backup.id),
        )
    if usable:
        return Plan(
            f"Write what can be read, {counted(found.rows, 'row')}, into a new state.db. Others are lost; "
            "there is no good backup.",
            "The damaged state.db is moved aside as it is.",
            _rebuild,
        )
    return Plan(
        "Begin a new state.db: nothing of this one can be read, and there is no good backup. Projects have to be added "
        "again; their vectors are used again.",
        "The damaged state.db is moved aside as it is.",
        _begin_anew,
    )


def _newest_backup(gardener: Gardener) -> Entry | None:
    from gardener.backup_service import BackupService
    from gardener.errors import BackupNotFound

    try:
        return BackupService(gardener).store.find()
    except BackupNotFound:
        return None


def _restore(gardener: Gardener, backup: str) -> list[str]:
    from gardener.backup_service import BackupService

    done = BackupService(gardener).restore(backup)
    return [f"backup {done.id} is in place; what was there before is in {done.old}"]


# ---- reading what is damaged -------------------------------------------------------------------------


def readable(path: str) -> Rows:
    """Reads every row and changes nothing."""
    try:
        with closing(_open(path)) as database:
            schema = int(database.execute("PRAGMA user_version").fetchone()[0])
            count, whole = 0, _only_what_can_be_made_again(database)
            for table in _tables(database):
                read = _Reading(database, table)
                count += sum(1 for _ in read.rows())
                whole = whole and not read.broken
            return Rows(count, whole, schema)
    except sqlite3.DatabaseError:
        return Rows(0, False, 0)


def _only_what_can_be_made_again(database: sqlite3.Connection) -> bool:
    """Whether the damage is in indexes and in what full-text search keeps, which are made of the rows."""
    own = set(_tables(database))
    made = {root for root, name in database.execute("SELECT rootpage, name FROM sqlite_master") if name not in own}
    try:
        said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(1000)")]
    except sqlite3.DatabaseError:
        return True  # the first page of something is not one, so SQLite checks nothing: reading the tables has to tell
    for line in "\n".join(said).splitlines():
        tree = _TREE.fullmatch(line)
        if not (_HARMLESS.fullmatch(line) or (tree and int(tree.group(1)) in made)):
            return False
    return True


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5)
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    return database


def _tables(database: sqlite3.Connection) -> list[str]:
    """Those with rows of their own: what full-text search keeps is made of them."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
    virtual = [name for name, sql in rows if str(sql).upper().startswith("CREATE VIRTUAL")]
    return [
        name
        for name, _ in rows
        if not name.startswith("sqlite_")
        and name not in virtual
        and not any(name.startswith(f"{one}_") for one in virtual)
    ]


class _Reading:
    """Rows of a table from its beginning, and from its end when something in the middle cannot be read."""

    def __init__(self, database: sqlite3.Connection, table: str) -> None:
        self.broken = False
        self._database = database
        self._table = table
        self.columns: list[str] = []

    def rows(self) -> Iterator[tuple[object, ...]]:
        last = None
        try:
            cursor = self._database.execute(f'SELECT rowid, * FROM "{self._table}" NOT INDEXED ORDER BY rowid')
            self.columns = [column[0] for column in cursor.description[1:]]
            for row in cursor:
                if last is not None and row[0] <= last:
                    self.broken = True  # a page of elsewhere, or of another time
                last = row[0] if last is None else max(last, row[0])
                yield row[1:]
        except sqlite3.DatabaseError:
            self.broken = True
        if not self.broken:
            return
        with suppress(sqlite3.DatabaseError):  # as far as it goes from the other side
            for row in self._database.execute(f'SELECT rowid, * FROM "{self._table}" NOT INDEXED ORDER BY rowid DESC'):
                if last is not None and row[0] <= last:
                    return
                yield row[1:]


# ---- a new file --------------------------------------------------------------------------------------


def _rebuild(gardener: Gardener, aside: Aside) -> list[str]:
    gardener.close()
    with _replacing(gardener.paths, aside) as staged:
        target = os.path.join(staged, "state.db")
        copied = _copy_rows(gardener.paths.state_db, target)
        with State(target) as made:
            if problems := made.check():
                raise StateDamaged(
                    f"What could be read of {gardener.paths.state_db} makes no whole database: {problems[0]}. Nothing "
                    "was changed.",
                    next_step="gardener backup list",
                )
    return [f"{counted(copied, 'row')} are in a new state.db; the damaged one is in {aside.path}"]


def _begin_anew(gardener: Gardener, aside: Aside) -> list[str]:
    gardener.close()
    with _replacing(gardener.paths, aside) as staged:
        State(os.path.join(staged, "state.db")).close()
    return [f"a new state.db is begun; the damaged one is in {aside.path}"]


@contextmanager
def _replacing(paths: Paths, aside: Aside) -> Iterator[str]:
    """A folder for the new state.db, which takes the place of the old one when the block ends well."""
    import shutil

    from gardener.backup import swap
    from gardener.backup.restore import exclusive

    with exclusive(paths):
        staged = ensure_directory(os.path.join(paths.home, f"{swap.STAGED}repair"))
        try:
            yield staged
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        kept = os.path.relpath(aside.folder(), paths.home)
        there = [f"state.db{end}" for end in _SIDES if os.path.exists(paths.state_db + end)]
        moves = [(name, f"{kept}/{name}") for name in there]
        swap.carry_out(paths, [*moves, (f"{swap.STAGED}repair/state.db", "state.db")], staged)


def _copy_rows(source: str, target: str) -> int:
    """Into a database of the same schema. Rows that refer to lost ones are left out. Returns how many there are."""
    State(target).close()
    with closing(_open(source)) as damaged, closing(sqlite3.connect(target, isolation_level=None)) as new:
        new.execute("PRAGMA foreign_keys = OFF")
        new.execute("BEGIN IMMEDIATE")
        known = set(_tables(new))
        for table in _tables(damaged):
            if table in known:
                _copy_table(_Reading(damaged, table), table, new)
        while orphaned := new.execute("PRAGMA foreign_key_check").fetchall():
            new.executemany(
                f'DELETE FROM "{orphaned[0][0]}" WHERE rowid = ?',
                [(row[1],) for row in orphaned if row[0] == orphaned[0][0]],
            )
        count = sum(int(new.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]) for table in known)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def _copy_table(reading: _Reading, table: str, new: sqlite3.Connection) -> None:
    statement = ""
    for row in reading.rows():
        if not statement:
            columns = ", ".join(f'"{name}"' for name in reading.columns)
            statement = f'INSERT OR REPLACE INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(reading.columns))})'
        with suppress(sqlite3.IntegrityError):  # a row that breaks a rule is damaged itself
            new.execute(statement, row)
