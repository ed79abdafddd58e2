"""Issues over HTTP: listed, counted on every page, acknowledged, snoozed; what other processes see of the app."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gardener.health.app import AppState, app_checks
from gardener.health.check import Asked, Finding, run_checks
from gardener.health.issues import Rule
from gardener.health.ledger import record
from gardener.health.rounds import Round
from gardener.paths import Paths
from gardener.server.app_state import ask_app, own_state
from gardener.server.runfile import RunFile, RunningApp
from tests.serving import Served

KEY = ("project", "")


def round_of(served: Served, *findings: Finding) -> None:
    """As the monitor, which is another process, makes one."""
    made = {KEY: Asked(findings, True)}
    record(served.edge.health.database, Round(time.time(), 0.1, findings, made, frozenset({KEY})), Rule(1, 1), pid=1)
    served.edge.health.forget()


def test_an_issue_is_counted_until_somebody_has_taken_note_of_it(served: Served) -> None:
    with served.http() as http:

        def issues() -> dict[str, int]:
            found: dict[str, int] = http.get("/api/pulse").json()["issues"]
            families = text_string_to_metric_families(http.get("/metrics").text)
            samples = {
                sample.labels["severity"]: int(sample.value)
                for family in families
                if family.name == "gardener_issues"
                for sample in family.samples
            }
            assert {severity: count for severity, count in samples.items() if count} == found
            return found

        assert issues() == {} and http.get("/api/issues").json()["issues"] == []
        round_of(
            served,
            Finding("project-folder-gone", "error", "gone", subject="lantern"),
            Finding("sqlite-old", "warning", "old"),
        )
        assert issues() == {"error": 1, "warning": 1}
        listed = http.get("/api/issues").json()
        assert [issue["kind"] for issue in listed["issues"]] == ["project-folder-gone", "sqlite-old"]
        assert listed["issues"][0]["runbook"] == "runbooks/project-folder-gone.md"
        assert listed["monitor"]["pid"] is None and listed["last_round"]["pid"] == 1
        first, second = (issue["id"] for issue in listed["issues"])
        assert http.post(f"/api/issues/{first}/acknowledge").json()["acknowledged_at"]
        assert issues() == {"warning": 1}
        assert http.post(f"/api/issues/{second}/snooze", json={"seconds": 3600}).json()["snoozed_until"] > time.time()
        assert issues() == {}
        assert http.post("/api/issues/999/acknowledge").status_code == 404
        assert http.post(f"/api/issues/{second}/snooze", json={"seconds": 5}).status_code == 422
        round_of(served)
        assert http.get("/api/issues").json()["issues"] == []
        assert [issue["state"] for issue in http.get("/api/issues?days=1").json()["issues"]] == ["resolved"] * 2
        alerts = [alert["change"] for alert in http.get("/api/alerts").json()["alerts"]]
        assert alerts == ["resolved", "resolved", "opened", "opened"]


def test_maintenance_over_http(served: Served) -> None:
    with served.http() as http:
        assert (
            http.post("/api/maintenance", json={"seconds": 3600, "reason": "a new disk"}).json()["ends"] > time.time()
        )
        assert http.get("/api/issues").json()["maintenance"][0]["reason"] == "a new disk"
        assert http.post("/api/maintenance/end").json() == {"ended": 1}


def test_what_the_monitor_learns_of_the_app(served: Served) -> None:
    paths = served.gardener.paths
    asked, own = ask_app(paths), own_state(served.edge)
    assert (asked.url, asked.unready, asked.answers) == (served.url, "", True) == (own.url, own.unready, own.answers)
    assert asked.watching.keys() == own.watching.keys() == {"lantern", "compass"}
    found = {one.check: one for one in run_checks(app_checks(lambda: asked, asked.version, lambda: 1))}
    assert found["app"].severity == "ok"
    outdated = run_checks(app_checks(lambda: asked, "99.0", lambda: 1))[0]
    assert outdated.id == "app-outdated" and "99.0" in outdated.detail


def test_an_app_that_is_not_as_it_should_be(served: Served) -> None:
    def kinds(state: AppState, port: int = 1) -> list[str]:
        return [one.id for one in run_checks(app_checks(lambda: state, "1", lambda: port)) if one.check == "app"]

    assert kinds(AppState()) == [""]
    assert kinds(AppState(expected=True)) == ["app-down"]
    assert kinds(AppState(url="http://x", answers=False)) == ["app-down"]
    assert kinds(AppState(url="http://x", unready="state.db is damaged.")) == ["app-unready"]
    assert kinds(AppState(expected=True), served.app.port) == ["port-taken", "app-down"]
    assert kinds(AppState(), served.app.port) == ["port-taken"]
    (unset, _) = run_checks(app_checks(lambda: AppState(), "1", lambda: served.app.port, lambda: False))
    assert unset.id == "" and f"port {served.app.port} is held by" in unset.detail  # `gardener ui` takes a free one
    assert f"process {os.getpid()}" in unset.detail and unset.fix == "gardener ui"


def test_an_app_that_hangs_is_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gardener.server.app_state.ASK_S", 0.1)
    paths = Paths(str(home))
    run_file = RunFile(paths)
    run_file.claim()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        port = silent.getsockname()[1]
        run_file.publish(RunningApp(os.getpid(), "127.0.0.1", port, time.time(), "1", "token"))
        state = ask_app(paths)
    run_file.withdraw()
    assert state.url.endswith(str(port)) and not state.answers
