"""What is due and who does it; and drills, which must notice what a hash cannot."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup import manifest
from gardener.backup.schedule import Schedule, backup_due, drill_due
from gardener.backup_service import BackupService
from gardener.errors import DiskFull
from gardener.health.backups import backup_checks
from gardener.locks import ProcessLock
from gardener.paths import Paths
from tests.backup.test_create_and_restore import flip

HOUR = 3600.0


def test_sleep_and_clock_jumps_make_exactly_one_backup(full_home: Path) -> None:
    with Gardener() as gardener:
        store = BackupService(gardener).store
        now = time.time()
        assert backup_due(store, HOUR, now)
        assert not backup_due(store, 0, now)
        BackupService(gardener).create()
        now = time.time()
        assert not backup_due(store, HOUR, now)
        assert backup_due(store, HOUR, now + 30 * 24 * HOUR)  # after a month of sleep
        assert backup_due(store, HOUR, now - 24 * HOUR)  # the clock was put back: the newest is from the future
        damaged = BackupService(gardener).create()
        store.record_proof(damaged.manifest.id, "hashes", ["home/state.db: gone"])
        assert not backup_due(store, HOUR, now + 1)  # the one before is good


def test_the_schedule_does_what_is_due_and_nothing_twice(full_home: Path) -> None:
    (full_home / "config.toml").write_text("config_version = 1\n\n[backup]\nkeep_last = 1\nkeep_daily = 0\n")
    with Gardener() as gardener:
        schedule = BackupService(gardener).schedule()
        for _ in range(3):
            schedule.look()
        entries = BackupService(gardener).store.entries()
        assert len(entries) == 1
        assert entries[0].proof and entries[0].proof["depth"] == "drill" and entries[0].proof["ok"]
        assert not drill_due(BackupService(gardener).store, HOUR, time.time())
        other = BackupService(gardener).schedule()
        other.look()  # the first one keeps the schedule
        assert ProcessLock(str(full_home / "run" / "backup-schedule.lock"), "").holder()
        schedule.stop()
        assert not ProcessLock(str(full_home / "run" / "backup-schedule.lock"), "").holder()


def test_the_clock_of_the_schedule_runs_and_stops(home: Path) -> None:
    done = threading.Event()
    schedule = Schedule(Paths(), done.set, look_s=0.05)
    schedule.start()
    try:
        assert done.wait(120)
    finally:
        schedule.stop()


def test_what_failed_is_logged_and_not_tried_again_at_once(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise DiskFull("The disk is full.", next_step="df -h")

    os.makedirs(home / "run")
    schedule = Schedule(Paths(), fail)
    schedule.look()
    schedule.look()
    schedule.stop()
    assert len(tries) == 1
    assert "The disk is full. Next: df -h" in caplog.text


def test_a_drill_compares_with_the_live_index(full_home: Path) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
        done = BackupService(gardener).drill()
        assert not done.problems and done.trial
        assert [(one.project, one.shared, one.changed) for one in done.compared] == [("amber", 1.0, False)]
        context = gardener.registry.get("amber")
        for path in Path(context.root).glob("*.py"):
            original = path.read_text()
            try:
                path.write_text("def nothing_alike():\n    return 0\n")
                gardener.update_index(context)
                changed = BackupService(gardener).drill()
            finally:
                path.write_text(original)
            assert not changed.problems and changed.compared[0].changed and changed.compared[0].shared < 1
            break


def test_a_drill_notices_what_a_hash_cannot(full_home: Path) -> None:
    """A backup whose every hash fits, of an index that does not open."""
    with Gardener() as gardener:
        made = BackupService(gardener).create()
        table = max((file for file in made.manifest.files if "/data/" in file.path), key=lambda file: file.size)
        path = Path(made.path) / table.path
        os.unlink(path)
        path.write_bytes(b"nothing that Lance wrote")
        from gardener.backup.snapshot import hash_file

        digest, size = hash_file(str(path))
        files = tuple(
            file._replace(sha256=digest, size=size) if file.path == table.path else file for file in made.manifest.files
        )
        (Path(made.path) / manifest.NAME).write_bytes(made.manifest._replace(files=files).encode())
        assert not BackupService(gardener).verify(made.manifest.id, "hashes")[1]
        done = BackupService(gardener).drill(made.manifest.id)
        assert done.problems and "amber" in done.problems[0]
        assert not BackupService(gardener).store.find(made.manifest.id).good


def test_a_backup_made_between_the_two_commits_of_an_update_is_good(full_home: Path) -> None:
    """It was called damaged, not restored, and thinned out before older ones."""
    with Gardener() as gardener:
        indexer = gardener.index(gardener.registry.get("amber")).indexer
        path = next(iter(indexer.table.file_hashes()))
        indexer.table.replace_files([path], [])  # a kill comes here
        made = BackupService(gardener).create()
        done = BackupService(gardener).drill(made.manifest.id)
        assert done.trial and 0 < done.trial.chunks < made.manifest.projects[0].chunks
        assert not done.problems


def test_a_flipped_bit_in_the_proofs_costs_a_proof_and_no_backup(full_home: Path) -> None:
    with Gardener() as gardener:
        service = BackupService(gardener)
        made = service.create().manifest.id
        with service.store.lock("test"):
            service.store.record_proof(made, "drill", [])
        path = full_home / "backups" / "proofs.json"
        good = path.read_bytes()
        for key in (b'"at"', b'"depth"', b'"ok"', b'"problems"', b'"drill"', b"true", made.encode()):
            for position in range(good.index(key), good.index(key) + len(key)):
                for bit in range(8):
                    path.write_bytes(good[:position] + bytes([good[position] ^ 1 << bit]) + good[position + 1 :])
                    (entry,) = service.store.entries()
                    assert entry.good
                    drill_due(service.store, HOUR, time.time())
        path.write_bytes(good.replace(b'"at"', b'"au"'))
        assert service.is_due() == (False, True, False)
        assert all(check.run() for check in backup_checks(lambda: service.store, lambda: gardener.settings))


def test_the_doctor_knows_of_backups(full_home: Path) -> None:
    with Gardener() as gardener:
        check = backup_checks(lambda: BackupService(gardener).store, lambda: gardener.settings)[0]

        def severity() -> str:
            found = check.run()
            return (found if not isinstance(found, list) else found[0]).severity

        assert severity() == "info"
        made = BackupService(gardener).create()
        assert severity() == "ok"
        old = made.manifest._replace(created_at=time.time() - 72 * HOUR)
        (Path(made.path) / manifest.NAME).write_bytes(old.encode())
        assert severity() == "warning"
        flip(Path(made.path) / manifest.NAME)
        assert severity() == "error"


def test_prune_makes_sure_of_what_it_will_rely_on(full_home: Path) -> None:
    (full_home / "config.toml").write_text(
        "config_version = 1\n\n[backup]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n"
    )
    from gardener.errors import BackupDamaged, ConfigError

    with Gardener() as gardener:
        first, second = BackupService(gardener).create(), BackupService(gardener).create()
        victim = Path(second.path) / "home" / "state.db"
        data = victim.read_bytes()
        victim.unlink()
        victim.write_bytes(data)
        flip(victim)
        with pytest.raises(BackupDamaged):
            BackupService(gardener).prune()
        assert [entry.id for entry in BackupService(gardener).store.entries()] == [
            second.manifest.id,
            first.manifest.id,
        ]
        third = BackupService(gardener).create()
        gone = BackupService(gardener).prune()
        assert first.manifest.id in {entry.id for entry in gone}
        assert BackupService(gardener).store.find().id == third.manifest.id
    (full_home / "config.toml").write_text(
        (full_home / "config.toml").read_text().replace("keep_last = 1", "keep_last = 0")
    )
    with Gardener() as gardener, pytest.raises(ConfigError):
        BackupService(gardener).prune()
