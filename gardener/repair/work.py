"""Finds what is wrong, plans, mends, and asks the same checks again: only they say that it is mended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from gardener.errors import GardenerError
from gardener.repair.plan import Aside, NotHere, Plan
from gardener.repair.table import REPAIRS

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.health.app import AppState
    from gardener.health.check import Finding

_log = logging.getLogger("gardener.repair")
ASK_AGAIN_S = 0.5

Open = Callable[[], "Gardener"]
Ask = Callable[["Gardener"], "AppState"]


class Trouble(NamedTuple):
    """One thing that is wrong, and every check that said so."""

    finding: Finding
    checks: frozenset[str]

    @property
    def key(self) -> tuple[str, str]:
        return (self.finding.id, self.finding.subject)


class Outcome(NamedTuple):
    trouble: Trouble
    mended: bool
    """The checks that had found it find it no more."""
    done: list[str]
    kept: str
    """The folder with what was there before; "" when nothing had to be kept."""
    problem: str
    """What ended the repair, or what the checks say now; "" when it is mended."""
    next_step: str

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.trouble.finding.id, "subject": self.trouble.finding.subject, "mended": self.mended,
            "done": self.done, "kept": self.kept or None, "problem": self.problem, "next_step": self.next_step,
        }  # fmt: skip


def find(gardener: Gardener, ask: Ask, *, deep: bool = False, only: Iterable[str] | None = None) -> list[Trouble]:
    """Everything that is wrong now, in the order of the checks; `only` names the checks that are made.

    `deep` reads every index file and vector.
    """
    return _troubles(_findings(gardener, ask, deep, only))


def _findings(gardener: Gardener, ask: Ask, deep: bool, only: Iterable[str] | None) -> list[Finding]:
    from gardener.checks import all_checks
    from gardener.health.check import run_checks

    checks = all_checks(gardener, lambda: ask(gardener), deep=deep)
    return run_checks(checks if only is None else [check for check in checks if check.name in only])


def _troubles(findings: list[Finding]) -> list[Trouble]:
    from gardener.health.check import BAD

    found: dict[tuple[str, str], Trouble] = {}
    for finding in findings:
        if finding.severity in BAD:
            known = found.get((finding.id, finding.subject))
            checks = (known.checks if known else frozenset()) | {finding.check}
            found[finding.id, finding.subject] = Trouble(known.finding if known else finding, checks)
    return list(found.values())


def plan(gardener: Gardener, trouble: Trouble) -> Plan | NotHere:
    """What would be done, or why nothing. Changes nothing."""
    entry = REPAIRS[trouble.finding.id]
    if isinstance(entry, NotHere):
        return entry
    try:
        return entry(gardener, trouble.finding)
    except GardenerError as error:
        return NotHere(error.message, error.next_step)


def look_again(
    open_gardener: Open, ask: Ask, trouble: Trouble, *, deep: bool = False
) -> tuple[Trouble, Plan | NotHere] | None:
    """The trouble as it is now, with a new plan; None when it is over, as what was mended before may have caused it."""
    still = _still(open_gardener, ask, trouble, deep)
    if still is None:
        return None
    now = trouble if still.id == "check-failed" else trouble._replace(finding=still)
    with open_gardener() as gardener:
        return now, plan(gardener, now)


def mend(open_gardener: Open, ask: Ask, trouble: Trouble, agreed: Plan, *, deep: bool = False) -> Outcome:
    """Carries out a plan and looks again, each with a Gardener of its own: a repair may replace what one has open."""
    with open_gardener() as gardener:
        aside = Aside(gardener.paths, trouble.finding.id)
        try:
            done = agreed.run(gardener, aside)
        except GardenerError as error:
            _log.warning("repair.failed", extra={"fields": {"id": trouble.finding.id, "error": error.code}})
            return Outcome(trouble, False, [], aside.path, error.message, error.next_step)
    still = _still(open_gardener, ask, trouble, deep)
    until = time.monotonic() + agreed.settles_s
    while still is not None and time.monotonic() < until:
        time.sleep(ASK_AGAIN_S)  # a process is coming up; there is nothing that would tell
        still = _still(open_gardener, ask, trouble, deep)
    _log.info("repair.done", extra={"fields": {"id": trouble.finding.id, "mended": still is None}})
    if still is None:
        return Outcome(trouble, True, done, aside.path, "", "")
    return Outcome(trouble, False, done, aside.path, f"It is still there: {still.detail}", still.fix)


def _still(open_gardener: Open, ask: Ask, trouble: Trouble, deep: bool) -> Finding | None:
    with open_gardener() as gardener:
        found = find(gardener, ask, deep=deep, only=trouble.checks)
    same = (one.finding for one in found if one.key == trouble.key)
    # A check that cannot be made any more has not said that all is well.
    failed = (one.finding for one in found if one.finding.id == "check-failed")
    return next(same, next(failed, None))
