"""Watches one project's folder and has its index updated when something in it changes that the index holds.

Only folders that the walk looks into are watched, each for itself: what git ignores (node_modules, build output) costs
no inotify watch and wakes nobody. Where watching is impossible the folder is polled, and `state` says so and why.

watchfiles and not watchdog: the latter takes a thread and an inotify instance for each folder that is watched for
itself (128 per user by default), or watches a tree with all that is ignored in it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from gardener.errors import GardenerError
from gardener.index.file_names import name_verdict

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

    from gardener.index.index_report import Difference

log = logging.getLogger("gardener.index")

QUIET_MS = 300
LONGEST_MS = 2_000
"""Changes are collected until nothing has happened for QUIET_MS, and at most this long."""
GIT_LOCK_S = 30.0
"""How long git may be in the middle of something (index.lock) before its lock is taken for a forgotten one."""
GLANCE_S = 2.0
"""Time between two looks at what no event tells: is the folder still the same one, has git's HEAD moved."""
POLL_S = 10.0
"""Shortest time between two comparisons while polling; slow ones come less often, see CHECK_SHARE."""
RETRY_S = 60.0
"""After this long of polling, watching is tried again."""
SAFETY_S = 300.0
"""A watched folder is compared this often even if nothing was reported: queues of the kernel can overflow."""
SLOW_S, SLOW_SHARE = 0.25, 4
"""A comparison that takes longer than SLOW_S is made a quarter of the time at most (100,000 files: about 1.5 s)."""
REMEMBERED = 10_000
"""Names that turned out not to matter, so that a log file written every second costs nothing."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "fuse.sshfs", "fuse.rclone"}
    | {"9p", "ceph", "afs", "glusterfs"}
)
"""Changes made by other machines are not reported on these."""

Mode = Literal["watching", "polling", "off"]


class WatchState(NamedTuple):
    """How a project is kept fresh just now. `detail` is for people; "" when there is nothing to add."""

    mode: Mode
    detail: str
    folders: int = 0
    """Folders that are watched."""

    def __str__(self) -> str:
        return self.mode + (f" {self.detail}" if self.detail else "")

    def as_json(self) -> dict[str, object]:
        return {"mode": self.mode, "detail": self.detail, "folders": self.folders}


class CannotWatch(Exception):
    """Why the folder has to be polled, in words that complete "polling every 10 s: "."""


class FolderWatcher:
    """A thread that keeps one project fresh from `start` to `stop`."""

    def __init__(
        self,
        root: str,
        *,
        compare: Callable[[], Difference],
        update: Callable[[], bool],
        head: Callable[[], str | None] = lambda: None,
        git_directory: str | None = None,
        poll_only: str = "",
        folder_limit: int | None = None,
    ) -> None:
        """`compare` walks the folder and compares it with the index; `update` brings the index up to date, returns
        when it is, and gives False when it could not. `head` tells the commit that is checked out. `poll_only` is
        a reason not to watch. `folder_limit` (default: see watch_limit) bounds the watches that are taken."""
        self.root = os.path.realpath(root)
        self._compare = compare
        self._update = update
        self._head = head
        self._git = git_directory
        self._poll_only = poll_only
        self._limit = watch_limit() if folder_limit is None else folder_limit
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{os.path.basename(root)}", daemon=True)
        self._unimportant: set[str] = set()
        self._seen_head: str | None = None
        self._checked_at = self._took = 0.0
        self._behind = False
        """Whether the last update failed and has to be tried again."""
        self.state = WatchState("off", "not started")

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float = 10.0) -> bool:
        """Waits for the end; False when it did not come. An update that is under way is left to its own end."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ---- on the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except CannotWatch as reason:
                self._poll(str(reason))
            except GardenerError as error:
                log.warning("watch.failed", extra={"fields": {"code": error.code, "reason": error.message}})
                self._poll(error.message)
            except Exception as error:
                # The thread's last frame: without this the project would silently go stale.
                log.exception("watch.failed")
                self._poll(f"watching failed: {type(error).__name__}")
        self.state = WatchState("off", "stopped")

    def _watch(self) -> None:
        """Watches until the set of folders changes or the folder itself does; the caller then calls again."""
        self._refuse_unwatchable()
        identity = _identity(self.root)
        folders = self._check()
        with _Opened(self._places(folders), recursive=sys.platform == "darwin") as notify:
            self._unimportant.clear()
            watched = set(folders)
            self.state = WatchState("watching", f"{len(watched):,} folder{'s' * (len(watched) != 1)}", len(watched))
            # What happened between the walk and the first watch was seen by nobody. New folders: watch those, too.
            while set(self._check()) <= watched:
                if not self._wait_for_change(notify, watched, identity):
                    return

    def _wait_for_change(self, notify: RustNotify, watched: set[str], identity: object) -> bool:
        """Returns True when a comparison is due, False when watching has to begin anew or end."""
        while not self._stop.is_set():
            events = notify.watch(LONGEST_MS, QUIET_MS, int(GLANCE_S * 1000), self._stop)
            if self._stop.is_set() or identity != _identity(self.root):
                return False
            if (
                (isinstance(events, set) and self._matters(events, watched))
                or self._head_moved()
                or self._is_due(SAFETY_S)
            ):
                self._wait_for_git()
                if self._took > SLOW_S:  # a tree so large that every saved file would keep a core busy
                    self._stop.wait(max(0.0, self._checked_at + SLOW_SHARE * self._took - time.monotonic()))
                return True
        return False

    def _places(self, folders: list[str]) -> list[str]:
        """What to watch: FSEvents takes a tree at the price of one folder, inotify takes folders one by one."""
        if sys.platform == "darwin":
            return [self.root]
        if len(folders) > self._limit:
            raise CannotWatch(f"{len(folders):,} folders, and at most {self._limit:,} may be watched on this machine")
        return [os.path.join(self.root, folder) if folder else self.root for folder in folders]

    def _refuse_unwatchable(self) -> None:
        if self._poll_only:
            raise CannotWatch(self._poll_only)
        if not os.path.isdir(self.root):
            raise CannotWatch("the folder is missing")
        kind = file_system(self.root)
        if kind in NETWORK_FILE_SYSTEMS:
            raise CannotWatch(f"{kind} does not report what other machines change")

    def _matters(self, events: set[tuple[int, str]], watched: set[str]) -> bool:
        """Whether the index may care for one of these changes, by name alone."""
        base = self.root + "/"
        for _, place in events:
            path = place.removeprefix(base)
            folder, _, name = path.rpartition("/")
            if path == place or name == ".git" or folder not in watched or path in self._unimportant:
                continue
            if name_verdict(name)[0] is None:
                self._events = {item.removeprefix(base) for _, item in events}
                return True
        return False

    _events: set[str] = frozenset()  # type: ignore[assignment]

    def _head_moved(self) -> bool:
        return self._head() != self._seen_head

    def _wait_for_git(self) -> None:
        """A checkout or rebase is one change: its files are read when git has let go of its index."""
        if self._git is None:
            return
        lock = os.path.join(self._git, "index.lock")
        while not self._stop.wait(QUIET_MS / 1000):
            try:
                if abs(time.time() - os.lstat(lock).st_mtime) > GIT_LOCK_S:
                    return
            except OSError:
                return

    def _check(self) -> list[str]:
        """Compares, updates if there is a difference, and returns the folders that the walk looked into."""
        events, self._events = self._events, set()
        self._seen_head = head = self._head()
        begun = time.monotonic()
        difference = self._compare()
        self._checked_at = time.monotonic()
        self._took = self._checked_at - begun
        found = difference.found
        assert found is not None
        files = {entry.path for entry in found.files}
        gone = set(difference.removed)
        ignored = {
            path
            for path in events
            if path not in files and path not in gone and not path.endswith("ignore") and self._is_file(path)
        }
        if len(self._unimportant) + len(ignored) > REMEMBERED:
            self._unimportant.clear()
        self._unimportant |= ignored
        self._behind = False
        if difference.files or (head and head != difference.head):
            self._behind = not self._update()
        return list(found.folders)

    def _is_file(self, path: str) -> bool:
        """Not a folder and still there: what is gone may come back as something that matters."""
        place = os.path.join(self.root, path)
        return os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place))

    # ---- without events ------------------------------------------------------------------------------

    def _poll(self, reason: str) -> None:
        """Looks at git's HEAD and index often and at the whole folder as seldom as CHECK_SHARE asks."""
        begun = time.monotonic()
        seen: object = None
        missing = not os.path.isdir(self.root)
        self._tell_polling("the folder is missing" if missing else reason)
        while True:
            now = time.monotonic()
            try:
                if missing:
                    if os.path.isdir(self.root):
                        return
                else:
                    glance = (self._head(), _modified(self._git and os.path.join(self._git, "index")))
                    if self._is_due(self._interval()) or (seen is not None and glance != seen):
                        self._check()
                        self._tell_polling(reason)
                    seen = glance
                    if not os.path.isdir(self.root):
                        return
            except GardenerError as error:
                log.warning("watch.poll_failed", extra={"fields": {"code": error.code, "reason": error.message}})
                self._checked_at = now
                missing = not os.path.isdir(self.root)
                self._tell_polling("the folder is missing" if missing else error.message)
            if self._stop.wait(GLANCE_S) or (now - begun >= RETRY_S and not self._poll_only):
                return

    def _is_due(self, after_s: float) -> bool:
        """Whether the last comparison is so old, or the update after it failed and may be tried again."""
        return time.monotonic() - self._checked_at >= (min(after_s, self._interval()) if self._behind else after_s)

    def _interval(self) -> float:
        from gardener.index.project_index import CHECK_SHARE

        return max(POLL_S, self._took / CHECK_SHARE)

    def _tell_polling(self, reason: str) -> None:
        self.state = WatchState("polling", f"every {self._interval():.0f} s: {reason}")


