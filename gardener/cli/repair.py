"""`gardener repair`: mends what the checks find. Says what it will do, asks, copies first, and looks again."""

from __future__ import annotations

from gardener.cli.console import Console, inert, one_line
from gardener.cli.target import open_gardener
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.health.app import AppState
    from gardener.repair.plan import NotHere, Plan
    from gardener.repair.work import Outcome, Trouble

_DEEP = ("index-damaged", "vectors-damaged")
"""Kinds whose repair looks at every byte, whether --deep was said or not."""


def configure_repair(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener repair                      what could be mended, how, and what could not; changes nothing
  gardener repair --all                asks about each
  gardener repair modes-open --yes     that kind alone, without asking
  gardener repair --all --deep         looks at every byte of every index and vector first

Before something unique is changed it is copied, and the folder with the copy is said. Afterwards the same check is made
again. Exit code 1 when something that was to be mended is still there. The kinds: gardener health kinds
"""
    parser.add_argument("kind", nargs="?", default="", metavar="KIND", help="mend findings of this kind")
    parser.add_argument("--all", action="store_true", help="mend everything that can be mended")
    parser.add_argument(
        "--deep", action="store_true", help="look at every index file and vector, as doctor --deep does"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=repair)


def repair(args: argparse.Namespace, console: Console) -> int:
    from gardener.health.kinds import KINDS
    from gardener.repair.plan import NotHere, Plan
    from gardener.repair.work import find, look_again, mend
    from gardener.repair.work import plan as planned

    if args.kind and args.kind not in KINDS:
        raise UsageError(f"{args.kind!r} is no kind of finding.", next_step="gardener health kinds")
    if args.kind and args.all:
        raise UsageError("KIND and --all exclude each other.", next_step="gardener repair --help")
    dry, deep = args.dry_run or not (args.kind or args.all), args.deep or args.kind in _DEEP
    console.progress("Making every check")
    with open_gardener(console) as gardener:
        found = [one for one in find(gardener, _ask, deep=deep) if args.kind in ("", one.finding.id)]
        plans = [(one, planned(gardener, one)) for one in found]
    able = [plan for _, plan in plans if isinstance(plan, Plan)]
    if able and not (dry or args.yes or console.interactive):
        raise UsageError("Nothing was changed: say --yes, or --dry-run to see what would be done.",
                         next_step=f"gardener repair {args.kind or '--all'} --dry-run")  # fmt: skip
    outcomes: list[Outcome] = []
    over = 0
    for trouble, plan in plans:
        if outcomes and isinstance(plan, Plan):
            now = look_again(lambda: open_gardener(console), _ask, trouble, deep=deep)
            if now is None:
                over += 1
                console.line_unless_json(f"{_name(trouble)}: is over with what was mended before")
                continue
            trouble, plan = now
        _say_plan(console, trouble, plan)
        if dry or isinstance(plan, NotHere):
            continue
        if args.yes or console.confirm("Do it?"):
            outcomes.append(mend(lambda: open_gardener(console), _ask, trouble, plan, deep=deep))
            _say_outcome(console, outcomes[-1])
    mended = sum(outcome.mended for outcome in outcomes)
    ok = dry or (mended + over == len(able) and (bool(able) or not (args.kind and plans)))
    if console.as_json:
        console.json({
            "ok": ok, "dry_run": dry, "findings": [_row(trouble, plan) for trouble, plan in plans],
            "repairs": [outcome.as_json() for outcome in outcomes],
        })  # fmt: skip
    elif not plans:
        console.line(f"Nothing of the kind {args.kind} was found." if args.kind else "Nothing to repair was found.")
    elif dry and able:
        console.note(f"Nothing was changed. To mend it: gardener repair {args.kind or '--all'}")
    return 0 if ok else 1


def _ask(gardener: Gardener) -> AppState:
    from gardener.server.app_state import ask_app

    return ask_app(gardener.paths)


def _row(trouble: Trouble, plan: Plan | NotHere) -> dict[str, object]:
    from gardener.repair.plan import Plan

    if isinstance(plan, Plan):
        return {**trouble.finding.as_json(), "repairable": True, "does": plan.does, "copies": plan.copies}
    return {**trouble.finding.as_json(), "repairable": False, "why_not": plan.why, "instead": plan.command}


def _name(trouble: Trouble) -> str:
    return f"{trouble.finding.id} {one_line(trouble.finding.subject)}".rstrip()


def _say_plan(console: Console, trouble: Trouble, plan: Plan | NotHere) -> None:
    from gardener.projects.names import shell_word
    from gardener.repair.plan import Plan

    if console.as_json and not console.interactive:
        return
    say = console.note if console.as_json else console.line  # what one agrees to has to be read
    say(f"{_name(trouble)}: {inert(trouble.finding.detail)}")
    if isinstance(plan, Plan):
        say(f"    would: {inert(plan.does)}")
        say(f"    first copied: {inert(plan.copies)}")
    else:
        say(f"    not here: {inert(plan.why)}")
        subject = trouble.finding.subject
        of_project = subject and trouble.finding.id.startswith("project-")
        command = plan.command.replace("NAME", shell_word(subject)) if of_project else plan.command
        say(f"    try: {inert(command)}")


def _say_outcome(console: Console, outcome: Outcome) -> None:
    if console.as_json:
        return
    for sentence in outcome.done:
        console.line(f"    done: {inert(sentence)}")
    if outcome.kept:
        console.line(f"    kept: {inert(outcome.kept)}")
    if outcome.mended:
        console.line("    looked again: it is mended")
        return
    console.line(f"    NOT mended: {inert(outcome.problem)}")
    if outcome.next_step:
        console.line(f"    try: {inert(outcome.next_step)}")
