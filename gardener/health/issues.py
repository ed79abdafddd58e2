"""From findings to issues: one that comes and goes within moments is not worth a word, one that stays is told once.

Pure functions of what was known, what a round found, and the time. An issue keeps its number from its first sight to
its end. Kinds whose measurement goes up and down (`Kind.noisy`) open after some rounds in a row and are over after
some; a damaged file counts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from gardener.health.check import BAD, Finding
from gardener.health.kinds import KINDS, Kind, Severity

State = Literal["pending", "open", "resolved"]
Change = Literal["opened", "worsened", "improved", "reminded", "resolved"]
SLACK_S = 60.0
"""A clock may be put back so far by its daily correction without ending a silence."""
_RANK = {"": 0, "warning": 1, "error": 2}


class Rule(NamedTuple):
    """How many rounds in a row make a change."""

    open_after: int
    close_after: int

    def of(self, kind: Kind) -> Rule:
        return self if kind.noisy else Rule(1, 1)


@dataclass(frozen=True, slots=True)
class Issue:
    """Times are Unix times, 0.0 for never."""

    kind: str
    subject: str
    source: tuple[str, str]
    """Name and subject of the check that finds it."""
    severity: Severity
    detail: str
    """As it was last found."""
    fix: str
    first_seen: float
    last_seen: float
    state: State = "pending"
    id: int = 0
    """0 until it is stored."""
    bad: int = 0
    """Rounds in a row that found it."""
    good: int = 0
    """Rounds in a row that did not."""
    other: int = 0
    """Rounds in a row that found it with another severity than the issue has."""
    opened_at: float = 0.0
    resolved_at: float = 0.0
    told: str = ""
    """The severity that was told last; "" when nothing was."""
    acknowledged_at: float = 0.0
    acknowledged: str = ""
    """How severe it was when somebody took note of it; worse than that is told again."""
    snoozed_until: float = 0.0
    snoozed_at: float = 0.0
    """When that was said; by a clock that was ahead, it is over once the clock is right."""
    reminds: bool = False
    """It was told before it was snoozed."""

    @property
    def title(self) -> str:
        return KINDS[self.kind].title if self.kind in KINDS else self.kind

    @property
    def runbook(self) -> str:
        return KINDS[self.kind].runbook if self.kind in KINDS else ""

    @property
    def label(self) -> str:
        return f"{self.title}: {self.subject}" if self.subject else self.title

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id, "kind": self.kind, "subject": self.subject, "title": self.title,
            "severity": self.severity, "state": self.state, "detail": self.detail, "fix": self.fix,
            "runbook": self.runbook, "since": self.first_seen, "opened_at": self.opened_at or None,
            "last_seen": self.last_seen, "resolved_at": self.resolved_at or None,
            "acknowledged_at": self.acknowledged_at or None, "snoozed_until": self.snoozed_until or None,
            "snoozed_at": self.snoozed_at or None,
        }  # fmt: skip


def found(known: Issue | None, finding: Finding, source: tuple[str, str], now: float, rule: Rule) -> Issue:
    """The issue after a round that found it. `known` is the unresolved issue of the same kind and subject, if any."""
    assert finding.severity in BAD
    rule = rule.of(KINDS[finding.id])
    if known is None:
        known = Issue(finding.id, finding.subject, source, finding.severity, "", "", now, now)
    issue = replace(
        known, source=source, detail=finding.detail, fix=finding.fix, last_seen=now, bad=known.bad + 1, good=0
    )
    if issue.state == "pending":
        issue = replace(issue, severity=finding.severity)
        return replace(issue, state="open", opened_at=now) if issue.bad >= rule.open_after else issue
    if finding.severity == issue.severity:
        return replace(issue, other=0)
    worse = _RANK[finding.severity] > _RANK[issue.severity]
    other = issue.other + 1
    if other < (rule.open_after if worse else rule.close_after):
        return replace(issue, other=other)
    return replace(issue, severity=finding.severity, other=0)


def not_found(known: Issue, now: float, rule: Rule) -> Issue | None:
    """The issue after a round that did not find it; None when it was never open, and is forgotten."""
    if known.state == "pending":
        return None
    issue = replace(known, good=known.good + 1, bad=0, other=0)
    rule = rule.of(KINDS[known.kind]) if known.kind in KINDS else Rule(1, 1)
    return replace(issue, state="resolved", resolved_at=now) if issue.good >= rule.close_after else issue


def due(issue: Issue, now: float, *, maintenance: bool) -> Change | None:
    """What there is to tell about an issue now, if anything: what has changed since it was last told.

    Silence puts it off: after a snooze or a maintenance window it is told as it is then.
    """
    if maintenance or issue.state == "pending":
        return None
    if issue.state == "resolved":
        return "resolved" if issue.told or issue.reminds else None
    if snoozed(issue, now):
        return None
    if issue.acknowledged and _RANK[issue.severity] <= _RANK[issue.acknowledged]:
        return None
    if issue.told == issue.severity:
        return None
    if not issue.told:
        return "reminded" if issue.reminds else "opened"
    return "worsened" if _RANK[issue.severity] > _RANK[issue.told] else "improved"


def told(issue: Issue, change: Change) -> Issue:
    """After `change` was told."""
    if change == "resolved":
        return replace(issue, told="", reminds=False)
    return replace(issue, told=issue.severity, reminds=False)


def acknowledge(issue: Issue, now: float) -> Issue:
    """Somebody knows: nothing more is told until it is worse, or over."""
    return replace(
        issue, acknowledged_at=now, acknowledged=issue.severity, told=issue.severity, snoozed_until=0.0, reminds=False
    )


def snoozed(issue: Issue, now: float) -> bool:
    """Whether it is put off now."""
    return silent(issue.snoozed_at, issue.snoozed_until, now)


def silent(begins: float, ends: float, now: float) -> bool:
    """Whether `now` lies in a time of silence. One that is still to come was set by a clock that was ahead: it is over.

    No silence therefore lasts longer than was said, whatever the clock does.
    """
    return begins - SLACK_S <= now < ends


def snooze(issue: Issue, now: float, until: float) -> Issue:
    """Nothing is told before `until`; then it is told again if it is still there."""
    return replace(
        issue, snoozed_at=now, snoozed_until=until, told="", reminds=True, acknowledged="", acknowledged_at=0.0
    )