class _Opened:
    """The watches, given back at the end whatever happens. Raises CannotWatch."""

    def __init__(self, places: list[str], *, recursive: bool) -> None:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        try:
            # The class below watchfiles.watch(), which cannot watch folders without what is in them.
            self._notify = RustNotify(places, False, False, 0, recursive, True)
        except FileNotFoundError as error:
            raise CannotWatch("folders come and go faster than they can be watched") from error
        except (OSError, WatchfilesRustInternalError) as error:
            raise CannotWatch(f"the system gives no more watches ({error})") from error

    def __enter__(self) -> RustNotify:
        return self._notify

    def __exit__(self, *_: object) -> None:
        self._notify.close()


def watch_limit() -> int:
    """Folders of one project that may be watched: a quarter of what the system gives a user, as editors watch, too.

    Source: inotify(7), /proc/sys/fs/inotify/max_user_watches. One watch takes about 1 kB of the kernel's memory.
    """
    try:
        with open("/proc/sys/fs/inotify/max_user_watches", "rb") as handle:
            return int(handle.read(32)) // 4
    except (OSError, ValueError):
        return 10_000


def file_system(path: str) -> str:
    """The type of the file system that `path` is on ("ext4", "nfs4"); "" when that cannot be told."""
    import psutil

    best, kind = "", ""
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return ""
    for mount in mounts:
        place = mount.mountpoint.rstrip("/")
        if len(place) >= len(best) and (path == place or path.startswith(place + "/")):
            best, kind = place, mount.fstype
    return kind.lower()


def _identity(path: str) -> tuple[int, int] | None:
    """Tells a folder from another one that has taken its name; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _modified(path: str | None) -> int:
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0
