"""The second place for backups: there, not there, full of links, damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup.verify import check_hashes
from gardener.backup_service import BackupService
from gardener.errors import BackupDamaged, ConfigError, PathNotFound
from tests.backup.test_create_and_restore import flip


def test_a_disk_that_is_not_there_is_said_and_never_made(full_home: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "gardener"
    with Gardener() as gardener, pytest.raises(ConfigError):
        BackupService(gardener).copy()
    config = full_home / "config.toml"
    config.write_text(f'config_version = 1\n\n[backup]\nsecond_folder = "{disk}"\n')
    with Gardener() as gardener:
        BackupService(gardener).schedule().look()  # makes the first backup; the disk being away does not stop it
        assert len(BackupService(gardener).store.entries()) == 1
        with pytest.raises(PathNotFound):
            BackupService(gardener).copy()
        assert not disk.parent.exists()
        disk.mkdir(parents=True)
        entry, written = BackupService(gardener).copy()
        assert written > 0 and BackupService(gardener).copy()[1] == 0
        assert entry.manifest and not check_hashes(str(disk / entry.id), entry.manifest)
        second = BackupService(gardener).create()
        assert BackupService(gardener).copy()[1] < written / 10
        # What lies there can be restored from: the folder is a store like the other.
        config.write_text(f'config_version = 1\n\n[backup]\nfolder = "{disk}"\n')
    with Gardener() as gardener:
        assert BackupService(gardener).restore().id == second.manifest.id


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
        flip(Path(made.path) / largest)
        BackupService(gardener).copy()
        flip(disk / made.manifest.id / largest)
        assert BackupService(gardener).second
        BackupService(gardener).second.record_proof(made.manifest.id, "hashes", ["damaged"])
        assert BackupService(gardener).copy()[1] > 0
        assert not check_hashes(str(disk / made.manifest.id), made.manifest)
        assert set(os.listdir(disk)) == {"lock", "proofs.json", made.manifest.id}
