"""Checks of the app: does it answer, is it ready, is it the version that is installed, and should it run at all?"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gardener.health.check import Check, Finding, fine, note
from gardener.health.ledger import restart_monitor
from gardener.health.port_holder import holder_of
from gardener.sizes import counted


@dataclass(frozen=True, slots=True)
class AppState:
    """What somebody who asked the app learned."""

    expected: bool = False
    """It is installed as a service."""
    url: str = ""
    """"" when none runs."""
    version: str = ""
    answers: bool = True
    """Within the time that the asker gave it."""
    unready: str = ""
    """Why /readyz says no; "" when it says yes."""
    next_step: str = ""
    watching: Mapping[str, str] = field(default_factory=dict)
    """How it keeps each project fresh, by name."""


@dataclass(frozen=True, slots=True)
class MonitorState:
    expected: bool
    """It is installed as a service."""
    pid: int
    """0 when none runs."""
    last_round_s: float | None
    """Seconds since it looked last; None before the first time."""
    every_s: float
    other_version: str = ""
    """Which one it runs, if not the installed one."""
    start: str = "gardener service install"
    """What keeps one running on this machine."""


LATE_ROUNDS = 3
"""A monitor that has not looked for so many rounds is not at work, whatever holds its lock."""


def monitor_check(state: Callable[[], MonitorState]) -> Check:
    return Check("monitor", lambda: _monitor(state()))


def _monitor(state: MonitorState) -> Finding:
    start = "gardener service restart"
    if not state.pid:
        if state.expected:
            return Finding("monitor-down", "warning", "The service is installed, and the monitor does not run.", start)
        return note("none runs: nothing is noticed by itself, and no alerts are sent", state.start)
    if state.last_round_s is not None and state.last_round_s > LATE_ROUNDS * state.every_s + 60:
        detail = f"Process {state.pid} has not looked for {state.last_round_s:.0f} s."
        return Finding("monitor-down", "warning", detail, start)
    if state.other_version:
        detail = f"process {state.pid} runs version {state.other_version}, not the installed one"
        return note(detail, restart_monitor(state.pid, service=state.expected))
    return fine(f"process {state.pid}")


def app_checks(
    state: Callable[[], AppState], version: str, port: Callable[[], int], fixed: Callable[[], bool] = lambda: True
) -> list[Check]:
    """`version` is that of the program that asks; `port` the one that the settings give the app; `fixed` says whether
    somebody set it: else `gardener ui` takes a free one when that is taken."""
    return [
        Check("app", lambda: _app(state(), version, port, fixed)),
        Check("watching", lambda: _watching(state().watching)),
    ]


def _app(state: AppState, version: str, port: Callable[[], int], fixed: Callable[[], bool]) -> Finding | list[Finding]:
    if not state.url:
        if is_taken(port()):
            return _not_running_as_taken(state, port(), fixed())
        return _down() if state.expected else note("not running", "gardener ui")
    if not state.answers:
        return Finding("app-down", "error", f"It runs at {state.url} and does not answer.", "gardener service restart")
    if state.unready:
        return Finding("app-unready", "error", state.unready, state.next_step or "gardener doctor")
    if state.version != version:
        detail = f"It runs version {state.version}; installed is {version}."
        return Finding("app-outdated", "warning", detail, "gardener service restart")
    return fine(f"running at {state.url}")


def _not_running_as_taken(state: AppState, port: int, fixed: bool) -> Finding | list[Finding]:
    holder = holder_of(port)
    free = port + 1
    while free < 65_535 and is_taken(free):
        free += 1
    if not state.expected and not fixed:
        return note(f"not running; its port {port} is held by {holder}, so it will take a free one", "gardener ui")
    then = "gardener service restart" if state.expected else "gardener ui"
    taken = Finding(
        "port-taken",
        "warning",
        f"The app does not run, and its port {port} is held by {holder}. End that, or give the app another port.",
        f"gardener config set server.port {free} && {then}",
        str(port),
    )
    return [taken, _down()] if state.expected else taken


def _down() -> Finding:
    return Finding("app-down", "error", "The service is installed, and the app does not run.", "gardener service start")


def is_taken(port: int) -> bool:
    """Whether something listens there on this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
    except OSError:
        return False
    return True


def _watching(states: Mapping[str, str]) -> list[Finding]:
    """Polling is worth a line each, as the user may be able to do something about the reason."""
    polled = [(name, state) for name, state in states.items() if state.startswith("polling")]
    findings = [
        Finding("watch-polling", "warning", state, "gardener config get index.watch", name) for name, state in polled
    ]
    watched = sum(state.startswith("watching") for state in states.values())
    if watched or not findings:
        unwatched = "no project is watched; a search looks by itself"
        detail = f"{counted(watched, 'project')} watched" if watched else unwatched
        findings.insert(0, fine(detail) if watched else note(detail))
    return findings
