"""The registered projects. Every change is one transaction of state.db; see trash.py for removal."""

from __future__ import annotations

import os
import sqlite3
import time

from gardener.errors import NameTaken, NoActiveProject, ProjectExists, UsageError
from gardener.locks import ProcessLock
from gardener.paths import DIRECTORY_MODE, ensure_directory, project_lock, translate_os_error
from gardener.projects.names import checked_name, default_name, free_name, name_key, shell_word
from gardener.projects.roots import relation, resolve_root
from gardener.projects.rows import (
    active_id,
    context_of,
    find_registered,
    not_found,
    note_change,
    point_at,
    registered_by_id,
)
from gardener.projects.trash import LOCK_WAIT_S, Trash
from gardener.state import record_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gardener.paths import Paths
    from gardener.project_context import ProjectContext
    from gardener.projects.records import Event, ProjectRecord, PurgeReport
    from gardener.projects.trash import ReleaseVectors
    from gardener.state import State

_SETTABLE = ("backend", "model", "adapter", "trusted")


class Registry:
    """The projects of one home. Opening it finishes whatever a killed command left half done."""

    def __init__(self, state: State, paths: Paths, *, release_vectors: ReleaseVectors | None = None) -> None:
        self._state = state
        self._paths = paths
        self._trash = Trash(state, paths, release_vectors)
        self._trash.recover()

    # ---- Reading -----------------------------------------------------------------------------------------

    def list(self, include_removed: bool = False) -> Sequence[ProjectContext]:
        """The registered projects by name; those in the trash come last, when asked for."""
        condition = "purging = 0" if include_removed else "removed_at IS NULL"
        rows = self._state.read().execute(
            f"SELECT * FROM projects WHERE {condition} ORDER BY removed_at IS NOT NULL, name_key, removed_at"
        )
        return [self._context(row) for row in rows]

    def records(self, include_removed: bool = False) -> Sequence[ProjectRecord]:
        """Like `list`, with times, whether it is active, and whether its folder is still there."""
        from gardener.projects.records import ProjectRecord

        with self._state.snapshot() as connection:
            active = active_id(connection)
            rows = {row["id"]: row for row in connection.execute("SELECT * FROM projects")}
            contexts = self.list(include_removed)
        return [
            ProjectRecord(
                context=context,
                created_at=rows[context.id]["created_at"],
                last_used_at=rows[context.id]["last_used_at"],
                removed_at=rows[context.id]["removed_at"],
                active=context.id == active,
                state=(
                    "removed"
                    if rows[context.id]["removed_at"] is not None
                    else "ok"
                    if os.path.isdir(context.root)
                    else "missing"
                ),
            )
            for context in contexts
        ]

    def get(self, name_or_id: str) -> ProjectContext:
        """By exact name, else by name in another case, else by id. Raises ProjectNotFound with the
        nearest name.
        """
        connection = self._state.read()
        row = find_registered(connection, name_or_id)
        if row is None:
            raise not_found(connection, name_or_id)
        return self._context(row)

    def active(self) -> ProjectContext | None:
        """The active project, or None when there is none (never chosen, or removed since)."""
        row = (
            self._state.read()
            .execute(
                "SELECT projects.* FROM pointers JOIN projects ON projects.id = pointers.value "
                "WHERE pointers.key = 'active' AND projects.removed_at IS NULL"
            )
            .fetchone()
        )
        return None if row is None else self._context(row)

    def previous(self) -> ProjectContext:
        """The project that was active before this one, else the one used last, for `gardener switch -`.

        Raises NoActiveProject when there is no other.
        """
        row = (
            self._state.read()
            .execute(
                "SELECT * FROM projects WHERE removed_at IS NULL "
                "AND id IS NOT (SELECT value FROM pointers WHERE key = 'active') "
                "ORDER BY (SELECT max(events.id) FROM events WHERE events.kind = 'project.switched' "
                "AND events.project_id = projects.id) DESC, last_used_at DESC LIMIT 1"
            )
            .fetchone()
        )
        if row is None:
            raise NoActiveProject("There is no other project to go back to.", next_step="gardener list")
        return self._context(row)

    def containing(self, path: str) -> ProjectContext | None:
        """The innermost registered project whose folder is `path` or around it."""
        place = os.path.realpath(path)
        found = [context for context in self.list() if relation(place, context.root) in ("same", "inside")]
        return max(found, key=lambda context: len(context.root), default=None)

    def events(self, name_or_id: str | None = None, limit: int = 50) -> Sequence[Event]:
        """The newest lines of the audit log, newest first; of one project, when named."""
        import json

        from gardener.projects.records import Event

        project = None if name_or_id is None else self.get(name_or_id).id
        rows = self._state.read().execute(
            "SELECT * FROM events WHERE ?1 IS NULL OR project_id = ?1 ORDER BY id DESC LIMIT ?2",
            (project, limit),
        )
        return [Event(row["at"], row["kind"], row["project_id"], json.loads(row["data"])) for row in rows]

    # ---- Changing ----------------------------------------------------------------------------------------

    def add(self, path: str, name: str | None = None, *, nested: bool = False, force: bool = False) -> ProjectContext:
        """Registers a folder; it becomes the active project when there is none.

        A folder inside a registered project, or around one, is refused unless `nested`: both would index
        the same files. The file system's root and the user's home folder are refused unless `force`. Raises
        PathNotFound, InvalidPath, PermissionProblem, ProjectExists, NameTaken, or UsageError for a name
        that is not allowed.
        """
        root = resolve_root(path, self._paths.home, force=force)
        wanted = default_name(root) if name is None else checked_name(name)
        project_id = os.urandom(6).hex()
        home = self._paths.project_home(project_id)
        ensure_directory(self._paths.projects)
        while True:
            before = self._roots()
            self._refuse_overlap(root, before, "add", nested=nested)
            try:
                with self._state.write() as connection:
                    if self._roots() != before:
                        continue  # another process has added or moved one: compare again, not under the lock
                    self._refuse_taken(connection, wanted, root, f"add {shell_word(root)} --name")
                    _make_folder(home)
                    now = time.time()
                    connection.execute(
                        "INSERT INTO projects (id, name, name_key, root, created_at, last_used_at) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        (project_id, wanted, name_key(wanted), root, now, now),
                    )
                    record_event(connection, "project.added", project_id, name=wanted, root=root)
                    if active_id(connection) is None:
                        point_at(connection, project_id)
                        record_event(connection, "project.switched", project_id)
                return self.get(project_id)
            except BaseException:
                _drop_empty_folder(home)
                raise

    def rename(self, name: str, new: str) -> ProjectContext:
        """Raises ProjectNotFound, NameTaken, or UsageError for a name that is not allowed."""
        wanted = checked_name(new)
        with self._state.write() as connection:
            row = self._registered(connection, name)
            self._refuse_taken(connection, wanted, row["root"], f"rename {shell_word(row['name'])}", but=row["id"])
            connection.execute(
                "UPDATE projects SET name = ?, name_key = ? WHERE id = ?",
                (wanted, name_key(wanted), row["id"]),
            )
            note_change(connection, row["id"])
            record_event(connection, "project.renamed", row["id"], name=wanted, was=row["name"])
        return self.get(row["id"])

    def move(self, name: str, new_path: str, *, nested: bool = False, force: bool = False) -> ProjectContext:
        """Tells that a project's folder is elsewhere now; index and history are kept. Raises what `add`
        raises, and LockedError while another process is updating the project.
        """
        context = self.get(name)
        root = resolve_root(new_path, self._paths.home, force=force)
        lock = ProcessLock(project_lock(ensure_directory(context.home)), "gardener move", subject=repr(context.name))
        lock.acquire(LOCK_WAIT_S)
        with lock:
            while True:
                before = self._roots()
                others = [(other, place) for other, place in before if other != context.id]
                self._refuse_overlap(root, others, f"move {shell_word(context.name)}", nested=nested)
                with self._state.write() as connection:
                    if self._roots() != before:
                        continue
                    row = self._registered(connection, context.id)
                    connection.execute("UPDATE projects SET root = ? WHERE id = ?", (root, context.id))
                    note_change(connection, context.id)
                    record_event(connection, "project.moved", context.id, root=root, was=row["root"])
                return self.get(context.id)

    def configure(self, name: str, **values: str | bool) -> ProjectContext:
        """Sets any of backend, model, adapter (texts) and trusted (a flag) for one project."""
        for key, value in values.items():
            if key not in _SETTABLE or isinstance(value, bool) != (key == "trusted"):
                raise UsageError(f"{key}={value!r} is not a setting of a project.", next_step="gardener show")
        with self._state.write() as connection:
            row = self._registered(connection, name)
            for key, value in values.items():
                connection.execute(f"UPDATE projects SET {key} = ? WHERE id = ?", (value, row["id"]))
                record_event(connection, "project.configured", row["id"], setting=key, value=value)
            note_change(connection, row["id"])
        return self.get(row["id"])

    def touch(self, name_or_id: str) -> None:
        """Notes that the project has just been used."""
        with self._state.write() as connection:
            row = self._registered(connection, name_or_id)
            connection.execute("UPDATE projects SET last_used_at = ? WHERE id = ?", (time.time(), row["id"]))

    def remove(self, name: str) -> ProjectContext:
        """Moves a project to the trash; see Trash.remove."""
        return self._trash.remove(name)

    def restore(self, name: str, *, new_name: str | None = None) -> ProjectContext:
        """Takes a project back out of the trash; see Trash.restore."""
        return self._trash.restore(name, new_name=new_name)

    def purge(self, name: str) -> PurgeReport:
        """Deletes a project for good; see Trash.purge."""
        return self._trash.purge(name)

    def sweep(self, project_id: str) -> bool:
        """Deletes what was written for a project since it was purged; see Trash.sweep."""
        return self._trash.sweep(project_id)

    # ---- Inside ------------------------------------------------------------------------------------------

    def _context(self, row: sqlite3.Row) -> ProjectContext:
        in_trash = row["removed_at"] is not None
        home = self._trash.folder(row["id"]) if in_trash else self._paths.project_home(row["id"])
        return context_of(row, home)

    def _registered(self, connection: sqlite3.Connection, name_or_id: str) -> sqlite3.Row:
        row = registered_by_id(connection, name_or_id) or find_registered(connection, name_or_id)
        if row is None:
            raise not_found(connection, name_or_id)
        return row

    def _roots(self) -> Sequence[tuple[str, str]]:
        rows = self._state.read().execute("SELECT id, root FROM projects WHERE removed_at IS NULL ORDER BY id")
        return [(row["id"], row["root"]) for row in rows]

    def _refuse_overlap(self, root: str, others: Sequence[tuple[str, str]], command: str, *, nested: bool) -> None:
        for project_id, other in others:
            found = relation(root, other)
            if not found or (nested and found != "same"):
                continue
            name = self.get(project_id).name
            if found == "same":
                raise ProjectExists(
                    f"{root} is registered already, as the project {name!r}.",
                    next_step=f"gardener switch {shell_word(name)}",
                )
            place = "inside the project" if found == "inside" else "around the project"
            raise ProjectExists(
                f"{root} is {place} {name!r} ({other}), so both would index the same files.",
                next_step=f"gardener {command} {shell_word(root)} --nested",
            )

    def _refuse_taken(
        self, connection: sqlite3.Connection, wanted: str, root: str, command: str, *, but: str = ""
    ) -> None:
        taken = {
            row["name_key"]: row
            for row in connection.execute("SELECT * FROM projects WHERE removed_at IS NULL AND id != ?", (but,))
        }
        holder = taken.get(name_key(wanted))
        if holder is None:
            return
        suggestion = shell_word(free_name(wanted, root, taken))
        raise NameTaken(
            f"The name {wanted!r} is taken by the project at {holder['root']}.",
            next_step=f"gardener {command} {suggestion}",
        )


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, DIRECTORY_MODE)
        os.chmod(path, DIRECTORY_MODE)  # whatever the umask
    except OSError as error:
        raise translate_os_error(error, path) from error


def _drop_empty_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
