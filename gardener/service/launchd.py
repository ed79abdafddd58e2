"""launchd's user agents on macOS: a property list in ~/Library/LaunchAgents, and launchctl.

Built from launchd.plist(5), launchctl(1) and what its error numbers are known to mean; not run on a Mac. `bootout`
comes back before the service is gone, and a `bootstrap` in that time fails with 5 or 37: both wait and try again, with
an end.
"""

from __future__ import annotations

import os
import plistlib
import re
import time
from collections.abc import Callable

from gardener.errors import ServiceFailed
from gardener.service.description import STOP_SECONDS, THROTTLE_SECONDS, ServiceDescription
from gardener.service.manager import Run, Said, ServiceState, file_in_place, read_file, run_command

NOT_FOUND = (3, 113)
"""ESRCH, and "Could not find specified service"."""
BUSY = (5, 36, 37)
"""Input/output error (also: is loaded already), operation in progress (twice)."""
NO_DOMAIN = (112, 125)
"""No graphical session of this user, as over ssh after a restart."""
RETRY_SECONDS = 0.5
GONE_SECONDS = STOP_SECONDS + 10
OPEN_FILES = 8192
"""Watching folders takes a file descriptor each on macOS, whose default limit is 256."""


class Launchd:
    """See ServiceManager."""

    name = "launchd"

    def __init__(
        self,
        run: Run = run_command,
        folder: str = "~/Library/LaunchAgents",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run = run
        self._folder = os.path.expanduser(folder)
        self._sleep = sleep

    def file(self, service: ServiceDescription) -> str:
        return os.path.join(self._folder, service.label + ".plist")

    def text(self, service: ServiceDescription) -> str:
        """The property list. Umask is decimal: 63 is 077. ProcessType Background throttles the processor."""
        entries: dict[str, object] = {
            "Label": service.label,
            "ProgramArguments": list(service.arguments),
            "EnvironmentVariables": service.environment,
            "WorkingDirectory": service.folder,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": THROTTLE_SECONDS,
            "ExitTimeOut": STOP_SECONDS,
            "ProcessType": "Background" if service.background else "Standard",
            "Umask": 0o077,
            "SoftResourceLimits": {"NumberOfFiles": OPEN_FILES},
            "StandardOutPath": service.output,
            "StandardErrorPath": service.output,
        }
        if service.background:
            entries |= {"LowPriorityIO": True, "Nice": 5}
        return plistlib.dumps(entries, sort_keys=False).decode()

    def install(self, service: ServiceDescription) -> None:
        with file_in_place(self.file(service), self.text(service)) as changed:
            if self._loaded(service):
                if not changed:
                    self.start(service)
                    return
                self._boot_out(service)
            self._launchctl("enable", self._target(service))  # a `launchctl disable` of earlier days would win
            self._bootstrap(service)

    def uninstall(self, service: ServiceDescription) -> None:
        if self._loaded(service):
            self._boot_out(service)
        if os.path.exists(self.file(service)):
            os.unlink(self.file(service))

    def start(self, service: ServiceDescription) -> None:
        if not self._loaded(service):
            self._require_file(service)
            self._bootstrap(service)
        if not self.state(service).pid:
            self._need(self._launchctl("kickstart", self._target(service)), service, "started")

    def stop(self, service: ServiceDescription) -> None:
        """A clean exit is not restarted (KeepAlive)."""
        if self.state(service).pid:
            self._need(self._launchctl("kill", "SIGTERM", self._target(service)), service, "stopped")
            self._wait(lambda: not self.state(service).pid, service, "stop")

    def restart(self, service: ServiceDescription) -> None:
        """Not `kickstart -k`, which kills instead of asking."""
        self.stop(service)
        self.start(service)

    def state(self, service: ServiceDescription) -> ServiceState:
        path = self.file(service)
        said = self._launchctl("print", self._target(service))
        loaded = said.code == 0
        pid = re.search(r"^\s*pid = (\d+)", said.out, re.MULTILINE) if loaded else None
        ended = (
            re.search(r"^\s*last (?:exit code|terminating signal) = (.+)", said.out, re.MULTILINE) if loaded else None
        )
        return ServiceState(
            file=path,
            installed=os.path.exists(path),
            outdated=os.path.exists(path) and read_file(path) != self.text(service),
            loaded=loaded,
            pid=int(pid.group(1)) if pid else 0,
            last_end=ended.group(1).strip() if ended and "never exited" not in ended.group(1) else "",
        )

    # ---- launchctl -----------------------------------------------------------------------------------

    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    def _target(self, service: ServiceDescription) -> str:
        return f"{self._domain()}/{service.label}"

    def _launchctl(self, *arguments: str) -> Said:
        return self._run(("/bin/launchctl", *arguments))

    def _loaded(self, service: ServiceDescription) -> bool:
        said = self._launchctl("print", self._target(service))
        if said.code in NO_DOMAIN:
            raise self._refused(said, service, "reached")
        return said.code == 0

    def _bootstrap(self, service: ServiceDescription) -> None:
        said = self._launchctl("bootstrap", self._domain(), self.file(service))
        until = time.monotonic() + GONE_SECONDS
        while said.code in BUSY and time.monotonic() < until:
            if self._loaded(service):
                return
            self._sleep(RETRY_SECONDS)
            said = self._launchctl("bootstrap", self._domain(), self.file(service))
        self._need(said, service, "loaded")

    def _boot_out(self, service: ServiceDescription) -> None:
        said = self._launchctl("bootout", self._target(service))
        if said.code not in (0, *BUSY, *NOT_FOUND):
            raise self._refused(said, service, "unloaded")
        self._wait(lambda: not self._loaded(service), service, "end")

    def _wait(self, done: Callable[[], bool], service: ServiceDescription, what: str) -> None:
        until = time.monotonic() + GONE_SECONDS
        while not done():
            if time.monotonic() > until:
                raise ServiceFailed(
                    f"The {service.name} service did not {what} within {GONE_SECONDS} s.",
                    next_step="gardener service logs",
                )
            self._sleep(RETRY_SECONDS)

    def _need(self, said: Said, service: ServiceDescription, done: str) -> None:
        if said.code != 0:
            raise self._refused(said, service, done)

    def _require_file(self, service: ServiceDescription) -> None:
        if not os.path.exists(self.file(service)):
            raise ServiceFailed(f"The {service.name} service is not installed.", next_step="gardener service install")

    def _refused(self, said: Said, service: ServiceDescription, done: str) -> ServiceFailed:
        if said.code in NO_DOMAIN:
            return ServiceFailed(
                f"launchd has no graphical session for you (launchctl: {said.text or said.code}). Log in at the screen "
                "of this Mac once; a session over ssh is not enough.",
                next_step="gardener serve",
            )
        return ServiceFailed(
            f"The {service.name} service could not be {done}: launchctl says {said.text or said.code!r} "
            f"({self.file(service)}).",
            next_step="gardener service logs",
        )
