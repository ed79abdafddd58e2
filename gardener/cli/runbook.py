"""`gardener runbook`: what to do about a trouble, step by step, from the pages that come with this installation."""

from __future__ import annotations

from gardener.cli.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_runbook(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener runbook                    all of them
  gardener runbook disk-full          symptom, check, what to copy first, repair, check again
"""
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one; without it, all are listed")
    parser.set_defaults(run=runbook)


def runbook(args: argparse.Namespace, console: Console) -> int:
    from gardener import runbooks

    if args.name is None:
        found = [runbooks.read(name) for name in runbooks.names()]
        if console.as_json:
            console.json({"folder": runbooks.folder(), "runbooks": [{"name": r.name, "title": r.title} for r in found]})
            return 0
        console.table([{"name": one.name, "title": one.title} for one in found], ["name", "title"])
        return 0
    one = runbooks.read(args.name)
    if console.as_json:
        console.json({"name": one.name, "title": one.title, "text": one.text})
        return 0
    console.line(one.text.rstrip())
    return 0
