"""`gardener doctor`: every check, each with the command that helps. Exit code 1 when something is wrong."""

from __future__ import annotations

from gardener.cli.console import Console, inert, one_line
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


_MARKS = {"ok": "ok", "info": "--", "warning": "!!", "error": "XX"}


def configure_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--deep", action="store_true", help="read every index file and vector and compare the hashes")
    parser.set_defaults(run=doctor)


def doctor(args: argparse.Namespace, console: Console) -> int:
    from gardener.checks import all_checks
    from gardener.health.check import run_checks
    from gardener.server.app_state import ask_app

    with open_gardener(console) as gardener:
        findings = run_checks(all_checks(gardener, lambda: ask_app(gardener.paths), deep=args.deep))
    worst = [finding for finding in findings if finding.severity == "error"]
    if console.as_json:
        console.json({"ok": not worst, "findings": [finding.as_json() for finding in findings]})
        return 1 if worst else 0
    said: dict[tuple[str, str], str] = {}
    for finding in findings:
        label = said.setdefault((finding.id, finding.detail), finding.label)
        if finding.severity == "error" and label != finding.label:  # a wrong setting ends many checks
            console.line(f"XX  {one_line(finding.label)}: not checked, for what is said at {one_line(label)}")
            continue
        console.line(f"{_MARKS[finding.severity]}  {one_line(finding.label)}: {inert(finding.detail)}")
        if finding.fix and finding.severity != "ok":
            console.line(f"    try: {inert(finding.fix)}")
        if finding.runbook and finding.fix != f"gardener runbook {finding.id}":
            console.line(f"    more: gardener runbook {finding.id}")
    return 1 if worst else 0
