"""Takes the state of one moment out of files that others are writing.

SQLite gives a consistent copy by itself. An index is several files that belong together: its Lance tables, whose
files never change once written, and its SQLite databases. Each file of a table is linked and each database copied, in
milliseconds and between two updates where there is a gap; and if anything was committed meanwhile it is all done again.
What is kept is the disk as it was at one instant: at worst what a kill at that instant would have left, which the
indexer can continue from.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

from gardener.errors import IndexDamaged, LockedError, StateDamaged
from gardener.locks import ProcessLock
from gardener.paths import FILE_MODE, ensure_directory, open_private, project_lock

_HINT = "latest_version_hint.json"
"""Written over in place by Lance, which does without it."""
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
WAIT_FOR_WRITER_S = 10.0
"""How long an update that is running is given to finish: after it the index is whole, before it is only resumable."""
_ATTEMPTS = 50
_PAUSE_S = 0.05


def copy_database(source: str, target: str) -> None:
    """A consistent copy of a live SQLite database, checked. Raises StateDamaged; `target` is then of no use."""
    os.close(open_private(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        with closing(sqlite3.connect(source, timeout=10)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise OSError(errno.ENOSPC, str(error), target) from error
        raise StateDamaged(f"{source} cannot be copied: {error}.", next_step="gardener doctor") from error
    if found != "ok":
        raise StateDamaged(f"{source} is damaged: {found}.", next_step="gardener doctor")


def capture_index(directory: str, target: str, *, wait_s: float = WAIT_FOR_WRITER_S) -> None:
    """Puts the index in `directory` as of one instant into the new folder `target`.

    The files there may be links to live ones: read them, never write. Raises LockedError when commits follow each other
    without a gap, IndexDamaged when a database of it is damaged.
    """
    lock = ProcessLock(project_lock(os.path.dirname(directory)), "gardener backup", subject="an index")
    with suppress(LockedError):  # a long update goes on; its commits are seconds apart
        lock.acquire(wait_s)
    try:
        for _ in range(_ATTEMPTS):
            if _capture_once(directory, target):
                return
            shutil.rmtree(target)
            time.sleep(_PAUSE_S)
    finally:
        lock.release()
    raise LockedError(f"The index in {directory} changes faster than it can be copied.", next_step="gardener status")


def _capture_once(directory: str, target: str) -> bool:
    ensure_directory(target)
    with ExitStack() as opened:
        live = {}
        try:
            for name in (name for name in _names(directory) if name.endswith(".db")):
                path = os.path.join(directory, name)
                live[name] = opened.enter_context(closing(sqlite3.connect(path, timeout=10)))
            before = _commits(live), sorted(table_files(directory))
            for path in before[1]:
                _take(os.path.join(directory, path), os.path.join(target, path))
            for name in live:
                copy_database(os.path.join(directory, name), os.path.join(target, name))
            return before == (_commits(live), sorted(table_files(directory)))
        except FileNotFoundError:
            return False  # a compaction took it away
        except (StateDamaged, sqlite3.DatabaseError) as error:
            raise IndexDamaged(str(error), next_step="gardener index --repair") from error


def _commits(live: dict[str, sqlite3.Connection]) -> list[int]:
    """Changes when another connection commits to one of these (https://www.sqlite.org/pragma.html#pragma_data_version)."""
    return [int(database.execute("PRAGMA data_version").fetchone()[0]) for database in live.values()]


def table_files(directory: str) -> Iterator[str]:
    """Paths of the files of all Lance tables in an index, relative to it."""
    pending = [name for name in _names(directory) if name.endswith(".lance")]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(directory, folder)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{folder}/{entry.name}")
                    elif entry.is_file(follow_symlinks=False) and entry.name != _HINT:
                        yield f"{folder}/{entry.name}"
        except FileNotFoundError:
            continue


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def _take(source: str, target: str) -> None:
    ensure_directory(os.path.dirname(target))
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            shutil.copyfile(source, target)
        except OSError as failed:  # it names the source, whose disk is not the one that is full
            raise OSError(failed.errno, failed.strerror, source if failed.errno == errno.ENOENT else target) from failed
        os.chmod(target, FILE_MODE)
