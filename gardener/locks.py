"""One writer at a time, between processes: flock(2) on a small private file.

The kernel drops the lock when its holder dies, however it dies, so a dead holder needs no takeover and no
lease. What is written inside the file only serves the error message; it is believed while the lock is really
held, and never otherwise.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from gardener.errors import LockedError, PathNotFound
from gardener.paths import FILE_MODE, translate_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_PROBE_GRACE_S = 0.05
"""How long even acquire(0) keeps trying: `holder()` in another process takes the lock for an instant."""
_POLL_S = 0.01
_LONGEST_POLL_S = 0.1
_HOLDER_BYTES = 4096

_held: dict[int, ProcessLock] = {}
"""Locks that this process holds, by descriptor; a forked child closes its copies of them."""


class ProcessLock:
    """An exclusive lock between processes, also between two instances in one process.

    `purpose` is the command that takes it ("gardener index"), `subject` what it guards ("'django'"); both
    appear in the error that the others get. One instance belongs to one thread at a time and is not
    re-entrant: taking it again while it is held raises RuntimeError; a second instance gets LockedError.
    """

    __slots__ = ("_descriptor", "path", "purpose", "subject")

    def __init__(self, path: str, purpose: str, *, subject: str = "") -> None:
        self.path = path
        self.purpose = purpose
        self.subject = subject
        self._descriptor = -1

    @property
    def held(self) -> bool:
        return self._descriptor >= 0

    def acquire(self, timeout_s: float = 0) -> None:
        """Takes the lock, waiting up to `timeout_s` seconds.

        Raises LockedError naming the holder's command and pid, PathNotFound when the folder of the lock is
        gone, PermissionProblem or DiskFull when the file cannot be made.
        """
        if self.held:
            raise RuntimeError(f"{self.path} is already held by this very lock")
        deadline = time.monotonic() + max(timeout_s, _PROBE_GRACE_S)
        pause = _POLL_S
        while True:
            descriptor = _open(self.path)
            try:
                if _try_lock(descriptor) and _is_still(descriptor, self.path):
                    _write_holder(descriptor, self.purpose)
                    _held[descriptor] = self
                    self._descriptor = descriptor
                    return
            finally:
                if self._descriptor != descriptor:
                    os.close(descriptor)
            if time.monotonic() >= deadline:
                raise self._locked()
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 2, _LONGEST_POLL_S)

    def release(self) -> None:
        """Gives the lock back; does nothing when it is not held."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        _held.pop(descriptor, None)
        try:
            os.ftruncate(descriptor, 0)
            # Explicitly: closing alone would leave the lock to a child that was forked without our hook.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def holder(self) -> dict[str, object] | None:
        """Who holds the lock now, as {pid, purpose, since}; None when it is free.

        `since` is Unix time in seconds. A holder that could not write its name (full disk) gives pid 0.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate_os_error(error, self.path) from error
        try:
            # Shared, so that two who look do not take each other for a holder.
            return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_holder(descriptor)
        finally:
            os.close(descriptor)

    def __enter__(self) -> ProcessLock:
        if not self.held:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _locked(self) -> LockedError:
        found = self.holder() or {}
        pid = found.get("pid", 0)
        doing = f"is updating {self.subject}" if self.subject else f"holds {self.path}"
        if not pid:
            return LockedError(f"Another Gardener process {doing}.", next_step="gardener status")
        if pid == os.getpid():
            return LockedError(
                f"This Gardener process (pid {pid}, {found['purpose']}) already {doing}.",
                next_step="gardener status",
            )
        return LockedError(
            f"Another Gardener process (pid {pid}, {found['purpose']}) {doing}.",
            next_step=f"ps -p {pid} -o pid,etime,args",
        )


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        if os.fstat(descriptor).st_mode & 0o777 != FILE_MODE:
            os.fchmod(descriptor, FILE_MODE)
        return descriptor
    except FileNotFoundError as error:
        raise PathNotFound(
            f"{os.path.dirname(path)} is gone, so nothing in it can be locked.", next_step="gardener list"
        ) from error
    except OSError as error:
        raise translate_os_error(error, path) from error


def _try_lock(descriptor: int, operation: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise


def _is_still(descriptor: int, path: str) -> bool:
    """Whether `path` still names the locked file: its folder may have been moved away while we waited."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int, purpose: str) -> None:
    import json

    text = json.dumps({"pid": os.getpid(), "purpose": purpose[:200], "since": time.time()})
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, text.encode()[:_HOLDER_BYTES], 0)
    except OSError:
        # A full disk must not stop a lock, which lives in the kernel; only the holder's name is lost.
        os.ftruncate(descriptor, 0)


def _read_holder(descriptor: int) -> dict[str, object]:
    import json

    unknown: dict[str, object] = {"pid": 0, "purpose": "", "since": 0.0}
    try:
        found = json.loads(os.pread(descriptor, _HOLDER_BYTES, 0))
        pid, purpose, since = int(found["pid"]), str(found["purpose"]), float(found["since"])
        os.kill(pid, 0)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, ProcessLookupError):
        return unknown  # a former holder's name, or a new holder that has not written its own yet
    except PermissionError:
        pass  # alive, and another user's
    return {"pid": pid, "purpose": purpose, "since": since}


def _forget_in_child() -> None:
    for descriptor, lock in list(_held.items()):
        lock._descriptor = -1
        os.close(descriptor)
    _held.clear()


# flock belongs to the open file, which a fork shares: without this a child would keep a dead parent's lock.
os.register_at_fork(after_in_child=_forget_in_child)
