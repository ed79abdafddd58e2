"""`gardener health`: issues that are open, and what to do about them; acknowledging, snoozing, silence."""

from __future__ import annotations

from gardener.cli.console import Console, duration, inert, one_line
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.health.database import HealthDatabase
    from gardener.health.issues import Issue
    from gardener.paths import Paths

ACTIONS = ("show", "ack", "snooze", "maintenance", "history", "alerts", "trends", "kinds")
_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
LONGEST_S = 366 * 86_400.0
_MARKS = {"warning": "!!", "error": "XX"}


def configure_health(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener health                      issues that are open now, and the last round of checks
  gardener health ack 12               I know: say nothing more about it until it is worse, or over
  gardener health snooze 12 4h         say it again in four hours if it is still there (m, h, d)
  gardener health maintenance 2h       send no alerts for two hours; issues are recorded all the same
  gardener health maintenance off
  gardener health history              issues of the last 30 days
  gardener health alerts               what was told, and where it could not be delivered
  gardener health trends               what was measured, when the disk is full, how many projects fit
  gardener health trends --days 90
  gardener health kinds                everything that can be found, with its runbook

Exit code of the first: 1 when an issue of severity error is open. All checks, made now: gardener doctor
"""
    parser.add_argument("action", nargs="?", default="show", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("words", nargs="*", metavar="ARGUMENT", help="an issue's number, a time, or off")
    parser.add_argument("--days", type=int, default=7, metavar="N", help="trends: time to look back (default 7)")
    parser.add_argument("--reason", default="", help="maintenance: why, for whoever looks")
    parser.set_defaults(run=health)


def health(args: argparse.Namespace, console: Console) -> int:
    from gardener.health.database import HealthDatabase
    from gardener.paths import Paths

    paths = Paths(console.home)
    database = HealthDatabase(paths.health_db)
    words = list(args.words)
    if args.reason and args.action != "maintenance":
        raise UsageError("--reason goes with maintenance.", next_step="gardener health --help")
    if args.action == "ack":
        return _ack(database, words, console)
    if args.action == "snooze":
        return _snooze(database, words, console)
    if args.action == "maintenance":
        return _maintenance(database, words, args.reason, console)
    if words:
        raise UsageError(f"gardener health {args.action} takes no {words[0]!r}.", next_step="gardener health --help")
    if args.action == "trends":
        from gardener.cli.trends import trends

        return trends(args, console)
    if args.action == "history":
        return _history(database, console)
    if args.action == "alerts":
        return _alerts(database, console)
    return _kinds(console) if args.action == "kinds" else _show(database, paths, console)


def _show(database: HealthDatabase, paths: Paths, console: Console) -> int:
    import time

    from gardener.health.ledger import last_round, outdated_monitor, running_monitor
    from gardener.service.manager import how_to_start_the_monitor

    issues, last, pid, now = database.open_issues(), last_round(database), running_monitor(paths), time.time()
    windows, other = database.windows(now), outdated_monitor(pid, last)
    bad = any(issue.severity == "error" for issue in issues)
    at = last["at"] if last else None
    age = now - at if isinstance(at, float | int) else None
    if console.as_json:
        console.json({
            "ok": not bad, "issues": [issue.as_json() for issue in issues], "last_round": last,
            "monitor": {"pid": pid or None, "last_round_age_s": age, "other_version": other or None},
            "maintenance": [window.as_json() for window in windows],
        })  # fmt: skip
        return 1 if bad else 0
    for issue in issues:
        _print(issue, now, console)
    if age is None:
        console.line("No round of checks has been made yet.")
    elif not issues:
        console.line(f"No issue is open; the last round was {duration(age)} ago.")
    if pid:
        console.note(f"The monitor is process {pid}" + (f"; its last round was {duration(age)} ago." if age else "."))
        note_outdated_monitor(paths, pid, other, console)
    else:
        console.note(f"No monitor runs, so this does not change by itself: {how_to_start_the_monitor()}")
        console.note("All checks, made now: gardener doctor")
    for window in windows:
        why = f": {inert(window.reason)}" if window.reason else ""
        console.note(f"Alerts are silent for another {duration(window.ends - now)}{why}")
    return 1 if bad else 0


def note_outdated_monitor(paths: Paths, pid: int, version: str, console: Console) -> None:
    """One that was started by hand goes on as it was when the program is upgraded."""
    from gardener.health.ledger import restart_monitor
    from gardener.service.manager import is_installed

    if version:
        again = restart_monitor(pid, service=is_installed(paths, "monitor"))
        console.note(f"The monitor, process {pid}, runs version {version}, not the installed one. Restart it: {again}")


def _print(issue: Issue, now: float, console: Console) -> None:
    from gardener.health.issues import snoozed

    quiet = ""
    if issue.acknowledged:
        quiet = ", acknowledged"
    elif snoozed(issue, now):
        quiet = f", snoozed for {duration(issue.snoozed_until - now)}"
    console.line(
        f"{_MARKS[issue.severity]}  {issue.id}  {one_line(issue.label)} (for {duration(now - issue.first_seen)}{quiet})"
    )
    console.line(f"    {inert(issue.detail)}")
    if issue.fix:
        console.line(f"    try: {one_line(issue.fix)}")
    if issue.runbook:
        console.line(f"    more: gardener runbook {issue.kind}")


def _ack(database: HealthDatabase, words: list[str], console: Console) -> int:
    import time

    from gardener.health.issues import acknowledge

    if len(words) != 1:
        raise UsageError("Which issue?", next_step="gardener health")
    changed = database.change(_number(words[0]), lambda issue: acknowledge(issue, time.time()))
    return _changed(changed, f"Issue {changed.id} is acknowledged: {changed.label}", console)


def _snooze(database: HealthDatabase, words: list[str], console: Console) -> int:
    import time

    from gardener.health.issues import snooze

    if len(words) != 2:
        raise UsageError("Which issue, and for how long?", next_step="gardener health snooze 1 4h")
    now, seconds = time.time(), seconds_of(words[1])
    changed = database.change(_number(words[0]), lambda issue: snooze(issue, now, now + seconds))
    return _changed(changed, f"Issue {changed.id} is silent for {duration(seconds)}.", console)


def _changed(issue: Issue, said: str, console: Console) -> int:
    console.line_unless_json(inert(said))
    if console.as_json:
        console.json(issue.as_json())
    return 0


def _maintenance(database: HealthDatabase, words: list[str], reason: str, console: Console) -> int:
    import time

    now = time.time()
    if words == ["off"]:
        ended = database.end_windows(now)
        console.line_unless_json("Alerts are sent again." if ended else "There was no maintenance.")
    elif len(words) == 1:
        window = database.add_window(now, now + seconds_of(words[0]), reason[:200])
        console.line_unless_json(f"No alerts for {duration(window.ends - now)}; issues are recorded all the same.")
    elif words:
        raise UsageError("How long, as 2h, or off?", next_step="gardener health maintenance 2h")
    windows = database.windows(now)
    if console.as_json:
        console.json({"maintenance": [window.as_json() for window in windows]})
    elif not words:
        console.line(
            f"Alerts are silent for another {duration(windows[0].ends - now)}." if windows else "No maintenance."
        )
    return 0


def _history(database: HealthDatabase, console: Console) -> int:
    import time

    now = time.time()
    issues = database.issues_since(now - 30 * 86_400)
    if console.as_json:
        console.json({"issues": [issue.as_json() for issue in issues]})
        return 0
    if not issues:
        console.note("No issue in the last 30 days.")
        return 0
    rows = [
        {
            "id": str(issue.id), "severity": issue.severity, "opened": _when(issue.opened_at),
            "over": _when(issue.resolved_at) if issue.resolved_at else "open", "issue": issue.label,
        }
        for issue in issues
    ]  # fmt: skip
    console.table(rows, ("id", "severity", "opened", "over", "issue"))
    return 0


def _alerts(database: HealthDatabase, console: Console) -> int:
    from gardener.health.sinks import message

    alerts = database.alerts()
    if console.as_json:
        console.json({"alerts": [alert.as_json() for alert in alerts]})
        return 0
    if not alerts:
        console.note("Nothing has been told yet.")
    for alert in alerts:
        console.line(f"{_when(alert.at)}  {one_line(message(alert).title)}")
        for sink, problem in sorted(alert.delivered.items()):
            if problem:
                console.line(f"    not delivered to {sink}: {inert(problem)}")
    return 0


def _kinds(console: Console) -> int:
    from gardener.health.kinds import KINDS

    if console.as_json:
        rows = [
            {"id": kind.id, "title": kind.title, "severities": list(kind.severities), "runbook": kind.runbook}
            for kind in KINDS.values()
        ]
        console.json({"kinds": rows})
        return 0
    console.table([{"id": kind.id, "title": kind.title} for kind in KINDS.values()], ("id", "title"))
    return 0


def _number(word: str) -> int:
    if not word.isascii() or not word.isdecimal() or len(word) > 12:
        raise UsageError(f"{word!r} is not the number of an issue.", next_step="gardener health")
    return int(word)


def seconds_of(word: str) -> float:
    """ "30m", "4h" or "2d" in seconds. Raises UsageError."""
    number, unit = word[:-1], word[-1:]
    if unit in _UNITS and number.isascii() and number.isdecimal() and len(number) < 6:
        seconds = int(number) * _UNITS[unit]
        if 0 < seconds <= LONGEST_S:
            return seconds
    raise UsageError(f"{word!r} is not a time such as 30m, 4h or 2d.", next_step="gardener health --help")


def _when(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
