"""Makes a backup: of the whole home, or of one project.

The order is the safety: files first, each hashed as it is copied and synchronised; the manifest last; then one rename
gives the folder its name. A kill before that leaves a `.making-` folder, which is no backup and goes at the next run.

What a backup leaves out can be made again or must not leave the machine's own protection: see LEFT_OUT.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from gardener import __version__
from gardener.backup import manifest
from gardener.backup.capture import WAIT_FOR_WRITER_S, capture_index, copy_database
from gardener.backup.manifest import CONTENT, FileEntry, Manifest, ProjectEntry
from gardener.backup.store import MAKING, Store
from gardener.errors import IndexDamaged, LockedError, PathNotFound, ProjectNotFound, StateDamaged
from gardener.index.facts import summary
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory, open_private, sync_directory, sync_file, translate_os_error

_log = logging.getLogger("gardener.backup")

LEFT_OUT = {
    "models": "models can be downloaded again",
    "embeddings": "vectors by content are made again from the text; each project's own are in its index",
    "logs": "logs",
    "run": "what only a running app needs, and the tokens it gave out",
    "backups": "the backups themselves",
    "repairs": "what repairs have put aside",
}
"""Folders of the home that no backup holds, and why. Keys of model servers are in the system's keyring, not here."""
OF_THE_MACHINE = ("health.db", "samples.db")
"""Files that are about this machine's past, and neither kept nor put back."""
_DERIVED_IN_PROJECT = ("index", "prompt-cache", "evaluation")
"""The index is captured by itself; prompt caches are made again; an evaluation's copy lasts as long as its run."""
_SIDE_FILES = ("-wal", "-shm", "-journal", ".lock", ".tmp")
_BLOCK = 1 << 20


class Created(NamedTuple):
    """A finished backup. `written` counts the bytes that were not in an earlier backup already."""

    path: str
    manifest: Manifest
    written: int

    def as_json(self) -> dict[str, object]:
        found = self.manifest
        return {
            "id": found.id, "path": self.path, "sequence": found.sequence, "bytes": found.total_bytes,
            "files": len(found.files), "kind": found.kind, "written_bytes": self.written,
            "left_out": list(found.left_out),
        }  # fmt: skip


def create(paths: Paths, store: Store, *, project: str = "", remote_index: bool = False) -> Created:
    """Makes one backup of the home, or only of the project with the id `project`.

    `remote_index` says that the tables lie on an object store: then indexes are left out, and made again after a
    restore. Raises PathNotFound without a home, LockedError, DiskFull, StateDamaged.
    """
    if not os.path.exists(paths.state_db):
        raise PathNotFound(
            f"{paths.home} holds no projects yet, so there is nothing to save.", next_step="gardener add PATH"
        )
    with store.lock("gardener backup create"):
        return create_locked(paths, store, project=project, remote_index=remote_index)


def create_locked(
    paths: Paths, store: Store, *, project: str = "", remote_index: bool = False, note: str = "", alone: bool = False
) -> Created:
    """As `create`, for a caller that holds the lock. `note` says why it is made.

    `alone`: the caller holds the project's locks, so that nobody needs to be waited for.
    """
    with scratch_folder(paths) as scratch:
        store.remove_unfinished()
        return _create(paths, store, scratch, project, remote_index, note, alone)


