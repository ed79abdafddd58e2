"""Checks that fail, hang and come late; real threads."""

from __future__ import annotations

import ast
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.errors import DiskFull, GardenerError
from gardener.health.check import Check, Finding, Runner, fine, run_checks
from gardener.health.database import HealthDatabase
from gardener.health.issues import Rule
from gardener.health.kinds import KINDS
from gardener.health.ledger import record
from gardener.health.rounds import Rounds

TOP = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a check that hangs waits for."""
    event = threading.Event()
    yield event
    event.set()


def raises(error: Exception) -> Finding:
    raise error


def test_one_that_fails_or_hangs_spoils_nothing_else(never: threading.Event) -> None:
    checks = [
        Check("disk", lambda: raises(DiskFull("full", next_step="df -h"))),
        Check("hangs", lambda: fine(str(never.wait())), limit_s=0.05),
        Check("breaks", lambda: raises(ZeroDivisionError("1/0"))),
        Check("refuses", lambda: raises(GardenerError("no", next_step="gardener help"))),
        Check("works", lambda: fine("yes")),
    ]
    found = {finding.check: finding for finding in run_checks(checks)}
    assert [found[check.name].id for check in checks] == ["disk-full", *["check-failed"] * 3, ""]
    assert found["disk"].fix == "df -h" and found["hangs"].severity == "warning"
    assert "ZeroDivisionError" in found["breaks"].detail and found["works"].severity == "ok"


def test_a_check_that_hangs_costs_one_thread_however_often_it_is_asked(never: threading.Event) -> None:
    begun: list[int] = []

    def hang() -> Finding:
        begun.append(1)
        never.wait()
        return fine("at last")

    before = sum(thread.name == "health-check" for thread in threading.enumerate())
    runner = Runner()
    hanging, working = Check("hangs", hang, limit_s=0.05), Check("works", lambda: fine("yes"))
    for _ in range(20):
        asked = runner.ask(hanging)
        assert not asked.whole and asked.findings[0].id == "check-failed"
        assert runner.ask(working).findings[0].detail == "yes"
    assert len(begun) == 1
    assert sum(thread.name == "health-check" for thread in threading.enumerate()) - before <= 2
    never.set()
    while runner.ask(hanging).findings[0].detail != "at last":
        pass  # its old thread is just ending
    assert len(begun) == 2


def test_slow_checks_are_made_on_their_clock_and_within_the_budget() -> None:
    now = 0.0
    made: list[str] = []

    def check(name: str, takes: float = 0.0) -> Finding:
        nonlocal now
        now += takes
        made.append(name)
        return fine(name)

    def one(name: str, every: float, takes: float = 0.0) -> Check:
        return Check(name, lambda: check(name, takes), every_s=every)

    rounds = Rounds(clock=lambda: now, budget_s=0.5)
    checks = [one("fast", 0), one("dear", 600, 0.6), one("dearer", 600, 0.6), one("cheap", 600)]
    rounds.make(checks)
    assert made == ["fast"]  # right after the start there is enough to do
    last = rounds.make(checks)
    for _ in range(3):
        now += 60
        made.clear()
        last = rounds.make(checks)
        assert sum(name.startswith("dear") for name in made) <= 1, made
    assert [finding.detail for finding in last.findings] == ["fast", "dear", "dearer", "cheap"]
    made.clear()
    now += 60
    assert list(rounds.make(checks).made) == [("fast", "")] and made == ["fast"]
    now += 600
    made.clear()
    rounds.make(checks)
    assert len(made) >= 2
    assert [finding.check for finding in rounds.make(checks[:1]).findings] == ["fast"]  # the others are no more


def test_a_finding_is_one_of_the_table() -> None:
    with pytest.raises(KeyError):
        Finding("no-such-thing", "error", "x")
    with pytest.raises(ValueError, match="severity"):
        Finding("git-missing", "error", "x")


def test_every_kind_can_be_found() -> None:
    """A kind that no check names is a runbook that nobody is sent to."""
    named = set()
    for path in (TOP / "gardener").rglob("*.py"):
        if path.name != "kinds.py" and path.parent.name != "repair":  # which names them all
            tree = ast.parse(path.read_text())
            named |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} & KINDS.keys()
    from gardener.health.kinds import kind_of_error

    named |= {kind_of_error(code) for code in ("config", "state-damaged", "schema-too-new", "index-damaged", "")}
    assert KINDS.keys() - named == set()


def test_what_is_bad_is_looked_at_again_long_before_its_time() -> None:
    now = 0.0
    said = iter([[Finding("state-damaged", "error", "x")], [], []])
    rounds = Rounds(clock=lambda: now)
    check = [Check("state", lambda: next(said), every_s=21_600)]
    seen = []
    for at in (0.0, 30.0, 90.0, 150.0, 400.0):
        now = at
        seen.append([finding.id for finding in rounds.make(check).findings])
    assert seen == [[], ["state-damaged"], ["state-damaged"], [], []] and len(list(said)) == 1


def test_a_check_without_news_leaves_what_it_found_before() -> None:
    said = iter([[Finding("git-missing", "warning", "x")], None, []])
    rounds = Rounds(clock=lambda: 0.0)
    check = [Check("inspection", lambda: next(said))]
    first, second, third = (rounds.make(check) for _ in range(3))
    assert list(first.made) == list(third.made) == [("inspection", "")] and not second.made
    assert [finding.id for finding in second.findings] == ["git-missing"] and third.findings == ()


def test_a_file_name_that_is_no_utf8_can_be_told(home: Path) -> None:
    name = os.fsdecode(b"caf\xe9 ") + "café"
    check = Check("modes", lambda: Finding("modes-open", "error", f"{name} is open.", f"chmod 600 {name}", name))
    made = Rounds().make([check])
    database = HealthDatabase(str(home / "health.db"))
    (alert,) = record(database, made, Rule(1, 1), pid=1)
    (issue,) = database.open_issues()
    assert alert.subject == issue.subject == "caf\\udce9 café"
