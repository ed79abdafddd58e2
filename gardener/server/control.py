"""The live app seen from outside: how it runs, ending it, starting it the same way. Upgrades and rollbacks use it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

from gardener.errors import AppUnreachable, ServiceFailed
from gardener.paths import Paths, ensure_directory, open_private
from gardener.server.runfile import app_lock, read_app, upgrading_file
from gardener.service.description import ServiceDescription, descriptions
from gardener.service.manager import ServiceManager, manager
from gardener.upgrade.commands import clean_environment, gardener
from gardener.upgrade.trial import ready

STOP_SECONDS = 45.0
"""A running answer is saved within three seconds; a backup or a batch of vectors may take longer to give way."""
READY_SECONDS = 120.0
_POLL_S = 0.05


class AppControl:
    """The app of one home. `python` is the interpreter that starts it, that of whatever version is in force."""

    def __init__(
        self, paths: Paths, python: str, services: ServiceManager | None = None, ready_s: float = READY_SECONDS
    ) -> None:
        self._paths = paths
        self._python = python
        self._given = services
        self._ready_s = ready_s
        self._environment: dict[str, str] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def how_it_runs(self) -> dict[str, Any] | None:
        """{"services": names of those that run, "app": whether the app does, "options", "host", "port"}, or None.

        Also remembers the environment in which an app that was started by hand runs: it may hold keys, and is not
        written down.
        """
        running = [one.name for one in self._services() if self._manager().state(one).pid]
        app = read_app(self._paths)
        if app is None:
            return {"services": running, "app": False, "options": [], "host": "", "port": 0} if running else None
        options: list[str] = []
        if "app" not in running:
            options = self._options_of(app.pid)
        return {"services": running, "app": True, "options": options, "host": app.host, "port": app.port}

    def stop(self, *, force: bool = False) -> None:
        """Asks the app and its services to end, and waits until they have.

        `force` kills what does not: a version that did not hold must not stand in the way of the one before. Raises
        AppUnreachable or ServiceFailed.
        """
        for one in reversed(self._services()):
            if pid := self._manager().state(one).pid:
                try:
                    self._manager().stop(one)
                except ServiceFailed:
                    if not force:
                        raise
                    _signal(pid, signal.SIGKILL)
        for process in self._started:  # it may hang before it takes the lock
            process.terminate()
        pid = self._lock_holder()
        _signal(pid, signal.SIGTERM)
        if not self._ended() and force:
            _signal(self._lock_holder(), signal.SIGKILL)
            for process in self._started:
                process.kill()
            self._ended()
        if self._lock_holder() or any(process.poll() is None for process in self._started):
            raise AppUnreachable(
                f"The app (process {pid}) did not end within {STOP_SECONDS:.0f} s when it was asked to.",
                next_step="gardener stop",
            )
        self._started.clear()

    def _ended(self) -> bool:
        """Whether the app has gone, after waiting for it as long as is right."""
        until = time.monotonic() + STOP_SECONDS
        while time.monotonic() < until:
            if not self._lock_holder() and all(process.poll() is not None for process in self._started):
                return True
            time.sleep(_POLL_S)
        return False

    def _lock_holder(self) -> int:
        """The app's process, whether it listens already or not; 0 when there is none."""
        holder = app_lock(self._paths).holder()
        return int(str(holder["pid"])) if holder else 0

    def start(self, how: dict[str, Any] | None) -> str:
        """Starts it as it ran, or without `how` on a free port, and waits for /readyz. Returns its address.

        Raises AppUnreachable or ServiceFailed; what was started is then still there or has ended by itself.
        """
        services = how["services"] if how else []
        for one in self._services():
            if one.name in services:
                self._manager().start(one)
        process = None
        if how and not how["app"]:
            return ""
        if "app" not in services and read_app(self._paths) is None:
            options = ["--host", "127.0.0.1", "--port", "0"]
            if how:
                options = ["--host", how["host"], "--port", str(how["port"]), *how["options"]]
            process = self._spawn(options)
        return self._wait(process)

    def say_upgrading(self, say: bool) -> None:
        """Lets the app tell its open pages that it will be back in a moment, or stop telling them so."""
        path = upgrading_file(self._paths)
        if say:
            ensure_directory(self._paths.run)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        elif os.path.lexists(path):
            os.unlink(path)

    def _spawn(self, options: list[str]) -> subprocess.Popen[bytes]:
        ensure_directory(self._paths.logs)
        with open(os.path.join(self._paths.logs, "app.out"), "ab", opener=open_private) as log:
            process = subprocess.Popen(
                gardener(self._python, "serve", "--home", self._paths.home, *options),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._paths.home, start_new_session=True,
                env=clean_environment(self._environment),
            )  # fmt: skip
        self._started.append(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes] | None) -> str:
        until = time.monotonic() + self._ready_s
        listening = ""
        while time.monotonic() < until:
            app = read_app(self._paths)
            listening = app.url if app else ""
            if listening and ready(listening):
                return listening
            if process is not None and process.poll() is not None:
                raise AppUnreachable(
                    f"The app did not start: it ended with exit code {process.returncode}.",
                    next_step=f'tail "{os.path.join(self._paths.logs, "app.out")}"',
                )
            time.sleep(_POLL_S)
        what = f"The app at {listening} does not say that it is ready" if listening else "The app did not listen"
        raise AppUnreachable(f"{what} after {self._ready_s:.0f} s.", next_step="gardener doctor")

    def _options_of(self, pid: int) -> list[str]:
        """The options of `gardener serve` besides the address, which the app itself knows better."""
        import psutil

        try:
            process = psutil.Process(pid)
            words = process.cmdline()
            self._environment = {name: value for name, value in process.environ().items() if name not in os.environ}
        except psutil.Error:
            return []  # another user's, or gone: the settings then say how
        given = words[words.index("serve") + 1 :] if "serve" in words else []
        options: list[str] = []
        for word, value in zip(given, [*given[1:], ""], strict=True):
            if word == "--beyond-loopback":
                options.append(word)
            elif word == "--allow-host":
                options += [word, value]
            elif word.startswith("--allow-host="):
                options.append(word)
        return options

    def _services(self) -> tuple[ServiceDescription, ...]:
        """Those that are installed."""
        with_manager = self._manager()
        return tuple(one for one in descriptions(self._paths) if os.path.exists(with_manager.file(one)))

    def _manager(self) -> ServiceManager:
        return self._given or manager()


def _signal(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)
