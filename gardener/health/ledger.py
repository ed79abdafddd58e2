"""Takes a round into the books: issues open, change and end, and what has to be told becomes alerts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener import __version__
from gardener.health import issues
from gardener.health.check import BAD
from gardener.health.database import Alert, HealthDatabase
from gardener.health.issues import Issue, Rule
from gardener.locks import ProcessLock
from gardener.paths import Paths

if TYPE_CHECKING:
    import sqlite3

    from gardener.health.check import Asked
    from gardener.health.rounds import Round

LAST_ROUND = "last round"
_CLOCK = "clock"
"""[Unix time of the last round, Unix time since when it has gone evenly]."""
GAP_S = 30 * 86_400.0
"""Longer than a machine is usually switched off."""
TRUSTED_S = 3 * 86_400.0
MOST_KEPT = 500
"""Findings of a round that are kept for `gardener health`."""


def record(
    database: HealthDatabase,
    round_: Round,
    rule: Rule,
    *,
    pid: int,
    worth: Callable[[Issue], bool] = lambda issue: True,
) -> list[Alert]:
    """One transaction: the issues as they are after the round. Returns the new alerts, for the issues worth one."""
    now = round_.at
    with database.write() as connection:
        known = database.unresolved(connection)
        before = {issue.id: issue for issue in known}
        # Of one that is over and not told yet nothing changes any more; should it be back, that is another issue.
        over = [issue for issue in known if issue.state == "resolved"]
        after = _after(
            {(issue.kind, issue.subject): issue for issue in known if issue.state != "resolved"}, round_, rule
        )
        maintenance = database.in_maintenance(connection, now)
        alerts = []
        for issue in (*over, *after):
            change = issues.due(issue, now, maintenance=maintenance)
            stored = issues.told(issue, change) if change else issue
            if stored != before.pop(issue.id, None):
                stored = database.store(connection, stored)
            if change and worth(issue):
                alerts.append(database.add_alert(connection, stored, change, now))
        connection.executemany("DELETE FROM issues WHERE id = ?", [(number,) for number in before])  # never were open
        if _clock_is_trusted(database, connection, now):
            database.prune(connection, now)
        findings = [finding.as_json() for finding in round_.findings[:MOST_KEPT]]
        last = {"at": now, "took_s": round(round_.took_s, 3), "pid": pid, "version": __version__, "findings": findings}
        database.keep(connection, LAST_ROUND, last)
    return alerts


def _clock_is_trusted(database: HealthDatabase, connection: sqlite3.Connection, now: float) -> bool:
    """Whether rounds have followed each other for TRUSTED_S without such a gap or a step back: a clock that was set
    years ahead for an hour must not empty the history."""
    before = database.fact_in(connection, _CLOCK)
    last, since = before if isinstance(before, list) and len(before) == 2 else (now, now)
    if not 0 <= now - last < GAP_S:
        since = now
    database.keep(connection, _CLOCK, [now, since])
    return bool(now - since >= TRUSTED_S)


def _after(current: dict[tuple[str, str], Issue], round_: Round, rule: Rule) -> list[Issue]:
    """Every unresolved issue after the round, those that have just been resolved included."""
    seen = set()
    for source, asked in round_.made.items():
        for finding in asked.findings:
            key = (finding.id, finding.subject)
            if finding.severity in BAD and key not in seen:
                seen.add(key)
                current[key] = issues.found(current.get(key), finding, source, round_.at, rule)
    after = []
    for key, issue in current.items():
        if key in seen or not _is_over(round_.made.get(issue.source), issue.source in round_.keys):
            after.append(issue)
        elif (changed := issues.not_found(issue, round_.at, rule)) is not None:
            after.append(changed)
    return after


def _is_over(asked: Asked | None, exists: bool) -> bool:
    """Whether the round says that an issue is not there: its check was made and ended, or is none any more."""
    return not exists if asked is None else asked.whole


def last_round(database: HealthDatabase) -> dict[str, object] | None:
    """{"at", "took_s", "pid", "version", "findings"} of the last round; None before the first."""
    found = database.fact(LAST_ROUND)
    return found if isinstance(found, dict) else None


def monitor_lock(paths: Paths) -> ProcessLock:
    return ProcessLock(os.path.join(paths.run, "monitor.lock"), "gardener monitor", subject="the monitor")


def running_monitor(paths: Paths) -> int:
    """The process that is this home's monitor; 0 when none is."""
    holder = monitor_lock(paths).holder() if os.path.isdir(paths.run) else None
    pid = holder.get("pid") if holder else 0
    return pid if isinstance(pid, int) else 0


def outdated_monitor(pid: int, last: dict[str, object] | None) -> str:
    """The version of the running monitor `pid`, if it is not the one of this program; "" also before its first round.

    "older" for one from before that was kept.
    """
    if not pid or last is None or last.get("pid") != pid:
        return ""
    version = last.get("version", "older")
    return str(version) if version != __version__ else ""


def restart_monitor(pid: int, *, service: bool) -> str:
    """The command that ends a running monitor and starts it anew."""
    return "gardener service restart" if service else f"kill {pid} && gardener monitor"
