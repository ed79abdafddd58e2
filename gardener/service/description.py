"""What a background service of Gardener is, said once; launchd's and systemd's files are both made of it."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass

from gardener.paths import Paths, usual_home

STOP_SECONDS = 20
"""From SIGTERM until a kill. launchd's own default; the app saves running answers and ends within about five."""
THROTTLE_SECONDS = 10
"""Least time between two starts, so that one that fails at once does not spin."""
PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""launchd gives a service almost no PATH: git and ollama are found here."""


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """One process that is kept running. Every path is absolute."""

    name: str
    """What people call it: app."""
    label: str
    """Its name for launchd and systemd; another home has another label, so that both can run."""
    summary: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    """Working directory."""
    output: str
    """File for what it prints: reasons for not starting. Its log proper is elsewhere, rotated."""
    background: bool = False
    """Low priority for processor and disk. Never for what somebody waits for."""
    fatal_exit_codes: tuple[int, ...] = (2, 3)
    """Exit codes that another start would only give again (usage, configuration). systemd alone knows such a list."""


def lasting_python(python: str) -> str:
    """The interpreter that a service file names: of an installation with versions side by side, whichever is in force.

    PROGRAM/versions/VERSION/bin/python becomes PROGRAM/current/bin/python, so that an upgrade needs no new file.
    """
    environment = os.path.dirname(os.path.dirname(python))
    versions = os.path.dirname(environment)
    pointer = os.path.join(os.path.dirname(versions), "current")
    if os.path.basename(versions) == "versions" and os.path.islink(pointer):
        return os.path.join(pointer, "bin", os.path.basename(python))
    return python


def descriptions(paths: Paths, python: str = "") -> tuple[ServiceDescription, ...]:
    """The services of one home, run by `python` (default: the one that runs this)."""
    python = lasting_python(python or sys.executable)
    environment = {"GARDENER_HOME": paths.home, "PATH": PATH, "PYTHONUNBUFFERED": "1"}
    for name in ("LANG", "LC_ALL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):  # the keyring needs the last two
        if os.environ.get(name):
            environment[name] = os.environ[name]

    def described(name: str, command: str, summary: str, *, background: bool = False) -> ServiceDescription:
        return ServiceDescription(
            name=name,
            label=label(paths, name),
            summary=summary,
            arguments=(python, "-m", "gardener.cli.main", command, "--home", paths.home),
            environment=environment,
            folder=paths.home,
            output=os.path.join(paths.logs, f"{name}.out"),
            background=background,
        )

    return (
        described("app", "serve", "Gardener: pages, API and resident model"),
        described("monitor", "monitor", "Gardener: health, alerts and backups", background=True),
    )


def label(paths: Paths, name: str) -> str:
    """`dev.gardener.app`, with six digits of the home's hash when that is not the usual one."""
    home = os.path.realpath(paths.home)
    if home == os.path.realpath(usual_home()):
        return f"dev.gardener.{name}"
    return f"dev.gardener.{name}-{hashlib.sha256(home.encode()).hexdigest()[:6]}"
