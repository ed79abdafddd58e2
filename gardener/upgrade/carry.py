"""Carries what was made with a newer version over into the state that an older one can read.

The older state comes from the backup made right before the upgrade, so what both have grew from the same rows.
Each table that both know is made to hold, in the columns that both know, what the newer one holds: rows are added,
changed and deleted by primary key. What only the newer version knows stays in the newer state, which is kept aside,
and is named. Of the projects' folders, files that are not there yet are copied; indexes are updated by themselves.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import NamedTuple

from gardener.errors import GardenerError
from gardener.paths import Paths, ensure_directory, index_directory, write_private

_DERIVED = ("index", "prompt-cache", "evaluation")
"""Folders of a project that are made again."""
_SIDE_FILES = ("-wal", "-shm", "-journal", ".lock", ".tmp")


class Carried(NamedTuple):
    """`rows` counts what was added, changed or deleted, by table; `files` what was copied; `left` says what was not."""

    rows: dict[str, int]
    files: int
    left: list[str]


def carry_over(newer: Paths, staged: str) -> Carried:
    """Brings the home in the folder `staged` up to what the live one at `newer` holds. Nobody may write to either."""
    older = Paths(staged)
    rows, left = carry_rows(newer.state_db, older.state_db)
    files, left_files = _carry_files(newer, older)
    left += left_files + _carry_settings(newer, older)
    return Carried(
        rows,
        files,
        left + [f"the index of {name}, which is made anew by `gardener index`" for name in _unindexed(newer, older)],
    )


def _unindexed(newer: Paths, older: Paths) -> list[str]:
    """Projects that were indexed since the backup for the first time."""
    with closing(sqlite3.connect(older.state_db)) as database:
        rows = database.execute("SELECT id, name FROM projects WHERE removed_at IS NULL ORDER BY name").fetchall()
    return [
        name
        for project, name in rows
        if os.path.isdir(index_directory(newer.project_home(project)))
        and not os.path.isdir(index_directory(older.project_home(project)))
    ]


def carry_rows(newer_db: str, older_db: str) -> tuple[dict[str, int], list[str]]:
    """Makes the older database hold what the newer one does, as far as it can. One transaction."""
    counts: dict[str, int] = {}
    left: list[str] = []
    with closing(sqlite3.connect(older_db, isolation_level=None)) as database:
        database.execute("ATTACH ? AS newer", (newer_db,))
        database.execute("PRAGMA main.secure_delete = ON")  # what was deleted since must not stay in free pages
        # Off, so that nothing cascades while tables are brought up to date one after the other; checked at the end.
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("BEGIN IMMEDIATE")
        try:
            ours, theirs = _tables(database, "main"), _tables(database, "newer")
            for table in theirs:
                if table not in ours and _count(database, f"newer.{_quoted(table)}"):
                    left.append(f"the table {table}, which this version does not know")
            for table in (name for name in ours if name in theirs):
                changed, problems = _carry_table(database, table)
                left += problems
                if changed:
                    counts[table] = changed
            while broken := database.execute("PRAGMA main.foreign_key_check").fetchall():
                for name, row, parent, _ in broken:
                    database.execute(f"DELETE FROM main.{_quoted(name)} WHERE rowid = ?", (row,))
                    left.append(f"row {row} of {name}, which refers to a missing row of {parent}")
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
    return counts, left


def _carry_table(database: sqlite3.Connection, table: str) -> tuple[int, list[str]]:
    ours, theirs = (_columns(database, schema, table) for schema in ("main", "newer"))
    key = [name for name, (_, position) in ours.items() if position]
    common = [name for name in ours if name in theirs]
    name, left = _quoted(table), []
    for column in theirs:
        if column not in ours and _is_filled(database, table, column, theirs[column][0]):
            left.append(f"the column {column} of {table}, which this version does not know")
    if not key or not set(key) <= set(common):
        return 0, [*left, f"the table {table}, whose rows cannot be told apart"]
    same = " AND ".join(f"o.{_quoted(part)} IS n.{_quoted(part)}" for part in key)
    changed = database.execute(
        f"DELETE FROM main.{name} AS o WHERE NOT EXISTS (SELECT 1 FROM newer.{name} n WHERE {same})"
    ).rowcount
    listed = ", ".join(map(_quoted, common))
    rows = database.execute(f"SELECT {listed} FROM newer.{name} EXCEPT SELECT {listed} FROM main.{name}").fetchall()
    updates = ", ".join(f"{_quoted(part)} = excluded.{_quoted(part)}" for part in common if part not in key)
    places = ", ".join("?" for _ in common)
    conflict = f"ON CONFLICT ({', '.join(map(_quoted, key))}) DO " + (f"UPDATE SET {updates}" if updates else "NOTHING")
    insert = f"INSERT INTO main.{name} ({listed}) VALUES ({places}) {conflict}"
    while rows and len(waiting := [row for row in rows if not _done(database, insert, row)]) < len(rows):
        changed += len(rows) - len(waiting)  # again, as one may have a name that another one still had to give up
        rows = waiting
    given = " AND ".join(f"{_quoted(part)} IS ?" for part in key)
    for row in rows:  # two that exchange their names
        database.execute(f"DELETE FROM main.{name} WHERE {given}", [row[common.index(part)] for part in key])
    for row in rows:
        try:
            database.execute(insert, row)
            changed += 1
        except sqlite3.IntegrityError as error:
            left.append(f"row {row[common.index(key[0])]!r} of {table}: {error}")
    return changed, left


def _done(database: sqlite3.Connection, statement: str, row: tuple[object, ...]) -> bool:
    try:
        database.execute(statement, row)
    except sqlite3.IntegrityError:
        return False
    return True


def _tables(database: sqlite3.Connection, schema: str) -> list[str]:
    """The tables with rows of their own; indexes of words follow from them by triggers."""
    return [
        name
        for name, definition in database.execute(
            f"SELECT name, sql FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        if not str(definition).upper().startswith("CREATE VIRTUAL") and not _is_shadow(database, schema, name)
    ]


def _is_shadow(database: sqlite3.Connection, schema: str, name: str) -> bool:
    virtual = database.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    return any(name.startswith(f"{one}_") for (one,) in virtual)


def _columns(database: sqlite3.Connection, schema: str, table: str) -> dict[str, tuple[str | None, int]]:
    """Name to (default as SQL, position in the primary key from 1 or 0)."""
    return {row[1]: (row[4], row[5]) for row in database.execute(f"PRAGMA {schema}.table_info({_quoted(table)})")}


def _is_filled(database: sqlite3.Connection, table: str, column: str, default: str | None) -> bool:
    """Whether a column holds anything besides its default."""
    name = _quoted(column)
    query = (
        f"SELECT 1 FROM newer.{_quoted(table)} WHERE {name} IS NOT NULL AND {name} IS NOT ({default or 'NULL'}) LIMIT 1"
    )
    return database.execute(query).fetchone() is not None


def _count(database: sqlite3.Connection, table: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _carry_files(newer: Paths, older: Paths) -> tuple[int, list[str]]:
    """Files of projects that the older home lacks, or that grew since. The others are told."""
    copied, left = 0, []
    _follow_the_trash(newer, older)
    for place in ("projects", "trash"):
        top = os.path.join(newer.home, place)
        for folder, folders, names in os.walk(top):
            if os.path.dirname(folder) == top:
                folders[:] = [name for name in folders if name not in _DERIVED]
            for name in names:
                source = os.path.join(folder, name)
                if name == "lock" or name.endswith(_SIDE_FILES) or os.path.islink(source):
                    continue
                relative = os.path.relpath(source, newer.home)
                target = os.path.join(older.home, relative)
                if not os.path.exists(target) or _begins_with(source, target):
                    if not os.path.exists(target) or os.path.getsize(source) != os.path.getsize(target):
                        ensure_directory(os.path.dirname(target))
                        shutil.copy2(source, target)
                        copied += 1
                else:
                    left.append(f"the changes to {relative}")
    return copied, left


def _follow_the_trash(newer: Paths, older: Paths) -> None:
    """Folders of projects that went into the trash, came out of it, or were deleted for good."""
    for place, other in (("projects", "trash"), ("trash", "projects")):
        folder = os.path.join(older.home, place)
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if os.path.lexists(os.path.join(newer.home, place, name)):
                continue
            if os.path.isdir(os.path.join(newer.home, other, name)):
                ensure_directory(os.path.join(older.home, other))
                os.rename(os.path.join(folder, name), os.path.join(older.home, other, name))
            else:
                shutil.rmtree(os.path.join(folder, name))


def _begins_with(longer: str, shorter: str) -> bool:
    """Whether a file only grew: the other is its beginning."""
    with open(longer, "rb") as one, open(shorter, "rb") as other:
        while block := other.read(1 << 20):
            if one.read(len(block)) != block:
                return False
    return True


def _carry_settings(newer: Paths, older: Paths) -> list[str]:
    """The settings file as it is now, if this version understands it."""
    from gardener.settings_file import UnusableFile, check_file, read_toml

    try:
        with open(newer.config, "rb") as handle:
            data = handle.read()
    except FileNotFoundError:
        if os.path.exists(older.config):
            os.unlink(older.config)
        return []
    try:
        file = read_toml(newer.config, follow_links=True)
        understood = file is not None and not check_file(file)[1]
    except (UnusableFile, GardenerError):
        understood = False
    if not understood:
        return ["the settings file, which this version does not understand as it is now; the one from before is back"]
    write_private(older.config, data)
    return []
