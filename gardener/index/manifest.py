"""What the index holds, file by file: the other half of its commit point (table version first, manifest last).

One SQLite file per project, so that an unchanged tree is recognised without opening LanceDB, and so that
`gardener switch` can check an index without importing it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from gardener.errors import DiskFull, IndexDamaged, SchemaTooNew
from gardener.index.facts import is_disk_full
from gardener.paths import create_private, ensure_directory
from gardener.sqlite_full_disk import connect_even_when_full, is_full

SCHEMA = 1


class FileRecord(NamedTuple):
    """One file as it was indexed, or as it was skipped after reading (`skipped` says why; no chunks then)."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    language: str
    lines: int
    chunks: int
    skipped: str = ""
    secrets: str = ""
    """Secrets that were left out of the index: "12:aws-key 40:private-key", lines and kinds, never the values."""


class Manifest:
    """The manifest in `directory`/manifest.db. Thread-safe. Raises IndexDamaged when SQLite cannot read it."""

    def __init__(self, directory: str, *, repair: str = "gardener index --rebuild") -> None:
        """`repair` is the command that errors name."""
        self.path = os.path.join(directory, "manifest.db")
        self.repair = repair
        self._lock = threading.RLock()
        self._files: dict[str, FileRecord] | None = None
        self._files_version = -1
        self._open()

    def _open(self) -> None:
        ensure_directory(os.path.dirname(self.path))
        create_private(self.path)
        try:
            self._database, self._makeshift = connect_even_when_full(
                lambda uri: sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False),
                self.path,
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            # The index can be rebuilt from the disk; a power cut may cost the last commit, never consistency.
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._migrate()
            self._inode = os.stat(self.path).st_ino
        except sqlite3.DatabaseError as error:
            raise self._translate(error) from error

    def _follow_the_disk(self) -> None:
        """Opens the file again when it was deleted or replaced: what is written to a deleted file is lost."""
        try:
            if os.stat(self.path).st_ino == self._inode and not (self._makeshift and not is_full(self.path)):
                return
        except FileNotFoundError:
            pass
        self._database.close()
        self._files = None
        self._open()

    def _migrate(self) -> None:
        version = int(self._database.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise SchemaTooNew(
                f"The index manifest {self.path} was written by a newer Gardener: its format is {version}, "
                f"this one knows {SCHEMA}.",
                next_step=self.repair,
            )
        if version == SCHEMA:
            return
        self._database.executescript(
            f"""
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS files (
                path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
                language TEXT NOT NULL, lines INTEGER NOT NULL, chunks INTEGER NOT NULL,
                skipped TEXT NOT NULL, secrets TEXT NOT NULL
            ) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
            PRAGMA user_version = {SCHEMA};
            COMMIT;
            """
        )

    def _translate(self, error: sqlite3.DatabaseError) -> IndexDamaged | DiskFull:
        if is_disk_full(error, self.path):
            return DiskFull(
                f"The disk is full: {self.path} could not be written. The last good index stays in force.",
                next_step=f'df -h "{os.path.dirname(self.path)}"',
            )
        return IndexDamaged(f"The index manifest {self.path} cannot be read: {error}.", next_step=self.repair)

    def files(self) -> Mapping[str, FileRecord]:
        """Every record by path. Read again only when this or another process has committed since."""
        with self._lock:
            self._follow_the_disk()
            try:
                # Changes with every commit of another connection (https://www.sqlite.org/pragma.html#pragma_data_version).
                version = int(self._database.execute("PRAGMA data_version").fetchone()[0])
                if self._files is not None and version == self._files_version:
                    return self._files
                rows = self._database.execute(
                    "SELECT path, size, mtime_ns, sha256, language, lines, chunks, skipped, secrets FROM files"
                ).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._translate(error) from error
            self._files = {row[0]: FileRecord._make(row) for row in rows}
            self._files_version = version
            return self._files

    def facts(self) -> dict[str, str]:
        with self._lock:
            self._follow_the_disk()
            try:
                return dict(self._database.execute("SELECT key, value FROM facts").fetchall())
            except sqlite3.DatabaseError as error:
                raise self._translate(error) from error

    def commit(
        self,
        *,
        changed: Sequence[FileRecord] = (),
        removed: Collection[str] = (),
        facts: Mapping[str, str] | None = None,
        replace_all: bool = False,
    ) -> None:
        """Records files and facts in one transaction; with `replace_all` nothing else remains."""
        with self._lock:
            self._follow_the_disk()
            before, self._files = self._files, None
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    if replace_all:
                        self._database.execute("DELETE FROM files")
                    self._database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in removed])
                    self._database.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?)", changed)
                    self._database.executemany(
                        "INSERT OR REPLACE INTO facts VALUES (?, ?)", list((facts or {}).items())
                    )
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as error:
                raise self._translate(error) from error
            if before is not None:
                # A copy, because readers hold the old one. Another connection's commit is still noticed: see `files`.
                files = {} if replace_all else before.copy() if changed or removed else before
                for path in removed:
                    files.pop(path, None)
                files.update((record.path, record) for record in changed)
                self._files = files

    def close(self) -> None:
        with self._lock:
            self._database.close()
