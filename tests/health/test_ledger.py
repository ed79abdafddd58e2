"""Rounds taken into a real health.db: numbers, alerts, silence, damage, modes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gardener.errors import NotFoundError, SchemaTooNew, StateDamaged
from gardener.health import issues
from gardener.health.check import Asked, Finding, fine, run_checks
from gardener.health.database import HealthDatabase, aside_check, asides
from gardener.health.issues import Rule
from gardener.health.ledger import last_round, record
from gardener.health.rounds import Round

PROJECT, MEMORY = ("project", ""), ("memory", "")
GONE = Finding("project-folder-gone", "error", "/x is gone.", "gardener move x NEW_PATH", "x", check="project")
SHORT = Finding("memory-short", "warning", "81 % in use", check="memory")


class Books:
    def __init__(self, path: Path) -> None:
        self.database = HealthDatabase(str(path))
        self.now = 1_000_000.0

    def round(self, *, whole: bool = True, keys: frozenset[tuple[str, str]] | None = None, **made: object) -> list[str]:
        """Takes in a round of the checks `project` and `memory`, each with a finding or None; returns what is told."""
        self.now += 60
        asked = {
            (name, ""): Asked((finding if isinstance(finding, Finding) else fine("good"),), whole)
            for name, finding in made.items()
        }
        known = frozenset({PROJECT, MEMORY}) if keys is None else keys
        findings = tuple(finding for one in asked.values() for finding in one.findings)
        done = record(self.database, Round(self.now, 0.1, findings, asked, known), Rule(3, 2), pid=7)
        return [f"{alert.change} {alert.kind} {alert.subject}".strip() for alert in done]


@pytest.fixture
def books(home: Path) -> Books:
    return Books(home / "health.db")


def test_one_number_as_long_as_it_lasts(books: Books) -> None:
    assert books.round(project=GONE, memory=SHORT) == ["opened project-folder-gone x"]
    (first,) = books.database.open_issues()
    for _ in range(2):
        told = books.round(project=GONE, memory=SHORT)
    assert told == ["opened memory-short"]
    assert [issue.id for issue in books.database.open_issues()] == [first.id, first.id + 1]  # errors first
    assert books.round(project=None, memory=None) == ["resolved project-folder-gone x"]
    assert set(books.round(project=GONE, memory=None)) == {"opened project-folder-gone x", "resolved memory-short"}
    again = next(issue for issue in books.database.open_issues() if issue.kind == GONE.id)
    assert again.id > first.id + 1
    assert [issue.id for issue in books.database.issues_since(0)] == [again.id, first.id + 1, first.id]
    kept = last_round(books.database)
    assert kept is not None and kept["at"] == books.now and kept["pid"] == 7


def test_a_check_that_was_not_made_or_failed_says_nothing_of_its_issues(books: Books) -> None:
    books.round(project=GONE, memory=None)
    assert books.round(memory=None) == []
    failed = Finding("check-failed", "warning", "hangs", subject="project", check="project")
    for _ in range(5):
        books.round(project=failed, whole=False)
    assert {issue.kind for issue in books.database.open_issues()} == {GONE.id, "check-failed"}
    books.round(project=None)
    assert books.round(project=None) == ["resolved check-failed project"]
    assert books.database.open_issues() == []


def test_what_a_check_found_that_there_is_no_more_is_over(books: Books) -> None:
    books.round(project=GONE)
    assert books.round(memory=None, keys=frozenset({MEMORY})) == ["resolved project-folder-gone x"]


def test_maintenance_is_silent_and_nothing_is_lost(books: Books) -> None:
    books.database.add_window(books.now, books.now + 200, "a new disk")
    for _ in range(3):
        assert books.round(project=GONE) == []
    assert [issue.kind for issue in books.database.open_issues()] == [GONE.id]
    assert [window.reason for window in books.database.windows(books.now)] == ["a new disk"]
    assert books.round(project=GONE) == ["opened project-folder-gone x"]
    books.database.add_window(books.now, books.now + 100, "")
    assert books.database.end_windows(books.now) == 1 and books.database.windows(books.now) == []


def test_acknowledged_and_snoozed_are_kept(books: Books) -> None:
    books.round(project=GONE)
    number = books.database.open_issues()[0].id
    books.database.change(number, lambda issue: issues.snooze(issue, books.now, books.now + 90))
    assert books.round(project=GONE) == []
    assert books.round(project=GONE) == ["reminded project-folder-gone x"]
    books.database.change(number, lambda issue: issues.acknowledge(issue, books.now))
    assert books.database.open_issues()[0].acknowledged == "error"
    with pytest.raises(NotFoundError):
        books.database.change(number + 100, lambda issue: issue)
    assert books.round(project=None) == ["resolved project-folder-gone x"]
    with pytest.raises(NotFoundError):
        books.database.change(number, lambda issue: issue)


def test_silence_that_a_wrong_clock_began_is_over_when_it_is_right(books: Books) -> None:
    books.round(project=GONE)
    (issue,) = books.database.open_issues()
    ahead = books.now + 5 * 365 * 86_400
    books.database.change(issue.id, lambda issue: issues.snooze(issue, ahead, ahead + 4 * 3_600))
    books.database.add_window(ahead, ahead + 7_200, "")
    assert books.database.windows(books.now) == [] and books.round(project=GONE) == ["reminded project-folder-gone x"]
    here = books.now
    books.database.change(issue.id, lambda issue: issues.snooze(issue, here, here + 3_600))
    books.now -= 100  # corrected by a little, and then the next round
    assert books.round(project=GONE) == [] and issues.snoozed(books.database.open_issues()[0], books.now)


def test_one_of_before_a_column_was_added_is_taken_over(books: Books, home: Path) -> None:
    books.round(project=GONE)
    with closing(sqlite3.connect(home / "health.db")) as database:
        database.execute("ALTER TABLE issues DROP COLUMN snoozed_at")
    (issue,) = HealthDatabase(str(home / "health.db")).open_issues()
    assert issue.kind == GONE.id and issue.snoozed_at == 0.0
    assert books.round(project=None) == ["resolved project-folder-gone x"]


def test_deliveries_and_what_is_forgotten(books: Books) -> None:
    books.round(project=GONE)
    (alert,) = books.database.alerts()
    books.database.delivered(alert.id, "webhook", "it answers with status 500")
    books.database.delivered(alert.id, "desktop", "")
    assert books.database.alerts()[0].delivered == {"webhook": "it answers with status 500", "desktop": ""}
    books.round(project=None)
    told = len(books.database.alerts())
    right = books.now
    for jump in (91, 10_000, -10_000):  # a clock that is wrong for a while makes nothing old
        books.now += jump * 86_400
        books.round(memory=None)
        books.round(memory=None)
        assert len(books.database.alerts()) == told and books.database.issues_since(0)
    books.now = right + 91 * 86_400
    for _ in range(5):
        books.round(memory=None)
        books.now += 86_000
    assert books.database.alerts() == [] and books.database.issues_since(0) == []


def test_the_file_is_private_and_a_damaged_one_is_put_aside(books: Books, home: Path) -> None:
    mask = os.umask(0)
    try:
        books.round(project=GONE)
    finally:
        os.umask(mask)
    assert os.stat(home / "health.db").st_mode & 0o777 == 0o600
    (home / "health.db").write_bytes(b"not a database" * 1000)
    assert HealthDatabase(str(home / "health.db")).open_issues() == []
    assert books.round(project=GONE) == ["opened project-folder-gone x"]
    assert len(list(home.glob("health.db.damaged-*"))) == 1
    with (home / "health.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 30_000)
    with pytest.raises(StateDamaged):
        books.database.open_issues()
    assert books.database.open_issues() == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE issues SET severity = 'errop'", "UPDATE issues SET told = 'errob'", "UPDATE issues SET state = 'opem'",
        "UPDATE issues SET snoozed_until = 'x'", "UPDATE issues SET detail = CAST(X'ff41' AS TEXT)",
        "UPDATE alerts SET change = 'opemed'", "UPDATE alerts SET at = 'x'", "UPDATE alerts SET delivered = '{'",
        "UPDATE facts SET value = '{'", "DROP TABLE maintenance", "PRAGMA user_version = 0",
    ],
)  # fmt: skip
def test_damage_that_sqlite_does_not_notice_blinds_it_for_one_round(books: Books, home: Path, damage: str) -> None:
    books.round(project=GONE)
    with closing(sqlite3.connect(home / "health.db", isolation_level=None)) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(damage)
    other = HealthDatabase(str(home / "health.db"))
    for _ in range(2):
        with suppress(StateDamaged):
            assert last_round(other) is None or other.alerts() is not None
            books.round(project=GONE)
    assert len(list(home.glob("health.db.damaged-*"))) == 1
    assert [issue.kind for issue in books.database.open_issues()] == [GONE.id]
    assert [alert.change for alert in books.database.alerts()] == ["opened"]


def test_two_that_find_the_damage_put_one_file_aside(books: Books, home: Path) -> None:
    books.round(project=GONE)
    other = HealthDatabase(books.database.path)
    with pytest.raises(StateDamaged), other.read() as connection:
        with closing(sqlite3.connect(books.database.path, isolation_level=None)) as database:
            database.execute("DROP TABLE facts")
        with pytest.raises(StateDamaged):
            last_round(books.database)
        assert books.round(project=GONE) == ["opened project-folder-gone x"]  # in a new file
        connection.execute("SELECT * FROM facts").fetchone()
    assert [issue.kind for issue in books.database.open_issues()] == [GONE.id]
    assert len(list(home.glob("health.db.damaged-*"))) == 1


def test_one_of_a_newer_version_is_left_alone(home: Path) -> None:
    home.mkdir()
    with sqlite3.connect(home / "health.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SchemaTooNew, match="schema 99"):
        HealthDatabase(str(home / "health.db")).open_issues()


def test_the_monitor_is_not_blinded_by_a_flipped_version_and_says_so(books: Books, home: Path) -> None:
    path = str(home / "health.db")
    check = aside_check(path)
    books.round(project=GONE)
    assert run_checks([check])[0].severity == "ok"
    books.database = HealthDatabase(path, begins_anew=True)
    for _ in range(2):
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 65537")
        if not asides(path):
            assert books.round(project=GONE) == ["opened project-folder-gone x"]
            (kept,) = asides(path)
    with pytest.raises(SchemaTooNew):  # so soon, it is a newer version that writes it
        books.round(project=GONE)
    (finding,) = run_checks([check])
    assert finding.id == "health-damaged" and kept in finding.detail and asides(path) == [kept]
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT kind FROM issues").fetchall() == [(GONE.id,)]


def test_reading_makes_no_file(home: Path) -> None:
    database = HealthDatabase(str(home / "health.db"))
    assert database.open_issues() == [] and database.alerts() == [] and last_round(database) is None
    assert not home.exists()
