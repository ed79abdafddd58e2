"""What launchd and systemd have in common for us: files, commands with a deadline, one state of a service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from gardener.errors import ServiceFailed, UsageError
from gardener.paths import Paths, translate_os_error, write_private
from gardener.service.description import ServiceDescription, descriptions

COMMAND_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the service manager says of one service."""

    file: str
    installed: bool
    """The file is there."""
    outdated: bool
    """The file is not what this version would write."""
    loaded: bool
    """The service manager knows it, so that it starts with the session."""
    pid: int = 0
    last_end: str = ""
    """How it ended last, in the manager's words."""

    def as_json(self) -> dict[str, object]:
        return {
            "file": self.file,
            "installed": self.installed,
            "outdated": self.outdated,
            "loaded": self.loaded,
            "pid": self.pid or None,
            "last_end": self.last_end,
        }


class ServiceManager(Protocol):
    """Every method may be called in every state: what is so already is left alone. All raise ServiceFailed."""

    name: str

    def file(self, service: ServiceDescription) -> str: ...
    def text(self, service: ServiceDescription) -> str: ...
    def install(self, service: ServiceDescription) -> None:
        """Writes the file, has the manager read it, and starts the service; a changed file replaces a running one."""

    def uninstall(self, service: ServiceDescription) -> None:
        """Stops the service and removes its file."""

    def start(self, service: ServiceDescription) -> None: ...
    def stop(self, service: ServiceDescription) -> None:
        """Until the next start or log-in."""

    def restart(self, service: ServiceDescription) -> None: ...
    def state(self, service: ServiceDescription) -> ServiceState: ...


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return (self.err or self.out).strip()


Run = Callable[[Sequence[str]], Said]


def run_command(command: Sequence[str]) -> Said:
    """Raises ServiceFailed when the program is not there or does not end."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ServiceFailed(
            f"{command[0]} was not found, so Gardener cannot be a service here. {WITHOUT_MANAGER}",
            next_step="gardener ui",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(
            f"{' '.join(command)} did not end within {COMMAND_SECONDS} s.", next_step="gardener service status"
        ) from error
    return Said(done.returncode, done.stdout, done.stderr)


def manager(platform: str = sys.platform) -> ServiceManager:
    """launchd on macOS, systemd's user manager on Linux. Raises UsageError elsewhere."""
    if platform == "darwin":
        from gardener.service.launchd import Launchd

        return Launchd()
    if platform.startswith("linux"):
        from gardener.service.systemd import Systemd

        return Systemd()
    raise UsageError(f"There is no background service on {platform}.", next_step="gardener serve")


def has_manager(platform: str = sys.platform) -> bool:
    """Whether services can be installed here: on Linux a user manager of systemd has to run for this session."""
    if platform == "darwin":
        return True
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    sockets = (os.path.join(folder, "systemd", "private"), os.path.join(folder, "bus"))
    return (
        platform.startswith("linux")
        and bool(folder and shutil.which("systemctl"))
        and any(map(os.path.exists, sockets))
    )


MONITOR_BY_HAND = "nohup gardener monitor >/dev/null 2>&1 &"
WITHOUT_MANAGER = f"`gardener ui` starts the app all the same, and `{MONITOR_BY_HAND}` its monitor."


def how_to_start_the_monitor() -> str:
    """The command that keeps a monitor running here: without a service manager, until the machine is started anew."""
    return "gardener service install" if has_manager() else MONITOR_BY_HAND


def is_installed(paths: Paths, name: str) -> bool:
    """Whether the service's file is there. Nothing is asked of launchd or systemd."""
    try:
        with_manager = manager()
    except UsageError:
        return False
    return any(os.path.exists(with_manager.file(one)) for one in descriptions(paths) if one.name == name)


@contextmanager
def file_in_place(path: str, text: str) -> Iterator[bool]:
    """Writes a service's file if it differs, and tells whether it did; what was there comes back when the block fails.

    Mode 0600, as launchd and systemd read it as you. Raises DiskFull or PermissionProblem.
    """
    before = read_file(path)
    if before == text:
        yield False
        return
    _write(path, text)
    try:
        yield True
    except BaseException:
        if before:
            _write(path, before)
        else:
            os.unlink(path)
        raise


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # the system's own folder: its mode is not ours to change
    except OSError as error:
        raise translate_os_error(error, path) from error
    write_private(path, text.encode())


def read_file(path: str) -> str:
    """ "" when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
