"""Rounds of checks: those that are cheap every time, the others on their own clock and within the round's budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gardener.health.check import BAD, Asked, Check, Finding, Runner

Key = tuple[str, str]

SLOW_BUDGET_S = 0.5
"""Of one round, for the checks on a clock of their own. One that takes longer has the round to itself."""
BAD_AGAIN_S = 120.0
"""The longest time until a check that found something bad is made again: who has mended it wants to see that."""
FIRST_AFTER_S = 30.0
"""How long after the start the first slow check may be made; then there is something to do already."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found. `at` is Unix time, `took_s` seconds."""

    at: float
    took_s: float
    findings: tuple[Finding, ...]
    """The latest of every check, in the order of the checks."""
    made: Mapping[Key, Asked]
    """The checks that were made in this round."""
    keys: frozenset[Key]
    """All checks that there are; what one found that there is no more, as of a removed project, is over."""


class Rounds:
    """Remembers between rounds what is due. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, budget_s: float = SLOW_BUDGET_S) -> None:
        self._clock = clock
        self._budget_s = budget_s
        self._runner = Runner()
        self._begun = clock()
        self._last: dict[Key, tuple[float, Asked]] = {}

    def make(self, checks: Sequence[Check]) -> Round:
        """Asks what is due. Never raises."""
        at, begun = time.time(), self._clock()
        keys = {check.key for check in checks}
        self._last = {key: found for key, found in self._last.items() if key in keys}  # of projects that are gone
        made = {check.key: self._ask(check) for check in checks if not check.every_s}
        slow_begun = self._clock()
        for check in sorted((check for check in checks if check.every_s), key=self._late, reverse=True):
            if self._late(check) < 0 or (self._clock() - slow_begun > self._budget_s):
                break
            made[check.key] = self._ask(check)
        findings = tuple(finding for check in checks for finding in self._findings(check.key))
        made = {key: asked for key, asked in made.items() if not asked.nothing_new}
        return Round(at, self._clock() - begun, findings, made, frozenset(keys))

    def _ask(self, check: Check) -> Asked:
        asked = self._runner.ask(check)
        before = self._last.get(check.key)
        self._last[check.key] = (self._clock(), before[1] if before and asked.nothing_new else asked)
        return asked

    def _findings(self, key: Key) -> tuple[Finding, ...]:
        known = self._last.get(key)
        return known[1].findings if known else ()

    def _late(self, check: Check) -> float:
        """Seconds since it was due, as a share of its period so that no check starves another; negative before."""
        known = self._last.get(check.key)
        since = self._clock() - (known[0] if known else self._begun)
        due = check.every_s if known else min(FIRST_AFTER_S, check.every_s)
        if any(finding.severity in BAD for finding in self._findings(check.key)):
            due = min(due, BAD_AGAIN_S)
        return (since - due) / check.every_s
