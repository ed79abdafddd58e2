"""samples.db: what was measured every half minute, kept 30 days, and its rollups; one file that may be lost.

It is no part of a backup. A file that is missing, damaged or from a newer version is put aside and begun anew, which
is said once in the log and kept as a fact in the new file; nobody's work waits for it. One process writes (the
monitor); readers open the file for reading only.

A row of `samples` is one look at the machine: a column for each metric, NULL for what could not be read. Unix seconds
are not unique and not in order, as clocks are set back; `id` is.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from gardener.errors import DiskFull, IntegrityError
from gardener.paths import FILE_MODE, ensure_directory, open_private
from gardener.sqlite_full_disk import connect_even_when_full, is_full

log = logging.getLogger("gardener.health")

INTERVAL_S = 30.0
KEPT_DAYS = 30
SCHEMA = 1
APPLICATION_ID = 0x47525350
"""ASCII "GRSP"."""
DAMAGED = ".aside-"
_BUSY_S = 2.0
_SIDE_FILES = ("-wal", "-shm")


class Metric(NamedTuple):
    name: str
    unit: str
    """percent, bytes, milliseconds, tokens/s, ratio, or count."""
    about: str


METRICS: tuple[Metric, ...] = (
    Metric("cpu", "percent", "Processor in use, all cores, since the sample before"),
    Metric("memory_used", "bytes", "Memory that cannot be had without swapping"),
    Metric("memory_available", "bytes", "Memory that can be had without swapping"),
    Metric("memory_pressure", "percent", "Time in which some process waited for memory, of the last minute (Linux)"),
    Metric("memory_pressure_level", "count", "macOS's own judgement: 1 normal, 2 warning, 4 critical"),
    Metric("swap_used", "bytes", "Swap in use"),
    Metric("disk_total", "bytes", "Size of the disk that holds Gardener's data"),
    Metric("disk_used", "bytes", "Of the disk that holds Gardener's data"),
    Metric("disk_free", "bytes", "Of the same disk, what this user may still write"),
    Metric("home", "bytes", "All of Gardener's data"),
    Metric("indexes", "bytes", "The projects' own folders: index, vectors, adapters, caches"),
    Metric("vectors", "bytes", "The shared store of vectors"),
    Metric("backups", "bytes", "Backups; content that several share counts once"),
    Metric("models", "bytes", "Models in the home"),
    Metric("projects", "count", "Projects with a folder in the home"),
    Metric("project_median", "bytes", "Median of the projects' folders that hold an index"),
    Metric("app_memory", "bytes", "Resident memory of the app"),
    Metric("answers", "count", "Answers since the sample before"),
    Metric("tokens_per_s", "tokens/s", "Written by models, in the answers since the sample before"),
    Metric("first_token", "milliseconds", "Mean time to the first token, of those answers"),
    Metric("searches", "count", "Searches of the app since the sample before"),
    Metric("search_time", "milliseconds", "Mean time of those searches"),
    Metric("embedded", "ratio", "Of the active project's contents, those with a vector"),
)
NAMES = tuple(metric.name for metric in METRICS)
BY_NAME = {metric.name: metric for metric in METRICS}


class Sample(NamedTuple):
    """What was read at `at` (Unix seconds); a metric that could not be read is not in `values`."""

    at: float
    values: Mapping[str, float]


class Samples:
    """The writer's side. Not thread-safe: one thread samples."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] = (0, 0)
        self._lost = ""

    def add(self, sample: Sample) -> None:
        """Appends one row. A file that cannot be used is put aside and begun anew, once; then the error is raised.

        Raises DiskFull, or sqlite3.Error for whatever else stands in the way.
        """
        with self.write() as connection:
            names = [name for name in sample.values if name in BY_NAME]
            columns, places = ", ".join(["at", *names]), ", ".join("?" * (len(names) + 1))
            connection.execute(
                f"INSERT INTO samples ({columns}) VALUES ({places})",
                (round(sample.at), *(compact(sample.values[name]) for name in names)),
            )

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction. See `add` for what it raises."""
        connection = self._opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(connection)
            if unusable(error):
                self.close()
                self._lost = str(error)
                put_aside(self.path, self._lost)
            elif _no_room(error, self.path):
                raise DiskFull(
                    f"The disk is full: {self.path} could not be written.", next_step="gardener disk"
                ) from error
            raise
        except BaseException:
            self._roll_back(connection)
            raise

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):  # the first error is the one to tell
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _opened(self) -> sqlite3.Connection:
        """The connection to the file that is at the path now: somebody may have deleted or replaced it."""
        if self._connection is not None and self._inode != _inode(self.path):
            self.close()
        if self._connection is None:
            try:
                self._connection = _open(self.path, self._lost)
            except (sqlite3.Error, IntegrityError) as error:
                if isinstance(error, sqlite3.Error) and not unusable(error):
                    if _no_room(error, self.path):
                        raise DiskFull(
                            f"The disk is full: {self.path} could not be opened.", next_step="gardener disk"
                        ) from error
                    raise
                put_aside(self.path, str(error))
                self._connection = _open(self.path, str(error))
            self._inode = _inode(self.path)
        return self._connection


def _open(path: str, lost: str = "") -> sqlite3.Connection:
    """Opens or makes the file. Raises IntegrityError when it is not one that this version can use."""
    ensure_directory(os.path.dirname(path))
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))
    for name in (path, *(path + end for end in _SIDE_FILES)):
        with suppress(FileNotFoundError):
            os.chmod(name, FILE_MODE)
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        if not empty and application != APPLICATION_ID:
            raise IntegrityError(f"{path} is a SQLite database, but not one of Gardener's samples.")
        if version > SCHEMA:
            raise IntegrityError(f"{path} was written by a newer Gardener (schema {version}).")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last samples, and no more
        if version < SCHEMA:
            _make(connection, lost)
        # A metric of a later release is one column more, and no new schema.
        for name in {*NAMES} - {row[1] for row in connection.execute("PRAGMA table_info(samples)")}:
            connection.execute(f"ALTER TABLE samples ADD COLUMN {name} REAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, lost: str) -> None:
    columns = ", ".join(f"{name} REAL" for name in NAMES)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"CREATE TABLE samples (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, {columns})")
    connection.execute("CREATE INDEX samples_by_time ON samples (at)")
    connection.execute(
        "CREATE TABLE rollups (seconds INTEGER NOT NULL, metric TEXT NOT NULL, at INTEGER NOT NULL, "
        "least REAL NOT NULL, mean REAL NOT NULL, most REAL NOT NULL, count INTEGER NOT NULL, "
        "PRIMARY KEY (seconds, metric, at)) WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    facts = {"begun_at": str(round(time.time()))} | ({"lost": lost} if lost else {})
    connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def put_aside(path: str, why: str) -> str:
    """Renames a file that cannot be used, its log with it, and returns the new name. Only the last one is kept."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        if entry.startswith(name + DAMAGED):
            os.unlink(os.path.join(folder, entry))
    aside = f"{path}{DAMAGED}{time.strftime('%Y%m%d-%H%M%S')}"
    for end in ("", *_SIDE_FILES):
        with suppress(FileNotFoundError):
            os.replace(path + end, aside + end)
    log.warning("samples.begun_anew", extra={"fields": {"reason": why, "kept": aside}})
    return aside


def compact(value: float) -> float:
    """Seven digits: a whole number takes less room in SQLite than one with a fraction, and nobody reads the rest."""
    return float(f"{value:.7g}")


def unusable(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file itself is broken or not ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error)


def _no_room(error: sqlite3.Error, path: str) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or (
        code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) and is_full(path)
    )


def _inode(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


@contextmanager
def reading(path: str) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads; None when there is no file yet. Raises IntegrityError when it cannot be read."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        yield None
        return
    try:
        database, _ = connect_even_when_full(lambda uri: sqlite3.connect(uri, uri=True, timeout=_BUSY_S), path)
        with closing(database):
            database.execute("PRAGMA query_only = ON")
            database.row_factory = sqlite3.Row
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone() is None:
                yield None  # being made, or not ours: the writer sorts it out
                return
            yield database
    except sqlite3.DatabaseError as error:
        raise IntegrityError(
            f"{path} cannot be read: {error}. It holds measurements only; the monitor puts it aside and begins anew.",
            next_step="gardener service status",
        ) from error
