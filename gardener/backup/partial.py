"""Restores one project, or one conversation, into a home that goes on with the rest.

What is replaced is saved first, as a backup of that project. Conversations are only ever added to: one that is there
and was continued since stays as it is, unless it is the one that was asked for. The order is: verified and tried in a
scratch folder; rows, in one transaction; the project's folder, by renames that are finished after a kill (swap.py). A
kill between the last two leaves the old folder with the restored conversations; restoring again completes it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from contextlib import ExitStack, closing
from typing import NamedTuple

from gardener.backup import swap
from gardener.backup.manifest import CONTENT, Manifest, ProjectEntry
from gardener.backup.restore import checked
from gardener.backup.snapshot import create_locked
from gardener.backup.store import Entry, Store
from gardener.backup.verify import Trial, stage, try_home
from gardener.errors import BackupDamaged, BackupNotFound, ConflictError, ConversationNotFound, ProjectNotFound
from gardener.locks import ProcessLock
from gardener.paths import Paths, embed_lock, ensure_directory, project_lock, translate_os_error
from gardener.state import State, record_event

_LOCK_WAIT_S = 5.0
BEFORE_RESTORE = "before restore"
"""The note of a backup of what a restore replaced. Only who names it gets it."""


class RestoredPart(NamedTuple):
    """`saved` is the id of the backup of what was there before; "" when nothing was."""

    id: str
    project: str
    conversations: int
    saved: str
    trial: Trial | None

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id, "project": self.project, "conversations": self.conversations, "saved": self.saved,
            **(self.trial.as_json() if self.trial else {}),
        }  # fmt: skip


def find_project(store: Store, wanted: str, project: str) -> tuple[Entry, ProjectEntry]:
    """The backup `wanted`, or the newest good one that has the project, and its entry there.

    `project` is a name or an id. Raises BackupNotFound or ProjectNotFound.
    """
    entries = [store.find(wanted)] if wanted else _candidates(store)
    for entry in entries:
        for found in entry.manifest.projects if entry.manifest else ():
            if project in (found.id, found.name):
                return entry, found
    if wanted:
        raise ProjectNotFound(
            f"Backup {wanted} has no project {project!r}.", next_step=f"gardener backup show {wanted}"
        )
    raise BackupNotFound(f"No good backup has a project {project!r}.", next_step="gardener backup list")


def restore_project(
    paths: Paths, store: Store, state: State, project: str, wanted: str = "", *, root: str = "", remote: bool = False
) -> RestoredPart:
    """Puts one project back: its registration, its data and the conversations that are missing.

    `root` is where its code lies now, absolute, if not where it was. Raises BackupNotFound, ProjectNotFound,
    BackupDamaged, SchemaTooNew, LockedError, DiskFull, or ConflictError when its name or folder is another project's or
    it lies in the trash.
    """
    with store.lock("gardener backup restore"), ExitStack() as held:
        entry, described = find_project(store, wanted, project)
        found = _only(checked(store, entry), described)
        home = paths.project_home(described.id)
        row = state.read().execute("SELECT removed_at FROM projects WHERE id = ?", (described.id,)).fetchone()
        if row is not None and row["removed_at"] is not None:
            raise ConflictError(
                f"{described.name} is in the trash. Take it out, or purge it, and restore it then.",
                next_step=f"gardener restore {described.id}",
            )
        _hold(held, swap.lock(paths))
        swap.remove_unfinished(paths)
        if os.path.isdir(home):
            for path in (project_lock(home), embed_lock(home), os.path.join(home, "train.lock")):
                _hold(held, ProcessLock(path, "gardener backup restore", subject=repr(described.name)))
        staged, tried = _staged(paths, entry, found)
        try:
            saved = (
                create_locked(paths, store, project=described.id, remote_index=remote, note=BEFORE_RESTORE, alone=True)
                if row is not None
                else None
            )
            added = _add_rows(state, os.path.join(staged, "state.db"), described.id, found.id, root=root)
            place = "trash" if described.removed else "projects"
            ensure_directory(paths.projects)
            # Without a folder in the backup (never indexed, nothing trained) there is none to put in its place.
            ensure_directory(os.path.join(staged, place, described.id))
            name = os.path.basename(staged)
            moves = [
                (f"projects/{described.id}", f"{name}/replaced"),
                (f"{name}/{place}/{described.id}", f"projects/{described.id}"),
            ]
            swap.carry_out(paths, moves, staged)
        finally:
            if not os.path.exists(os.path.join(paths.home, swap.JOURNAL)):
                shutil.rmtree(staged, ignore_errors=True)
    return RestoredPart(found.id, described.name, added, saved.manifest.id if saved else "", tried)


def restore_conversation(
    paths: Paths, store: Store, state: State, conversation: str, wanted: str = "", *, remote: bool = False
) -> RestoredPart:
    """Puts one conversation back as the backup has it, in place of what has become of it since.

    `conversation` is its id. Without `wanted` the newest good backup that has it. Raises ConversationNotFound,
    ProjectNotFound when its project is not registered here, and as `restore_project`.
    """
    with store.lock("gardener backup restore"), ExitStack() as held:
        _hold(held, swap.lock(paths))
        swap.remove_unfinished(paths)
        for entry in [store.find(wanted)] if wanted else _candidates(store):
            found = checked(store, entry)
            staged, _ = _staged(paths, entry, _state_only(found))
            try:
                with closing(_open(os.path.join(staged, "state.db"))) as rows:
                    row = rows.execute("SELECT project_id FROM conversations WHERE id = ?", (conversation,)).fetchone()
                if row is None:
                    continue
                known = state.read().execute("SELECT name FROM projects WHERE id = ?", (row["project_id"],)).fetchone()
                if known is None:
                    raise ProjectNotFound(
                        "The conversation is of a project that is not registered here; restore that first.",
                        next_step=f"gardener backup restore {found.id} --project {row['project_id']}",
                    )
                saved = create_locked(paths, store, project=row["project_id"], remote_index=remote, note=BEFORE_RESTORE)
                _add_rows(state, os.path.join(staged, "state.db"), row["project_id"], found.id, only=conversation)
                return RestoredPart(found.id, known["name"], 1, saved.manifest.id, None)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    raise ConversationNotFound(f"No backup has a conversation {conversation!r}.", next_step="gardener backup list")


def _candidates(store: Store) -> list[Entry]:
    """The good backups among which the newest is looked for; what came in as a file only after this home's own."""
    good = [entry for entry in store.entries() if entry.good and entry.manifest and not entry.manifest.note]
    return sorted(good, key=lambda entry: entry.imported)


