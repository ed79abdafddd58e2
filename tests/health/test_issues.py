"""The life of an issue as laws: what opens, what is told, what silence does."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gardener.health import issues
from gardener.health.check import Finding
from gardener.health.issues import Change, Issue, Rule
from gardener.health.kinds import KINDS

SOURCE = ("processor", "")
ROUND_S = 60.0


@dataclass
class Life:
    """Rounds of one kind, as the ledger makes them. Times count from 1,000."""

    rule: Rule
    issue: Issue | None = None
    now: float = 1_000.0
    changes: list[Change] = field(default_factory=list)
    over: list[Issue] = field(default_factory=list)
    """Resolved in silence, and not told yet."""

    def round(self, seen: str, *, maintenance: bool = False, kind: str = "cpu-busy") -> None:
        """`seen` is a severity, "" for none."""
        self.now += ROUND_S
        known = self.issue if self.issue is None or self.issue.state != "resolved" else None
        if self.issue is not None and known is None:
            self.over.append(self.issue)
            self.issue = None
        if seen:
            finding = Finding(kind, seen, f"at {self.now}")  # type: ignore[arg-type]
            self.issue = issues.found(known, finding, SOURCE, self.now, self.rule)
        elif known is not None:
            self.issue = issues.not_found(known, self.now, self.rule)
        for past in list(self.over):
            if not maintenance:
                self.over.remove(past)
                if change := issues.due(past, self.now, maintenance=False):
                    self.changes.append(change)
        if self.issue is not None and (change := issues.due(self.issue, self.now, maintenance=maintenance)):
            self.changes.append(change)
            self.issue = issues.told(self.issue, change)

    @property
    def open(self) -> bool:
        return self.issue is not None and self.issue.state == "open"


rules = st.builds(Rule, st.integers(1, 5), st.integers(1, 5))
rounds = st.lists(st.sampled_from(["", "warning", "error"]), max_size=40)


@given(rules, rounds)
def test_it_opens_and_ends_only_after_so_many_rounds_in_a_row(rule: Rule, seen: list[str]) -> None:
    life = Life(rule)
    for number, severity in enumerate(seen):
        before = life.open
        life.round(severity)
        last = seen[: number + 1]
        if life.open and not before:
            assert all(last[-rule.open_after :]) and len(last) >= rule.open_after
        if before and not life.open:
            assert not any(last[-rule.close_after :])
        if len(last) >= rule.close_after and not any(last[-rule.close_after :]):
            assert not life.open
        if len(last) >= rule.open_after and all(last[-rule.open_after :]):
            assert life.open


@given(rules, rounds)
def test_what_is_told_makes_sense_in_its_order(rule: Rule, seen: list[str]) -> None:
    life = Life(rule)
    for severity in seen:
        life.round(severity)
    told = ""
    for change in life.changes:
        assert (change == "opened") == (told == ""), life.changes
        told = "" if change == "resolved" else change
    assert (told != "") == life.open
    # Told on change only: never more often than the rounds in a row that a change takes allow.
    assert len(life.changes) <= 1 + len(seen) / min(rule)


@given(rules, st.sampled_from(["warning", "error"]), st.integers(1, 30))
def test_what_stays_is_told_once(rule: Rule, severity: str, count: int) -> None:
    life = Life(rule)
    for _ in range(count):
        life.round(severity)
    assert life.changes == (["opened"] if count >= rule.open_after else [])


@given(rules, rounds, st.data())
def test_silence_loses_nothing(rule: Rule, seen: list[str], data: st.DataObject) -> None:
    """After any maintenance, what is told last is how it is."""
    life = Life(rule)
    for severity in seen:
        silent = data.draw(st.booleans())
        before = list(life.changes)
        life.round(severity, maintenance=silent)
        assert not silent or life.changes == before
    life.round("error" if life.open else "")
    told = bool(life.changes) and life.changes[-1] != "resolved"
    assert told == life.open


def test_a_damaged_file_counts_at_once_and_a_busy_processor_does_not() -> None:
    busy, damaged = Life(Rule(3, 3)), Life(Rule(3, 3))
    busy.round("error")
    damaged.round("error", kind="state-damaged")
    assert not busy.open and damaged.open


def test_a_worse_issue_is_told_and_a_better_one_too() -> None:
    life = Life(Rule(2, 3))
    for severity in ("warning", "warning", "error", "warning", "error", "error", "warning", "warning", "warning"):
        life.round(severity)
    assert life.changes == ["opened", "worsened", "improved"]


def test_acknowledged_is_silent_until_worse_or_over() -> None:
    life = Life(Rule(1, 1))
    life.round("warning")
    assert life.issue is not None
    life.issue = issues.acknowledge(life.issue, life.now)
    life.round("warning")
    assert life.changes == ["opened"]
    life.round("error")
    life.round("")
    assert life.changes == ["opened", "worsened", "resolved"]
    life.round("error")
    assert life.issue is not None
    life.issue = issues.acknowledge(life.issue, life.now)
    life.round("warning")
    assert life.changes[3:] == ["opened"]  # that it is better need not be told to who knows of it


def test_snoozed_is_silent_for_a_while_and_then_told_again() -> None:
    life = Life(Rule(1, 1))
    life.round("warning")
    assert life.issue is not None
    life.issue = issues.snooze(life.issue, life.now, life.now + 2.5 * ROUND_S)
    told = []
    for _ in range(5):
        life.round("warning")
        told.append(len(life.changes))
    assert life.changes == ["opened", "reminded"] and told == [1, 1, 2, 2, 2]
    assert life.issue is not None
    life.issue = issues.snooze(life.issue, life.now, life.now + 10 * ROUND_S)
    life.round("")
    assert life.changes[-1] == "resolved"  # that it is over is no nuisance


def test_kinds_are_written_as_they_should_be() -> None:
    for kind in KINDS.values():
        assert kind.id == kind.id.lower().strip("-") and " " not in kind.id and kind.severities
        assert not kind.title.endswith(".") and kind.runbook == f"runbooks/{kind.id}.md"
