"""Checks of the installation and of backups, on real folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gardener import __version__
from gardener.app import Gardener
from gardener.backup import manifest
from gardener.backup.store import Store
from gardener.backup_service import BackupService
from gardener.checks import all_checks
from gardener.health.app import AppState, MonitorState, monitor_check
from gardener.health.backups import backup_checks
from gardener.health.check import Finding, run_check, run_checks
from gardener.health.ledger import outdated_monitor
from gardener.settings import load_settings

DAY_S = 86_400.0


def found(gardener: Gardener, *names: str) -> dict[str, Finding]:
    checks = [check for check in all_checks(gardener, AppState) if check.name in names]
    return {finding.id or finding.check: finding for finding in run_checks(checks)}


def test_a_token_that_others_can_read_is_more_than_a_mode(home: Path) -> None:
    with Gardener(str(home)) as gardener:
        gardener.registry.list()
        (home / "run").mkdir(mode=0o700)
        token = home / "run" / "access.json"
        token.write_text("{}")
        token.chmod(0o600)
        assert found(gardener, "home", "tokens").keys() == {"home", "tokens"}
        token.chmod(0o640)
        assert found(gardener, "home", "tokens").keys() == {"home", "token-exposed"}
        token.chmod(0o600)
        (home / "backups").mkdir(mode=0o755)
        os.chmod(home / "backups", 0o755)
        exposed = found(gardener, "home", "tokens")
        assert exposed.keys() == {"modes-open", "tokens"} and str(home / "backups") in exposed["modes-open"].detail


def test_a_settings_file_that_is_wrong_is_one_finding(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text('[health]\ncpu_warning = "a lot"\n')
    (home / "config.toml").chmod(0o600)
    with Gardener(str(home)) as gardener:
        findings = run_checks(all_checks(gardener, AppState))
    wrong = {finding.id for finding in findings if finding.severity == "error"} - {"disk-full"}
    assert wrong == {"config-invalid"}, findings


def test_backups_that_nobody_proved_and_a_disk_that_is_away(home: Path, tmp_path: Path) -> None:
    with Gardener(str(home)) as gardener:
        gardener.registry.list()
        made = BackupService(gardener).create()
        settings = load_settings(gardener.paths)
        store, away = BackupService(gardener).store, Store(str(tmp_path / "away"))

        def kinds() -> list[str]:
            return [
                one.id for one in run_check(backup_checks(lambda: store, lambda: settings, lambda: away)[0]).findings
            ]

        assert kinds() == ["backup-disk-absent"]
        (tmp_path / "away").mkdir()
        assert kinds() == [""]
        old = made.manifest._replace(created_at=time.time() - 31 * DAY_S)
        (Path(made.path) / manifest.NAME).write_bytes(old.encode())
        assert kinds() == ["backup-old", "backup-unproven"]
        store.record_proof(made.manifest.id, "hashes", [])
        assert kinds() == ["backup-old"]
        store.record_proof(made.manifest.id, "hashes", ["x is missing"])
        assert kinds() == ["backup-damaged"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (MonitorState(False, 0, None, 60), ""),
        (MonitorState(True, 0, None, 60), "monitor-down"),
        (MonitorState(True, 7, 30.0, 60), ""),
        (MonitorState(False, 7, 600.0, 60), "monitor-down"),
    ],
)
def test_a_monitor_that_does_not_look(state: MonitorState, kind: str) -> None:
    assert [one.id for one in run_check(monitor_check(lambda: state)).findings] == [kind]


def test_a_monitor_of_another_version_is_named_with_how_to_restart_it() -> None:
    last: dict[str, object] = {"at": 1.0, "pid": 7, "version": __version__}
    assert outdated_monitor(7, last) == "" and outdated_monitor(8, last | {"version": "0.0.9"}) == ""
    assert outdated_monitor(7, last | {"version": "0.0.9"}) == "0.0.9" and outdated_monitor(7, {"pid": 7}) == "older"
    for service, fix in ((False, "kill 7 && gardener monitor"), (True, "gardener service restart")):
        (found,) = run_check(monitor_check(lambda: MonitorState(service, 7, 30.0, 60, "0.0.9"))).findings  # noqa: B023
        assert found.severity == "info" and "runs version 0.0.9" in found.detail and found.fix == fix