@contextmanager
def scratch_folder(paths: Paths) -> Iterator[str]:
    """An empty folder for as long as the context lasts; what a killed process left in it goes first.

    It is on the disk of the home, where a link is enough, whatever disk the backups are on. Raises LockedError.
    """
    scratch = os.path.join(ensure_directory(paths.run), "backup-scratch")
    with ProcessLock(f"{scratch}.lock", "gardener backup", subject="the backups"):
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            yield ensure_directory(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _create(
    paths: Paths, store: Store, scratch: str, project: str, remote_index: bool, note: str, alone: bool
) -> Created:
    now = time.time()
    sequence, backup_id = new_id(store)
    folder = os.path.join(store.folder, MAKING + backup_id)
    try:
        writer = _Writer(ensure_directory(folder), scratch, store, 0.0 if alone else WAIT_FOR_WRITER_S)
        _stage("begun", folder)
        schema = _add_state(paths, writer, project)
        projects = _add_projects(paths, writer, remote_index=remote_index)
        if not project:
            _add_rest(paths, writer)
        _stage("files", folder)
        made = Manifest(
            backup_id, sequence, "project" if project else "home", note, now, __version__, schema,
            tuple(projects), tuple(sorted(writer.files)), tuple(writer.left_out),
        )  # fmt: skip
        writer.finish(made)
        _stage("manifest", folder)
        os.rename(folder, store.path(backup_id))
        sync_directory(store.folder)
        _stage("done", store.path(backup_id))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise translate_os_error(error, folder) from error
        raise
    return Created(store.path(backup_id), made, writer.written)


def new_id(store: Store) -> tuple[int, str]:
    """The next sequence number, and the id with it. Call it under the store's lock."""
    sequence = store.next_sequence()
    return sequence, f"{sequence:06d}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"


def _stage(name: str, folder: str) -> None:
    _log.debug("create: %s (%s)", name, folder)


def _add_state(paths: Paths, writer: _Writer, project: str) -> int:
    """Copies state.db, only with the rows of one project if told so. Returns its schema version."""
    copy = os.path.join(writer.scratch, "state.db")
    copy_database(paths.state_db, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as database:
        if project:
            _keep_only(database, project)
        schema = int(database.execute("PRAGMA user_version").fetchone()[0])
        database.row_factory = sqlite3.Row
        writer.rows = database.execute(
            "SELECT id, name, root, removed_at IS NOT NULL AS removed, purging,"
            " (SELECT count(*) FROM conversations c WHERE c.project_id = projects.id) AS conversations"
            " FROM projects ORDER BY id"
        ).fetchall()
    if project and not writer.rows:
        raise ProjectNotFound(f"There is no project with the id {project}.", next_step="gardener list")
    writer.add(copy, "state.db")
    return schema


def _keep_only(database: sqlite3.Connection, project: str) -> None:
    """Removes every other project's rows, and their words from the file."""
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("DELETE FROM projects WHERE id != ?", (project,))
    for table in ("events", "generations"):
        database.execute(f"DELETE FROM {table} WHERE project_id IS NOT ?", (project,))
    database.execute("DELETE FROM pointers")
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages_words'").fetchone():
        # Deleting only marks words as gone in the index of words (https://www.sqlite.org/fts5.html#the_delete_command).
        database.execute("INSERT INTO messages_words (messages_words) VALUES ('rebuild')")
    database.execute("VACUUM")


def _add_projects(paths: Paths, writer: _Writer, *, remote_index: bool) -> Iterator[ProjectEntry]:
    for row in writer.rows:
        if row["purging"]:
            continue  # its deletion has begun: what is left of it must not come back
        place = "trash" if row["removed"] else "projects"
        home = os.path.join(paths.trash if row["removed"] else paths.projects, row["id"])
        why, chunks = "", 0
        if os.path.isdir(home):
            for path in _files(home, _DERIVED_IN_PROJECT):
                writer.add(os.path.join(home, path), f"{place}/{row['id']}/{path}")
            if remote_index:
                why = "its tables lie on an object store"
            else:
                why, chunks = _add_index(os.path.join(home, "index"), f"{place}/{row['id']}/index", writer)
        else:
            why = "the project has no folder here"
        if why:
            writer.left_out.append(f"index of {row['name']}: {why}")
        _stage("project", row["id"])
        yield ProjectEntry(
            row["id"], row["name"], row["root"], bool(row["removed"]), why, int(row["conversations"]), chunks
        )


def _add_index(directory: str, name: str, writer: _Writer) -> tuple[str, int]:
    """Adds an index; else why it is left out. Damage must not spread into a backup that claims to be good."""
    if not os.path.isdir(directory):
        return "not indexed yet", 0
    captured = os.path.join(writer.scratch, "index")
    before = len(writer.files)
    try:
        capture_index(directory, captured, wait_s=writer.wait_s)
        chunks = int(summary(captured).get("chunks", "0"))
        known = _known_hashes(captured)
        for path in _files(captured, ()):
            writer.add(os.path.join(captured, path), f"{name}/{path}", expected=known.get(path))
        return "", chunks
    except (IndexDamaged, LockedError, StateDamaged) as error:
        for entry in writer.files[before:]:
            os.unlink(os.path.join(writer.folder, entry.path))
        del writer.files[before:]
        return error.message, 0
    finally:
        shutil.rmtree(captured, ignore_errors=True)


def _known_hashes(captured: str) -> dict[str, bytes]:
    """The SHA-256 that the index itself keeps of its tables' files, by path."""
    path = os.path.join(captured, "hashes.db")
    if not os.path.exists(path):
        return {}
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT path, sha256 FROM files").fetchall())


def _add_rest(paths: Paths, writer: _Writer) -> None:
    """Everything else in the home: settings, and whatever later versions keep there."""
    skipped = (*LEFT_OUT, "projects", "trash", "state.db", *OF_THE_MACHINE)
    for path in _files(paths.home, skipped):
        if not path.startswith(
            ("state.db.before-", "health.db.damaged-", "samples.db.aside-", "restoring", "before-restore")
        ):
            writer.add(os.path.join(paths.home, path), path)
    writer.left_out += [f"{name}/: {why}" for name, why in LEFT_OUT.items()]


def _files(folder: str, skipped: tuple[str, ...]) -> Iterator[str]:
    """Regular files below a folder, relative to it, without `skipped` at its top, locks and SQLite's side files."""
    for place, folders, names in os.walk(folder):
        relative = os.path.relpath(place, folder)
        prefix = "" if relative == "." else f"{relative}/"
        if not prefix:
            folders[:] = [name for name in folders if name not in skipped]
        folders[:] = sorted(name for name in folders if not name.startswith((".", "restoring", "before-restore")))
        for name in sorted(names):
            path = prefix + name
            if path in skipped or name == "lock" or name.endswith(_SIDE_FILES):
                continue
            if stat.S_ISREG(os.lstat(f"{folder}/{path}").st_mode):  # a FIFO would hold the backup up for good
                yield path


class _Writer:
    """Fills the folder of a backup. A file whose content an earlier backup has becomes a link to that one."""

    def __init__(self, folder: str, scratch: str, store: Store, wait_s: float) -> None:
        """`scratch` is an empty folder on the disk of the home; `wait_s` how long an update of an index may take."""
        self.folder = folder
        self.scratch = scratch
        self.wait_s = wait_s
        self.files: list[FileEntry] = []
        self.left_out: list[str] = []
        self.rows: list[sqlite3.Row] = []
        self.written = 0
        self._earlier: dict[tuple[str, int], str] = {}
        for entry in reversed(store.entries()):  # the newest wins: it will be kept longest
            for file in entry.manifest.files if entry.manifest else ():
                self._earlier[file.sha256, file.size] = os.path.join(entry.path, file.path)

    def add(self, source: str, name: str, *, expected: bytes | None = None) -> None:
        """Copies a file as home/`name`. `expected` is the SHA-256 it must have; raises IndexDamaged otherwise."""
        if name.endswith(".db") and not source.startswith(self.scratch):
            copy = os.path.join(self.scratch, "database")
            copy_database(source, copy)
            self._add(copy, name, None)
            os.unlink(copy)
            return
        self._add(source, name, expected)

    def _add(self, source: str, name: str, expected: bytes | None) -> None:
        target = os.path.join(self.folder, CONTENT + name)
        ensure_directory(os.path.dirname(target))
        digest, size = hash_file(source)
        if expected is not None and digest != expected.hex():
            raise IndexDamaged(
                f"{name} is not what was written: the index is damaged.", next_step="gardener index --repair"
            )
        earlier = self._earlier.get((digest, size))
        # Looked at again before it is relied on: a damaged copy must not be handed on, and is replaced by a whole one.
        if not (earlier and _has(earlier, digest) and _link(earlier, target)):
            digest, size = copy_file(source, target)
            if expected is not None and digest != expected.hex():
                raise IndexDamaged(f"{name} changed while it was read.", next_step="gardener index --repair")
            self.written += size
        self.files.append(FileEntry(CONTENT + name, size, digest))

    def finish(self, made: Manifest) -> None:
        """Writes the manifest when everything it names has reached the disk."""
        manifest.write(self.folder, made)


def hash_file(path: str) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and the size in bytes. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def copy_file(source: str, target: str) -> tuple[str, int]:
    """Copies to a new file that is on the disk when this returns; SHA-256 and size of what was copied."""
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as reading, open(target, "xb", opener=open_private) as writing:
        while block := reading.read(_BLOCK):
            digest.update(block)
            size += len(block)
            writing.write(block)
        writing.flush()
        sync_file(writing.fileno())
    return digest.hexdigest(), size


def _has(path: str, digest: str) -> bool:
    try:
        return hash_file(path)[0] == digest
    except OSError:
        return False


def _link(source: str, target: str) -> bool:
    try:
        os.link(source, target)
        return True
    except OSError:
        return False  # a disk without links, or too many: then a copy
