"""systemd's user manager on Linux: a unit in ~/.config/systemd/user, and systemctl --user (systemd.service(5))."""

from __future__ import annotations

import os

from gardener.errors import ServiceFailed
from gardener.service.description import STOP_SECONDS, THROTTLE_SECONDS, ServiceDescription
from gardener.service.manager import (
    WITHOUT_MANAGER,
    Run,
    Said,
    ServiceState,
    file_in_place,
    has_manager,
    read_file,
    run_command,
)


class Systemd:
    """See ServiceManager."""

    name = "systemd"

    def __init__(self, run: Run = run_command, folder: str = "") -> None:
        self._run = run
        configuration = os.environ.get("XDG_CONFIG_HOME", "").strip() or os.path.expanduser("~/.config")
        self._folder = folder or os.path.join(configuration, "systemd", "user")

    def file(self, service: ServiceDescription) -> str:
        return os.path.join(self._folder, unit(service))

    def text(self, service: ServiceDescription) -> str:
        """KillMode=mixed: the main process is asked, its children are killed with it."""
        environment = "\n".join(
            f"Environment={quoted(f'{name}={value}')}" for name, value in service.environment.items()
        )
        codes = " ".join(map(str, service.fatal_exit_codes))
        gentle = "Nice=5\nIOSchedulingClass=idle\nMemoryMax=400M\n" if service.background else ""
        return f"""[Unit]
Description={service.summary.replace("%", "%%")}
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
ExecStart={" ".join(quoted(argument).replace("$", "$$") for argument in service.arguments)}
WorkingDirectory={service.folder.replace("%", "%%")}
{environment}
UMask=0077
Restart=on-failure
RestartSec={THROTTLE_SECONDS}
RestartPreventExitStatus={codes}
TimeoutStopSec={STOP_SECONDS}
KillMode=mixed
NoNewPrivileges=true
StandardOutput=append:{service.output.replace("%", "%%")}
StandardError=inherit
{gentle}
[Install]
WantedBy=default.target
"""

    def install(self, service: ServiceDescription) -> None:
        with file_in_place(self.file(service), self.text(service)) as changed:
            self._systemctl(service, "daemon-reload", what="read")
            self._systemctl(service, "enable", unit(service), what="enabled")
        self._systemctl(service, "restart" if changed else "start", unit(service), what="started")

    def uninstall(self, service: ServiceDescription) -> None:
        if not os.path.exists(self.file(service)):
            return
        self._systemctl(service, "disable", "--now", unit(service), what="stopped")
        os.unlink(self.file(service))
        self._systemctl(service, "daemon-reload", what="read")
        self._run(("systemctl", "--user", "reset-failed", unit(service)))

    def start(self, service: ServiceDescription) -> None:
        self._act("start", service, "started")

    def stop(self, service: ServiceDescription) -> None:
        if os.path.exists(self.file(service)):
            self._act("stop", service, "stopped")

    def restart(self, service: ServiceDescription) -> None:
        self._act("restart", service, "restarted")

    def state(self, service: ServiceDescription) -> ServiceState:
        path = self.file(service)
        wanted = "LoadState,UnitFileState,MainPID,Result,ExecMainStatus"
        said = self._run(("systemctl", "--user", "show", "--property", wanted, unit(service)))
        facts = dict(line.split("=", 1) for line in said.out.splitlines() if "=" in line)
        status, result = facts.get("ExecMainStatus", "0"), facts.get("Result", "success")
        return ServiceState(
            file=path,
            installed=os.path.exists(path),
            outdated=os.path.exists(path) and read_file(path) != self.text(service),
            loaded=facts.get("UnitFileState") == "enabled",
            pid=int(facts.get("MainPID", "0") or 0),
            last_end="" if result == "success" and status == "0" else f"{result}, status {status}",
        )

    def _act(self, verb: str, service: ServiceDescription, done: str) -> None:
        if not os.path.exists(self.file(service)):
            raise ServiceFailed(
                f"The {service.name} service is not installed.",
                next_step="gardener service install" if has_manager() else "gardener ui",
            )
        self._systemctl(service, verb, unit(service), what=done)

    def _systemctl(self, service: ServiceDescription, *arguments: str, what: str) -> Said:
        said = self._run(("systemctl", "--user", *arguments))
        if said.code == 0:
            return said
        if "bus" in said.text and ("connect" in said.text.lower() or "medium" in said.text.lower()):
            raise ServiceFailed(
                f"systemd's user manager does not answer ({said.text.splitlines()[0]}). It belongs to a session: log "
                f"in directly, not through su or sudo. Without it {WITHOUT_MANAGER}",
                next_step="gardener ui",
            )
        raise ServiceFailed(
            f"The {service.name} service could not be {what}: systemctl says {said.text or said.code!r} "
            f"({self.file(service)}).",
            next_step="gardener service logs",
        )


def unit(service: ServiceDescription) -> str:
    return service.label + ".service"


def quoted(word: str) -> str:
    """A word for systemd, which expands % and understands C escapes in quotes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
