"""The second place for backups: there, not there, full of links, damaged."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup import manifest, second
from gardener.backup.store import Store
from gardener.backup.verify import check_hashes
from gardener.backup_service import BackupService
from gardener.errors import BackupDamaged, ConfigError, DiskFull, PathNotFound
from gardener.health.backups import backup_checks
from gardener.health.check import run_check
from gardener.paths import ensure_directory
from tests.backup.test_create_and_restore import flip


def test_a_disk_that_is_not_there_is_said_and_never_made(full_home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "gardener"
    with Gardener() as gardener, pytest.raises(ConfigError):
        BackupService(gardener).copy()
    config = full_home / "config.toml"
    config.write_text(f'config_version = 1\n\n[backup]\nsecond_folder = "{disk}"\n')
    with Gardener() as gardener:
        schedule = BackupService(gardener).schedule()
        schedule.look()  # makes the first backup; the disk being away does not stop it
        assert len(BackupService(gardener).store.entries()) == 1
        with pytest.raises(PathNotFound):
            BackupService(gardener).copy()
        assert not disk.parent.exists() and not BackupService(gardener).is_due().copy
        disk.mkdir(parents=True)
        assert BackupService(gardener).is_due().copy
        schedule.look()  # the disk is seen, and nothing else is due
        (entry,) = BackupService(gardener).store.entries()
        written = sum(file.size for file in entry.manifest.files) if entry.manifest else 0
        assert BackupService(gardener).is_due() == (False, False, False)
        schedule.stop()
        assert written > 0 and BackupService(gardener).copy()[1] == 0
        assert entry.manifest and not check_hashes(str(disk / entry.id), entry.manifest)
        newer = BackupService(gardener).create()
        assert BackupService(gardener).copy()[1] < written / 10
        # What lies there can be restored from: the folder is a store like the other.
        config.write_text(f'config_version = 1\n\n[backup]\nfolder = "{disk}"\n')
    with Gardener() as gardener:
        assert BackupService(gardener).restore().id == newer.manifest.id


def test_damage_is_not_copied_and_a_damaged_copy_is_replaced(full_home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (full_home / "config.toml").write_text(f'config_version = 1\n\n[backup]\nsecond_folder = "{disk}"\n')
    with Gardener() as gardener:
        made = BackupService(gardener).create()
        largest = max(made.manifest.files, key=lambda file: file.size).path
        flip(Path(made.path) / largest)
        with pytest.raises(BackupDamaged) as raised:
            BackupService(gardener).copy()
        assert largest in raised.value.message
        assert not [name for name in os.listdir(disk) if name not in ("lock",)]
        due = BackupService(gardener).is_due()  # it is known to be damaged: another is made instead of reading it again
        assert due.backup and not due.copy
        flip(Path(made.path) / largest)
        BackupService(gardener).verify(made.manifest.id)
        BackupService(gardener).copy()
        flip(disk / made.manifest.id / largest)
        assert BackupService(gardener).second
        BackupService(gardener).second.record_proof(made.manifest.id, "hashes", ["damaged"])
        assert BackupService(gardener).is_due().copy
        assert BackupService(gardener).copy()[1] > 0
        assert not check_hashes(str(disk / made.manifest.id), made.manifest)
        assert set(os.listdir(disk)) == {"lock", "proofs.json", made.manifest.id}


def test_a_copy_that_failed_is_tried_again_soon_and_puts_nothing_else_off(
    full_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (full_home / "config.toml").write_text(
        f'config_version = 1\n\n[backup]\nsecond_folder = "{disk}"\nkeep_last = 1\nkeep_daily = 0\n'
        "keep_weekly = 0\nkeep_monthly = 0\n"
    )
    with Gardener() as gardener:
        service = BackupService(gardener)
        free = shutil.disk_usage
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda path: free(path)._replace(free=1_000))
            with pytest.raises(DiskFull, match="1,000 are free"):
                service._do_what_is_due()
        assert service.is_due() == (False, False, True) and not list(disk.glob("0*"))
        (check,) = backup_checks(lambda: service.store, lambda: gardener.settings, lambda: service.second)
        assert [finding.fix for finding in run_check(check).findings] == ["gardener backup copy"]
        (earlier,) = service.store.entries()  # of a home that was lost, in which more had been made
        assert earlier.manifest
        manifest.write(
            ensure_directory(str(disk / "000050-20200101-000000")),
            earlier.manifest._replace(id="000050-20200101-000000", sequence=50, files=()),
        )
        service._do_what_is_due()
        assert service.is_due() == (False, False, False)
        assert [finding.severity for finding in run_check(check).findings] == ["ok"]
        assert (disk / earlier.id / "manifest.json").is_file()


def test_a_disk_that_hangs_is_asked_by_one_thread_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = [], threading.Event()

    def hang(folder: str) -> bool:
        asked.append(threading.current_thread())
        return answers.wait()

    place = Store(str(tmp_path))
    with monkeypatch.context() as hanging:
        hanging.setattr(second, "is_present", hang)
        hanging.setattr(second, "ANSWER_S", 0.01)
        assert not second.lacks(place, "000001-20200101-000000")
        assert not second.lacks(place, "000001-20200101-000000") and len(asked) == 1
        answers.set()
        asked[0].join()
    assert second.lacks(place, "000001-20200101-000000")
