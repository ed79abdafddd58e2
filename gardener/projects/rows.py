"""SQL about the `projects` and `pointers` tables that the registry, the trash and the switch share."""

from __future__ import annotations

import sqlite3
import time

from gardener.errors import ProjectNotFound
from gardener.project_context import ProjectContext
from gardener.projects.names import name_key, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def context_of(row: sqlite3.Row, home: str) -> ProjectContext:
    return ProjectContext(
        id=row["id"],
        name=row["name"],
        root=row["root"],
        home=home,
        backend=row["backend"],
        model=row["model"],
        adapter=row["adapter"],
        trusted=bool(row["trusted"]),
    )


def find_registered(connection: sqlite3.Connection, name_or_id: str) -> sqlite3.Row | None:
    """The registered project with that exact name, else that name in another case, else that id."""
    rows: Sequence[sqlite3.Row] = connection.execute(
        "SELECT * FROM projects WHERE removed_at IS NULL AND (name_key = ? OR id = ?) ORDER BY name = ? DESC, id = ?",
        (name_key(name_or_id), name_or_id, name_or_id, name_or_id),
    ).fetchall()
    return rows[0] if rows else None


def registered_by_id(connection: sqlite3.Connection, project_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM projects WHERE removed_at IS NULL AND id = ?", (project_id,)
    ).fetchone()
    return row


def find_in_trash(connection: sqlite3.Connection, name_or_id: str) -> sqlite3.Row | None:
    """The removed project with that name or id; of several with one name, the one removed last."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM projects WHERE removed_at IS NOT NULL AND purging = 0 AND (name_key = ? OR id = ?) "
        "ORDER BY id = ? DESC, removed_at DESC LIMIT 1",
        (name_key(name_or_id), name_or_id, name_or_id),
    ).fetchone()
    return row


def not_found(connection: sqlite3.Connection, name: str, *, in_trash: bool = False) -> ProjectNotFound:
    """The error for a project that does not exist, with the nearest name that does."""
    import difflib

    condition = "removed_at IS NOT NULL AND purging = 0" if in_trash else "removed_at IS NULL"
    names = {
        str(row["name_key"]): str(row["name"])
        for row in connection.execute(f"SELECT name, name_key FROM projects WHERE {condition}")
    }
    near = difflib.get_close_matches(name_key(name), names, n=1)
    where = "in the trash" if in_trash else "registered"
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    if not in_trash and not near and find_in_trash(connection, name) is not None:
        return ProjectNotFound(
            f"The project {name!r} is in the trash.", next_step=f"gardener restore {shell_word(name)}"
        )
    return ProjectNotFound(
        f"No project {name!r} is {where}.{hint}",
        next_step="gardener list --removed" if in_trash else "gardener list",
    )


def point_at(connection: sqlite3.Connection, project_id: str | None) -> None:
    """Makes a project the active one (or none), inside the caller's transaction; the generation grows."""
    connection.execute(
        "INSERT INTO pointers (key, value, generation, updated_at) VALUES ('active', ?, 1, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value, generation = generation + 1, "
        "updated_at = excluded.updated_at",
        (project_id, time.time()),
    )


def active_id(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM pointers WHERE key = 'active'").fetchone()
    return None if row is None or row[0] is None else str(row[0])


def note_change(connection: sqlite3.Connection, project_id: str) -> None:
    """Tells those who poll the generation that the active project's own entry has changed."""
    connection.execute(
        "UPDATE pointers SET generation = generation + 1 WHERE key = 'active' AND value = ?", (project_id,)
    )
