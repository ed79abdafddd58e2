"""Removing a project, undoing that, and deleting it for good.

Order of writes. Each move of a project's folder happens inside the transaction that records it, and the
COMMIT is the commit point. A crash before it leaves the old row and a folder in the wrong place; a crash
after it leaves nothing to do. Whichever it is, the row is believed and `recover` brings the folder where
the row says. A purge commits "purging" first: from there on it only goes forward, and `recover` finishes
it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from gardener.errors import GardenerError, NameTaken, ProjectExists
from gardener.line_log import AUDIT_LOG, PERFORMANCE_LOG, drop_lines
from gardener.locks import ProcessLock
from gardener.paths import DIRECTORY_MODE, ensure_directory, project_lock, translate_os_error
from gardener.projects.names import checked_name, name_key, shell_word
from gardener.projects.rows import (
    active_id,
    context_of,
    find_in_trash,
    find_registered,
    not_found,
    point_at,
    registered_by_id,
)
from gardener.state import record_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from gardener.paths import Paths
    from gardener.project_context import ProjectContext
    from gardener.projects.records import PurgeReport
    from gardener.state import State

    ReleaseVectors = Callable[[ProjectContext], int]
    """Called before the project's folder is deleted, possibly more than once after a crash; returns how
    many vectors it removed from the shared store because no other project uses them.
    """

LOCK_WAIT_S = 2.0
TRIES = 100
"""To delete a folder in which a process that has not noticed yet makes and deletes files."""
_FILLED_AGAIN = (errno.ENOTEMPTY, errno.EEXIST)


class Trash:
    """The removed projects under `paths.trash`, each in a folder named by its id."""

    def __init__(self, state: State, paths: Paths, release_vectors: ReleaseVectors | None) -> None:
        self._state = state
        self._paths = paths
        self._release_vectors = release_vectors

    def folder(self, project_id: str) -> str:
        return os.path.join(self._paths.trash, project_id)

    def remove(self, name: str, *, purging: bool = False) -> ProjectContext:
        """Takes a project off the registry and moves its data into the trash; the project's own folder stays.

        Raises ProjectNotFound, or LockedError while another process is updating it.
        """
        row = find_registered(self._state.read(), name)
        if row is None:
            raise not_found(self._state.read(), name)
        home = ensure_directory(self._paths.project_home(row["id"]))
        ensure_directory(self._paths.trash)
        lock = ProcessLock(project_lock(home), "gardener remove", subject=repr(row["name"]))
        lock.acquire(LOCK_WAIT_S)
        with lock:
            moved = False
            try:
                with self._state.write() as connection:
                    row = registered_by_id(connection, row["id"])
                    if row is None:
                        raise not_found(connection, name)
                    _move(home, self.folder(row["id"]))
                    moved = True
                    connection.execute(
                        "UPDATE projects SET removed_at = ?, purging = ? WHERE id = ?",
                        (time.time(), purging, row["id"]),
                    )
                    if active_id(connection) == row["id"]:
                        point_at(connection, None)
                    record_event(connection, "project.removed", row["id"])
            except BaseException:
                if moved:
                    _move(self.folder(os.path.basename(home)), home)
                raise
        return context_of(row, self.folder(row["id"]))

    def restore(self, name: str, *, new_name: str | None = None) -> ProjectContext:
        """Undoes a removal. Raises ProjectNotFound, or NameTaken or ProjectExists when its place has
        been taken.
        """
        moved = ""
        try:
            with self._state.write() as connection:
                row = find_in_trash(connection, name)
                if row is None:
                    raise not_found(connection, name, in_trash=True)
                wanted = row["name"] if new_name is None else checked_name(new_name)
                _refuse_taken_place(connection, row, wanted)
                ensure_directory(self._paths.projects)
                home = self._paths.project_home(row["id"])
                # Over what a process that had not noticed the removal wrote there since; the trash has the original.
                _put_in_place(self.folder(row["id"]), home)
                moved = home
                connection.execute(
                    "UPDATE projects SET removed_at = NULL, name = ?, name_key = ? WHERE id = ?",
                    (wanted, name_key(wanted), row["id"]),
                )
                record_event(connection, "project.restored", row["id"])
                restored = registered_by_id(connection, row["id"])
        except BaseException:
            if moved and os.path.isdir(moved):
                _move(moved, self.folder(os.path.basename(moved)))
            raise
        assert restored is not None
        return context_of(restored, moved)

    def purge(self, name: str) -> PurgeReport:
        """Deletes a project's data for good, whether it is registered or in the trash; its own folder stays.

        Raises ProjectNotFound or LockedError. Once begun it cannot be undone; interrupted, the next command
        goes on.
        """
        with self._purge_lock(LOCK_WAIT_S):
            if find_registered(self._state.read(), name) is not None:
                project_id = self.remove(name, purging=True).id
            else:
                with self._state.write() as connection:
                    row = find_in_trash(connection, name)
                    if row is None:
                        raise not_found(connection, name)
                    project_id = row["id"]
                    connection.execute("UPDATE projects SET purging = 1 WHERE id = ?", (project_id,))
            return self._finish_purge(project_id)

    def sweep(self, project_id: str) -> bool:
        """Deletes what a process that had not noticed a purge has written since; False while the purge is going on.

        Only for a project that this very process knew: of any other folder without a row state.db may be the one that
        lost something. (A backup cannot take its place meanwhile: it is not restored while the app runs.)
        """
        with self._state.write() as connection:
            if connection.execute("SELECT 1 FROM projects WHERE id = ?", (project_id,)).fetchone() is not None:
                return False
            _delete_tree(self._paths.project_home(project_id))
        return True

    def recover(self) -> None:
        """Brings folders where the rows say and finishes begun purges; cheap when there is nothing to do.

        What stands in its way (a lock, a full disk) is logged, not raised: reading must go on working, and
        the next command tries again.
        """
        if not self._needs_recovery():
            return
        try:
            with self._state.write() as connection:
                self._settle_folders(connection)
            purging = "SELECT id FROM projects WHERE purging = 1"
            if self._state.read().execute(purging).fetchone() is None and not self._scrub_is_due():
                return  # only looked misplaced: another process was just adding or removing it
            with self._purge_lock(0):
                for row in self._state.read().execute(purging).fetchall():
                    self._finish_purge(row["id"])
                if self._scrub_is_due():
                    self._scrub()
        except GardenerError as error:
            import logging

            logging.getLogger("gardener.projects").warning("What was left half done stays so for now: %s", error)

    def _purge_lock(self, timeout_s: float) -> ProcessLock:
        lock = ProcessLock(
            os.path.join(ensure_directory(self._paths.trash), "purge.lock"),
            "gardener remove --purge",
            subject="the trash",
        )
        lock.acquire(timeout_s)
        return lock

    def _needs_recovery(self) -> bool:
        # One statement and two listings: every `gardener switch` pays for this.
        homes, trashed = _folders(self._paths.projects), _folders(self._paths.trash)
        ids = set()
        for row in self._state.read().execute("SELECT id, removed_at, purging FROM projects"):
            ids.add(row["id"])
            misplaced = row["id"] not in homes if row["removed_at"] is None else row["id"] in homes - trashed
            if misplaced or row["purging"]:
                return True
        return self._scrub_is_due() or any(not os.listdir(self._paths.project_home(stray)) for stray in homes - ids)

    def _settle_folders(self, connection: sqlite3.Connection) -> None:
        homes, trashed = _folders(self._paths.projects), _folders(self._paths.trash)
        ids = set()
        for row in connection.execute("SELECT id, removed_at FROM projects"):
            ids.add(row["id"])
            if row["removed_at"] is None and row["id"] not in homes:
                ensure_directory(self._paths.projects)
                _move(self.folder(row["id"]), self._paths.project_home(row["id"]))
            elif row["removed_at"] is not None and row["id"] in homes - trashed:
                ensure_directory(self._paths.trash)
                _move(self._paths.project_home(row["id"]), self.folder(row["id"]))
        for stray in homes - ids:
            # Left by an `add` that died before its commit. Only when empty: a folder with data in it and no
            # row means that state.db is the one that lost something.
            if not os.listdir(self._paths.project_home(stray)):
                os.rmdir(self._paths.project_home(stray))

    def _finish_purge(self, project_id: str) -> PurgeReport:
        from gardener.projects.records import PurgeReport

        folder = self.folder(project_id)
        row = self._state.read().execute("SELECT * FROM projects WHERE id = ?", (project_id,)).fetchone()
        if row is None:
            raise not_found(self._state.read(), project_id)
        vectors = 0
        if self._release_vectors is not None:
            vectors = self._release_vectors(context_of(row, folder))
        # Both places: a process that had not noticed the removal may have gone on writing to the old one.
        deleted = [_delete_tree(place) for place in (folder, self._paths.project_home(project_id))]
        for name in (AUDIT_LOG, PERFORMANCE_LOG):
            drop_lines(os.path.join(self._paths.logs, name), project_id.encode())
        copies = tuple(self._state.old_copies())
        for copy in copies:
            os.unlink(copy)
        with self._state.write() as connection:
            conversations, messages = (
                int(
                    connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = ?", (project_id,)).fetchone()[
                        0
                    ]
                )
                for table in ("conversations", "messages")
            )
            connection.execute("DELETE FROM messages WHERE project_id = ?", (project_id,))
            connection.execute("DELETE FROM projects WHERE id = ?", (project_id,))
            connection.execute("DELETE FROM events WHERE project_id = ?", (project_id,))
            record_event(connection, "project.purged", None, conversations=conversations, messages=messages)
            connection.execute(
                "INSERT OR REPLACE INTO pointers (key, value, updated_at) VALUES ('scrub', 'due', ?)",
                (time.time(),),
            )
        return PurgeReport(
            project_id=project_id,
            name=row["name"],
            files=sum(files for files, _ in deleted),
            bytes=sum(size for _, size in deleted),
            conversations=conversations,
            messages=messages,
            vectors=vectors,
            old_copies=copies,
            scrubbed=self._scrub(),
        )

    def _scrub(self) -> bool:
        with self._state.write() as connection:
            # The word index keeps deleted words in its old segments until it is built anew.
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages_words'").fetchone():
                connection.execute("INSERT INTO messages_words (messages_words) VALUES ('rebuild')")
        if not self._state.scrub():
            return False
        with self._state.write() as connection:
            connection.execute("DELETE FROM pointers WHERE key = 'scrub'")
        return True

    def _scrub_is_due(self) -> bool:
        found = self._state.read().execute("SELECT 1 FROM pointers WHERE key = 'scrub'").fetchone()
        return found is not None


def _refuse_taken_place(connection: sqlite3.Connection, row: sqlite3.Row, wanted: str) -> None:
    for other in connection.execute("SELECT name, name_key, root FROM projects WHERE removed_at IS NULL"):
        if other["name_key"] == name_key(wanted):
            raise NameTaken(
                f"{wanted!r} cannot be restored: another project has that name by now ({other['root']}).",
                next_step=f"gardener restore {row['id']} --name {shell_word(wanted + '-restored')}",
            )
        if other["root"] == row["root"]:
            raise ProjectExists(
                f"{wanted!r} cannot be restored: its folder {row['root']} is project {other['name']!r} now.",
                next_step=f"gardener remove {shell_word(other['name'])}",
            )


def _folders(parent: str) -> set[str]:
    try:
        with os.scandir(parent) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return set()


def _count(connection: sqlite3.Connection, table: str, project_id: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table} WHERE project_id = ?", (project_id,)).fetchone()
    return int(found[0])


def _move(source: str, target: str) -> None:
    """Renames a folder; makes an empty one when there is nothing to move. An empty target is replaced."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(target, DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise translate_os_error(error, source) from error


def _put_in_place(source: str, target: str) -> None:
    """Renames a folder over another one, into which somebody may still be writing."""
    for left in reversed(range(TRIES)):
        _delete_tree(target)
        try:
            os.rename(source, target)
        except FileNotFoundError:
            os.makedirs(target, DIRECTORY_MODE, exist_ok=True)
        except OSError as error:
            if left and error.errno in _FILLED_AGAIN:
                continue
            raise translate_os_error(error, source) from error
        return


def _delete_tree(folder: str) -> tuple[int, int]:
    """Deletes a folder, into which somebody may still be writing; how many files and bytes it held. Raises
    PermissionProblem naming what cannot be deleted.
    """
    import shutil

    files = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_size
                files += 1
    for left in reversed(range(TRIES)):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(folder):
                break
            if left and (isinstance(error, FileNotFoundError) or error.errno in _FILLED_AGAIN):
                continue  # a file in it went, or came, while it was deleted
            raise translate_os_error(error, folder) from error
        break
    return files, size
