"""Encrypted archives: with the key, without it, with another, and damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup.encryption import is_encrypted, key_for_writing
from gardener.backup_service import BackupService
from gardener.errors import BackupDamaged, ConfigError
from tests.backup.test_create_and_restore import flip


def test_only_the_holder_of_the_key_reads_it(full_home: Path, tmp_path: Path) -> None:
    bundle, key_file = tmp_path / "all.age", tmp_path / "key"
    command = [sys.executable, "-m", "gardener.cli.main", "backup", "export", str(bundle), "--key-file", str(key_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    secret = key_file.read_text().strip()
    assert secret in done.stderr and secret not in done.stdout
    assert key_file.stat().st_mode & 0o777 == bundle.stat().st_mode & 0o777 == 0o600
    assert is_encrypted(str(bundle)) and b"Where are orders" not in bundle.read_bytes()
    assert "backup-scratch" not in os.listdir(full_home / "run")
    assert key_for_writing(str(key_file)) == (secret, False)

    other = tmp_path / "other"
    key_for_writing(str(other))
    with Gardener(str(tmp_path / "second")) as gardener:
        with pytest.raises(BackupDamaged):
            BackupService(gardener).import_archive(str(bundle), key_file=str(other))
        with pytest.raises(ConfigError):
            BackupService(gardener).import_archive(str(bundle), key_file=str(tmp_path / "nothing"))
        key_file.write_text("AGE-SECRET-KEY-1NONSENSE")
        with pytest.raises(ConfigError):
            BackupService(gardener).import_archive(str(bundle), key_file=str(key_file))
        key_file.write_text(f"# my key, by hand\n{secret.lower()}\n")
        assert not BackupService(gardener).store.entries()
        entry, _ = BackupService(gardener).import_archive(str(bundle), key_file=str(key_file))
        assert BackupService(gardener).restore(entry.id).trial.conversations == 1


@pytest.mark.parametrize("at", [0.0, 0.01, 0.5, 0.99])
def test_a_flipped_bit_is_refused(full_home: Path, tmp_path: Path, at: float) -> None:
    bundle = tmp_path / "all.age"
    key = key_for_writing(str(tmp_path / "key"))
    with Gardener() as gardener:
        BackupService(gardener).export(str(bundle), key=key)
        flip(bundle, at)
        before = len(BackupService(gardener).store.entries())
        with pytest.raises(BackupDamaged) as raised:
            BackupService(gardener).import_archive(str(bundle), key_file=str(tmp_path / "key"))
        assert str(bundle) in raised.value.message
        assert len(BackupService(gardener).store.entries()) == before
        assert "backup-scratch" not in os.listdir(full_home / "run")


def test_without_a_keyring_the_key_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backends.fail import Keyring

    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    try:
        with pytest.raises(ConfigError) as raised:
            key_for_writing()
    finally:
        keyring.set_keyring(before)
    assert "--key-file" in raised.value.next_step