def _hold(held: ExitStack, lock: ProcessLock) -> None:
    lock.acquire(_LOCK_WAIT_S)
    held.enter_context(lock)


def _only(found: Manifest, project: ProjectEntry) -> Manifest:
    """The part of a backup that concerns one project."""
    places = (f"{CONTENT}projects/{project.id}/", f"{CONTENT}trash/{project.id}/", f"{CONTENT}state.db")
    return found._replace(
        projects=(project,), files=tuple(file for file in found.files if file.path.startswith(places))
    )


def _state_only(found: Manifest) -> Manifest:
    return found._replace(projects=(), files=tuple(file for file in found.files if file.path == f"{CONTENT}state.db"))


def _staged(paths: Paths, entry: Entry, found: Manifest) -> tuple[str, Trial]:
    """Stages a part of a backup in the home and tries it, which also brings its state.db to this version's schema."""
    staged = os.path.join(paths.home, swap.STAGED + found.id)
    try:
        stage(entry.path, found, ensure_directory(staged))
        tried = try_home(staged, found)
        if tried.problems:
            raise BackupDamaged(
                f"Backup {found.id} does not open: {tried.problems[0]}. Nothing was changed.",
                next_step="gardener backup list",
            )
    except BaseException as error:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, OSError):
            raise translate_os_error(error, staged) from error
        raise
    return staged, tried


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    return database


def _add_rows(state: State, backup_db: str, project_id: str, backup_id: str, *, root: str = "", only: str = "") -> int:
    """Adds what is missing of a project's rows in one transaction; with `only`, replaces that conversation instead.

    Returns how many conversations were added.
    """
    added = 0
    with closing(_open(backup_db)) as rows:
        try:
            with state.write() as connection:
                if not only:
                    _register(connection, rows, project_id, root)
                query = "SELECT * FROM conversations WHERE project_id = ?" + (" AND id = ?" if only else "")
                for talk in rows.execute(query, (project_id, only) if only else (project_id,)).fetchall():
                    if only:
                        connection.execute("DELETE FROM conversations WHERE id = ?", (only,))
                    elif connection.execute("SELECT 1 FROM conversations WHERE id = ?", (talk["id"],)).fetchone():
                        continue
                    _insert(connection, "conversations", talk)
                    messages = rows.execute(
                        "SELECT * FROM messages WHERE conversation_id = ? ORDER BY id", (talk["id"],)
                    )
                    for message in messages.fetchall():
                        _insert(connection, "messages", message, without="id")
                    added += 1
                record_event(connection, "backup.restored", project_id, backup=backup_id, conversations=added)
        except sqlite3.IntegrityError as error:
            raise _taken(state, rows, project_id, root) or error from error
    return added


def _taken(state: State, rows: sqlite3.Connection, project_id: str, root: str) -> ConflictError | None:
    """What to say when another project here has the name or the folder; None when none has."""
    wanted = rows.execute("SELECT name, root FROM projects WHERE id = ?", (project_id,)).fetchone()
    other = (
        state.read()
        .execute(
            "SELECT name FROM projects WHERE (name = ? OR root = ?) AND id != ?",
            (wanted["name"], root or wanted["root"], project_id),
        )
        .fetchone()
        if wanted
        else None
    )
    if other is None:
        return None
    return ConflictError(
        f"{other[0]} here is another project with the same name or folder as {wanted['name']} of the backup. "
        "Nothing was changed.",
        next_step=f"gardener remove {shlex.quote(other[0])}",
    )


def _register(connection: sqlite3.Connection, rows: sqlite3.Connection, project_id: str, root: str) -> None:
    row = rows.execute("SELECT * FROM projects WHERE id = ?", (project_id,)).fetchone()
    values = {**dict(row), "removed_at": None, "purging": 0, **({"root": root} if root else {})}
    if not connection.execute("SELECT 1 FROM projects WHERE id = ?", (project_id,)).fetchone():
        # Whether a repository is trusted is for the person at this machine to say.
        _insert(connection, "projects", {**values, "trusted": 0})
        return
    if root:
        connection.execute("UPDATE projects SET root = ? WHERE id = ?", (root, project_id))
    connection.execute(
        "UPDATE projects SET backend = ?, model = ?, adapter = ? WHERE id = ?",
        (values["backend"], values["model"], values["adapter"], project_id),
    )


def _insert(
    connection: sqlite3.Connection, table: str, row: sqlite3.Row | dict[str, object], without: str = ""
) -> None:
    values = {key: row[key] for key in row.keys() if key != without}  # noqa: SIM118  a Row iterates over its values
    columns, places = ", ".join(values), ", ".join("?" for _ in values)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", tuple(values.values()))
