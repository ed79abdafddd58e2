"""`gardener health`: what is open, acknowledging, snoozing, silence."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gardener.cli.console import Console
from gardener.cli.upgrade import _note_old_monitor
from gardener.health import ledger
from gardener.health.check import Asked, Finding
from gardener.health.database import HealthDatabase
from gardener.health.issues import Rule
from gardener.health.ledger import monitor_lock, record
from gardener.health.rounds import Round
from gardener.paths import Paths, ensure_directory
from tests.cli.conftest import Gardener as Run

KEY = ("project", "")
HOSTILE = "lamp\x1b[2J\n$(id)"


def round_of(home: Path, *findings: Finding) -> None:
    """As the monitor makes one."""
    made = {KEY: Asked(findings, True)}
    record(HealthDatabase(str(home / "health.db")), Round(time.time(), 0.1, findings, made, frozenset({KEY})),
           Rule(1, 1), pid=os.getpid())  # fmt: skip


def gone(subject: str = HOSTILE) -> Finding:
    return Finding("project-folder-gone", "error", f"/{subject} is gone.", "gardener move lamp NEW_PATH", subject)


def test_before_the_first_round(gardener: Run, home: Path) -> None:
    said = gardener("health")
    assert said.code == 0 and said.out == "No round of checks has been made yet.\n"
    assert "No monitor runs" in said.err and not home.exists()
    assert gardener("health", "alerts").code == gardener("health", "history").code == 0


def test_an_issue_is_shown_acknowledged_snoozed_and_over(gardener: Run, home: Path) -> None:
    round_of(home, gone())
    said = gardener("health")
    assert (
        said.code == 1
        and "gardener move lamp NEW_PATH" in said.out
        and "gardener runbook project-folder-gone" in said.out
    )
    assert "\x1b" not in said.out and "lamp\\x1b[2J\\n$(id)" in said.out
    shown = gardener("health", "--json").json
    (issue,) = shown["issues"]
    assert shown["monitor"]["pid"] is None and not shown["ok"] and shown["last_round"]["findings"][0]["id"]
    number = str(issue["id"])
    assert "is acknowledged" in gardener("health", "ack", number).out
    assert ", acknowledged" in gardener("health").out
    assert gardener("health", "snooze", number, "4h", "--json").json["snoozed_until"] > time.time() + 3_600
    assert "snoozed for" in gardener("health").out
    round_of(home)
    said = gardener("health")
    assert said.code == 0 and "No issue is open; the last round was" in said.out
    assert gardener("health", "history", "--json").json["issues"][0]["state"] == "resolved"
    assert "over" in gardener("health", "history").out.lower()
    assert [alert["change"] for alert in gardener("health", "alerts", "--json").json["alerts"]] == [
        "resolved",
        "opened",
    ]
    assert "Over: A project's folder is gone" in gardener("health", "alerts").out


def test_maintenance(gardener: Run, home: Path) -> None:
    assert gardener("health", "maintenance").out == "No maintenance.\n"
    assert "No alerts for 2 h" in gardener("health", "maintenance", "2h", "--reason", "a new disk").out
    assert "a new disk" in gardener("health").err
    assert gardener("health", "maintenance", "--json").json["maintenance"][0]["reason"] == "a new disk"
    round_of(home, gone())
    assert gardener("health", "alerts", "--json").json["alerts"] == []
    assert "sent again" in gardener("health", "maintenance", "off").out
    assert "There was no" in gardener("health", "maintenance", "off").out


def test_wrong_words(gardener: Run, home: Path) -> None:
    round_of(home, gone())
    for words, code in (
        (("ack", "999"), 4), (("ack",), 2), (("ack", "one"), 2), (("snooze", "1", "never"), 2), (("snooze", "1"), 2),
        (("maintenance", "0h"), 2), (("maintenance", "9999d"), 2), (("show", "1"), 2), (("fly",), 2),
        (("--reason", "x"), 2),
    ):  # fmt: skip
        said = gardener("health", *words)
        assert said.code == code, words
        assert said.err


def test_every_kind_is_listed_with_its_runbook(gardener: Run) -> None:
    kinds = gardener("health", "kinds", "--json").json["kinds"]
    assert len(kinds) > 30 and all(kind["runbook"] == f"runbooks/{kind['id']}.md" for kind in kinds)
    assert "disk-full" in gardener("health", "kinds").out


def test_a_monitor_that_an_upgrade_has_left_behind_is_named(
    gardener: Run, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as older:
        older.setattr(ledger, "__version__", "0.0.9")
        round_of(home)
    ensure_directory(str(home / "run"))
    with monitor_lock(Paths(str(home))):
        pid = os.getpid()
        named = f"process {pid}, runs version 0.0.9, not the installed one. Restart it: kill {pid} && gardener monitor"
        assert named in gardener("health").err and named in gardener("status").err
        assert gardener("health", "--json").json["monitor"]["other_version"] == "0.0.9"
        service = SimpleNamespace(paths=Paths(str(home)))
        for before in (pid, pid + 1, 0):  # the same process as before the upgrade, one that was started anew, none
            _note_old_monitor(service, before, Console())  # type: ignore[arg-type]
        assert capsys.readouterr().err.count("still runs the version from before") == 1
        round_of(home)
        assert "0.0.9" not in gardener("health").err + gardener("status").err
