"""Files that grow by whole lines, from several processes, and are put aside when they are full.

Nothing here keeps a descriptor or imports a library: `gardener switch` writes a line of the audit log with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from contextlib import contextmanager, suppress

from gardener.paths import ensure_directory, open_private, write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIT_LOG, PERFORMANCE_LOG = "audit.log", "performance.log"

_complained: set[str] = set()


def append_line(path: str, line: bytes, *, max_bytes: int, backups: int) -> bool:
    """Adds a line (without its newline), and rotates first when the file is full.

    Never raises, as what is logged has happened already: False when it could not be written, which stderr is told
    once.
    """
    data = line + b"\n"
    try:
        ensure_directory(os.path.dirname(path))
        with locked(path):
            descriptor = _open(path)
            try:
                size = os.fstat(descriptor).st_size
                if size and size + len(data) > max_bytes:
                    shift(path, backups)
                    os.close(descriptor)
                    descriptor = _open(path)
                elif size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data  # a full disk took only a part of the line before
                if os.write(descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
    except Exception as error:
        if path not in _complained:
            _complained.add(path)
            complain(f"gardener: the log {path} cannot be written: {error}. Going on without it.\n")
        return False
    _complained.discard(path)
    return True


def drop_lines(path: str, word: bytes) -> int:
    """Removes every line that has `word` in it, from the file and those put aside; returns how many.

    Each file is replaced as a whole. Raises DiskFull or PermissionProblem.
    """
    dropped = 0
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return 0
    with locked(path):
        for entry in sorted(os.listdir(folder)):
            if entry != name and not (entry.startswith(name + ".") and entry.rpartition(".")[2].isdigit()):
                continue
            with open(os.path.join(folder, entry), "rb") as handle:
                lines = handle.readlines()
            kept = [line for line in lines if word not in line]
            if len(kept) < len(lines):
                dropped += len(lines) - len(kept)
                write_private(os.path.join(folder, entry), b"".join(kept))
    return dropped


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Alone with a log and the files put aside, among all processes."""
    lock = open_private(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open(path: str) -> int:
    return open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)


def shift(path: str, backups: int) -> None:
    """The renames themselves, under the lock. The oldest goes."""
    for number in range(backups, 0, -1):
        older = path if number == 1 else f"{path}.{number - 1}"
        try:
            os.replace(older, f"{path}.{number}")
        except FileNotFoundError:
            continue
    if backups == 0:
        os.unlink(path)


def complain(sentence: str) -> None:
    """To stderr, the only place left; a service may have none, or one that is closed."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(sentence)


def stamp(at: float) -> str:
    """Unix seconds as the logs write them: "2026-11-21T14:03:07.250Z"."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"
