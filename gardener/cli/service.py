"""`gardener service`: keeps the app and the monitor running in the background, from log-in on."""

from __future__ import annotations

from gardener.cli.console import Console, inert
from gardener.errors import ServiceFailed, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TypeVar

    from gardener.paths import Paths
    from gardener.service.description import ServiceDescription
    from gardener.service.manager import ServiceManager

    Found = TypeVar("Found")

START_TIMEOUT_S = 60.0
ACTIONS = ("install", "uninstall", "start", "stop", "restart", "status", "logs")
_DONE = {"uninstall": "removed", "stop": "stopped"}


def configure_service(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener service install --dry-run     show the files that would be written, and where
  gardener service install               write them, start the app and its monitor, now and at every log-in
  gardener service status
  gardener service logs --lines 50
  gardener service uninstall             stop them and remove the files; data stays

launchd on macOS (a user agent), systemd's user manager on Linux. No root is needed.
"""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("--dry-run", action="store_true", help="with install: only show the file")
    parser.add_argument("--lines", type=int, default=30, metavar="N", help="with logs: how many (default: 30)")
    parser.set_defaults(run=service)


def service(args: argparse.Namespace, console: Console) -> int:
    import os

    from gardener.paths import Paths, ensure_directory
    from gardener.server.client import find_app
    from gardener.service.description import descriptions
    from gardener.service.manager import manager

    if args.dry_run and args.action != "install":
        raise UsageError("--dry-run goes with install.", next_step="gardener service install --dry-run")
    paths = Paths(console.home)
    services = descriptions(paths)
    if args.action == "logs":
        return _logs(services, console, args.lines)
    with_manager = manager()
    if args.dry_run:
        return _show_files(with_manager, services, console)
    if args.action == "status":
        return _status(with_manager, services, paths, console)
    if args.action in ("install", "start", "restart"):
        ensure_directory(paths.logs)
        return _run(with_manager, services, paths, console, args.action)
    there = [one for one in services if os.path.exists(with_manager.file(one))]
    for one in reversed(there):  # the monitor first: it would report that the app is gone
        getattr(with_manager, args.action)(one)
    if console.as_json:
        console.json({"action": args.action, "services": [one.label for one in there]})
    elif there:
        console.line(f"The services are {_DONE[args.action]}.")
    else:
        console.line(f"No service of Gardener is installed, so nothing was {_DONE[args.action]}.")
        if find_app(paths) is not None:
            console.note("The app runs, started by hand. End it: gardener stop")
    return 0


def _run(
    with_manager: ServiceManager, services: tuple[ServiceDescription, ...], paths: Paths, console: Console, action: str
) -> int:
    """Installs, starts or restarts, and waits until app and monitor are there: anything else would be a guess."""
    from gardener.health.ledger import running_monitor
    from gardener.server.client import find_app

    running, monitor = find_app(paths), running_monitor(paths)
    ours = {with_manager.state(one).pid for one in services}
    if running is not None and running.pid not in ours:
        raise ServiceFailed(
            f"The app runs already (process {running.pid}), started by hand; two cannot.",
            next_step="gardener stop && gardener service " + action,
        )
    if monitor and monitor not in ours:
        raise ServiceFailed(
            f"The monitor runs already (process {monitor}), started by hand; two cannot.",
            next_step=f"kill {monitor} && gardener service {action}",
        )
    for one in services:
        getattr(with_manager, action)(one)
    app = _wait(with_manager, services[0], lambda: find_app(paths))
    monitor = _wait(with_manager, services[1], lambda: running_monitor(paths))
    if console.as_json:
        console.json({"action": action, "url": app.url, "pid": app.pid, "monitor_pid": monitor})
        return 0
    console.line(f"Gardener runs in the background at {app.url} (process {app.pid}).")
    console.line(f"Its monitor is process {monitor}.")
    console.note("Open it: gardener ui. End it: gardener service uninstall")
    for hint in _hints(with_manager):
        console.note(hint)
    return 0


def _wait(with_manager: ServiceManager, service: ServiceDescription, find: Callable[[], Found | None]) -> Found:
    import time

    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    said = "\n".join(_tail(service.output, 8)) or with_manager.state(service).last_end or "it said nothing"
    raise ServiceFailed(
        f"The service was started, but the {service.name} does not answer after {START_TIMEOUT_S:.0f} s: {said}",
        next_step="gardener service logs",
    )


def _hints(with_manager: ServiceManager) -> list[str]:
    """What the service manager does not do by itself."""
    if with_manager.name != "systemd":
        return ["macOS may ask once whether Python may read your Documents, Desktop or Downloads folder."]
    import getpass
    import subprocess

    user = getpass.getuser()
    try:
        said = subprocess.run(
            ["loginctl", "show-user", user, "--property", "Linger"],
            capture_output=True, text=True, check=False, timeout=5,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return (
        [] if "Linger=yes" in said else [f"It ends when you log out. To keep it running: loginctl enable-linger {user}"]
    )


def _show_files(with_manager: ServiceManager, services: tuple[ServiceDescription, ...], console: Console) -> int:
    if console.as_json:
        files = [{"file": with_manager.file(one), "text": with_manager.text(one)} for one in services]
        console.json({"manager": with_manager.name, "files": files})
        return 0
    for one in services:
        console.note(f"{with_manager.file(one)} would have:")
        console.line(with_manager.text(one).rstrip())
    return 0


def _status(
    with_manager: ServiceManager, services: tuple[ServiceDescription, ...], paths: Paths, console: Console
) -> int:
    """Exit code 0 when every service runs, else 1."""
    from gardener.server.client import find_app
    from gardener.service.manager import WITHOUT_MANAGER, has_manager

    app = find_app(paths)
    states = [(one, with_manager.state(one)) for one in services]
    runs = all(state.pid for _, state in states)
    if console.as_json:
        shown = [{"name": one.name, "label": one.label, **state.as_json()} for one, state in states]
        console.json({"manager": with_manager.name, "services": shown, "url": app.url if app else None})
        return 0 if runs else 1
    for one, state in states:
        if not state.installed:
            console.line(f"{one.name}: not installed")
            continue
        said = f"running, process {state.pid}" if state.pid else "not running"
        console.line(f"{one.name}: {said}" + (f"; last ended: {inert(state.last_end)}" if state.last_end else ""))
        if state.outdated:
            console.note(f"{state.file} is not what this version would write: gardener service install")
        if not state.loaded:
            console.note(f"{with_manager.name} does not start it at log-in: gardener service install")
    if app is not None:
        console.line(
            f"It answers at {app.url}" + ("" if states[0][1].pid else f" (process {app.pid}, started by hand)")
        )
    if not all(state.installed for _, state in states):
        if with_manager.name != "systemd" or has_manager():
            console.note("Install them: gardener service install")
        else:
            console.note(f"No user manager of systemd runs here, so they cannot be services. {WITHOUT_MANAGER}")
    return 0 if runs else 1


def _logs(services: tuple[ServiceDescription, ...], console: Console, lines: int) -> int:
    import os

    if lines < 1:
        raise UsageError("--lines wants a number from 1 on.", next_step="gardener service logs --lines 50")
    ran = [one for one in services if os.path.exists(one.output)]
    if not ran:
        raise ServiceFailed(
            f"Neither app nor monitor has run as a service: there is no {services[0].output}.",
            next_step="gardener logs",
        )
    if console.as_json:
        console.json(
            {"logs": [{"name": one.name, "file": one.output, "lines": _tail(one.output, lines)} for one in ran]}
        )
        return 0
    for one in services:
        if one not in ran:
            console.note(f"{one.output} does not exist: the {one.name} has not run as a service yet.")
            continue
        console.note(f"The last lines of {one.output}; the log proper is beside it:")
        for line in _tail(one.output, lines):
            console.line(inert(line))
    return 0


def _tail(path: str, lines: int, most_bytes: int = 200_000) -> list[str]:
    import os

    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
