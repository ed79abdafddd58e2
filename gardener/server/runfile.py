"""run/app.json: where the running app is and how the command line may speak to it; run/app.lock: that it is
alive.

The lock is the truth (the kernel drops it with the process); the file is only believed while the process that
wrote it holds the lock. Nothing here imports a web library: `gardener switch` reads this.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from gardener import paths as disk
from gardener.errors import AppAlreadyRunning, LockedError
from gardener.locks import ProcessLock
from gardener.paths import Paths


class RunningApp:
    """The app's address and launch token. `started` is Unix time in seconds.

    Written out by hand: importing dataclasses costs every `gardener search` 14 ms.
    """

    __slots__ = ("host", "pid", "port", "started", "token", "version")

    def __init__(self, pid: int, host: str, port: int, started: float, version: str, token: str) -> None:
        self.pid = pid
        self.host = host
        self.port = port
        self.started = started
        self.version = version
        self.token = token

    def as_json(self) -> dict[str, object]:
        """Every field by its name."""
        return {name: getattr(self, name) for name in ("pid", "host", "port", "started", "version", "token")}

    @property
    def url(self) -> str:
        return f"http://{authority(self.host, self.port)}"


def authority(host: str, port: int) -> str:
    """host:port as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def app_file(paths: Paths) -> str:
    return os.path.join(paths.run, "app.json")


def upgrading_file(paths: Paths) -> str:
    """There while an upgrade is about to end the app, and to start the next."""
    return os.path.join(paths.run, "upgrading")


def app_lock(paths: Paths) -> ProcessLock:
    return ProcessLock(os.path.join(paths.run, "app.lock"), "gardener serve")


def read_app(paths: Paths) -> RunningApp | None:
    """What run/app.json says, if the process that wrote it is still alive; None otherwise."""
    try:
        with open(app_file(paths), encoding="utf-8") as handle:
            app = RunningApp(**json.load(handle))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None  # never written, or cut short by a full disk: no app that we could talk to
    holder = app_lock(paths).holder()
    # pid 0: the lock is held but its holder could not write its name (full disk).
    return app if holder is not None and holder.get("pid") in (app.pid, 0) else None


class RunFile:
    """Makes this process the one app of its home folder, and tells others where it listens."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = app_lock(paths)
        self._published = False

    def claim(self) -> None:
        """Takes the lock for the life of the process. Raises AppAlreadyRunning naming the first app."""
        disk.ensure_directory(self._paths.run)
        try:
            self._lock.acquire()
        except LockedError as error:
            holder = self._lock.holder() or {}
            first = read_app(self._paths)
            where = f" at {first.url}" if first is not None else " (still starting)"
            raise AppAlreadyRunning(
                f"Gardener is already running as process {holder.get('pid', 'unknown')}{where}.",
                next_step="gardener ui",
            ) from error
        with suppress(FileNotFoundError):  # this app is what was waited for
            os.unlink(upgrading_file(self._paths))

    def publish(self, app: RunningApp) -> None:
        """Writes run/app.json (0600, atomic). Call it once the app accepts connections."""
        disk.write_private(app_file(self._paths), json.dumps(app.as_json(), indent=1).encode())
        self._published = True

    def withdraw(self) -> None:
        """Removes run/app.json and lets go of the lock; safe to call twice."""
        if self._published:
            self._published = False
            with suppress(FileNotFoundError):  # removed by hand: it should be gone, and it is
                os.unlink(app_file(self._paths))
        self._lock.release()
