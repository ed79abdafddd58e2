"""`gardener logs`: the main, error, audit and performance logs."""

from __future__ import annotations

from gardener.cli.console import Console, inert, json_text, one_line
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

NAMES = ("main", "error", "audit", "performance")
MOST_LINES = 100_000


def configure_logs(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener logs                        the last 50 lines of the main log
  gardener logs audit                  who changed what: cli, web, api, mcp
  gardener logs performance -n 200     searches, answers and index updates with their times
  gardener logs error --follow         what goes wrong, as it comes; Ctrl-C ends it
  gardener logs audit --json           one JSON object a line

No log holds a question, an answer or code; secrets are replaced. What a service printed before it could
write a log: gardener service logs
"""
    parser.add_argument("name", nargs="?", choices=NAMES, default="main", metavar="LOG", help=", ".join(NAMES))
    parser.add_argument("--lines", "-n", type=int, default=50, metavar="N", help="how many (default 50)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what is written from now on")
    parser.set_defaults(run=logs)


def logs(args: argparse.Namespace, console: Console) -> int:
    import threading

    from gardener.log_reader import follow, last_lines, log_file, parsed
    from gardener.paths import Paths

    if not 0 <= args.lines <= MOST_LINES:
        raise UsageError(
            f"--lines is between 0 and {MOST_LINES:,}, not {args.lines}.", next_step="gardener logs --lines 200"
        )
    path = log_file(Paths(console.home), args.name)
    lines, end, inode = last_lines(path, args.lines)
    for line in lines:
        _show(console, parsed(line))
    if not lines and not args.follow:
        console.note(f"Nothing in {path} yet.")
    if not args.follow:
        return 0
    console.stdout.flush()
    try:
        for line in follow(path, end, inode, threading.Event()):
            _show(console, parsed(line))
            console.stdout.flush()
    except KeyboardInterrupt:
        console.end_progress()  # how one ends it: nothing is left undone
    return 0


def _show(console: Console, entry: Mapping[str, Any]) -> None:
    if console.as_json:
        console.line(json_text(entry))
        return
    if "unreadable" in entry:
        console.line(f"?  {one_line(str(entry['unreadable']))}")
        return
    who = str(entry.get("actor") or entry.get("component") or "")
    level = str(entry.get("level") or "")
    words = [_local(str(entry.get("time", ""))), f"{who:<4}", str(entry.get("event", ""))]
    if level in ("warning", "error", "critical"):
        words.insert(1, level)
    if entry.get("project"):
        words.append(f"project={entry['project']}")
    fields = entry.get("fields")
    if isinstance(fields, dict):
        words += [f"{name}={_plain(value)}" for name, value in fields.items()]
    console.line("  ".join(one_line(word) for word in words))
    if entry.get("exception"):
        for line in str(entry["exception"]).rstrip().splitlines():
            console.line("    " + inert(line))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{_plain(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


def _local(stamp: str) -> str:
    """The time of a line in this machine's own time; as it stands when it is none of ours."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return stamp
