"""Backups of one home, as the command line, the app and the schedule use them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from gardener.audit import record
from gardener.backup import archive, encryption, partial, second, snapshot
from gardener.backup.drill import Drill, run_drill
from gardener.backup.partial import RestoredPart
from gardener.backup.restore import Restored, checked, confirm, restore_home, undo
from gardener.backup.retention import Candidate, Policy, to_delete
from gardener.backup.schedule import Schedule, backup_due, drill_due
from gardener.backup.store import Entry, Store
from gardener.backup.verify import Depth, Trial, check_hashes, check_present, refuse_newer, trial
from gardener.errors import BackupDamaged, ConfigError, PathNotFound
from gardener.paths import Paths

if TYPE_CHECKING:
    from gardener.app import Gardener

_log = logging.getLogger("gardener.backup")

__all__ = ["BackupService", "Drill", "Restored", "RestoredPart", "Trial"]


class Due(NamedTuple):
    """What is to be done now. `copy` says that the newest backup is not in the second place, which is there."""

    backup: bool
    drill: bool
    copy: bool


class BackupService:
    """Opens nothing of the live home that a restore would have to replace."""

    def __init__(self, gardener: Gardener) -> None:
        self._gardener = gardener
        self.paths: Paths = gardener.paths

    @property
    def store(self) -> Store:
        """The folder of the setting backup.folder, else backups/ in the home.

        With a configuration file that cannot be read it is the latter: restoring may be what repairs it.
        """
        try:
            folder = self._gardener.settings.text("backup.folder")
        except ConfigError:
            folder = ""
        return Store(os.path.expanduser(folder) if folder else self.paths.backups)

    def create(self, project: str = "") -> snapshot.Created:
        """A backup of the home, or of the project with that name or id."""
        project_id = self._gardener.registry.get(project).id if project else ""
        return snapshot.create(self.paths, self.store, project=project_id, remote_index=self._remote)

    def verify(self, wanted: str = "", depth: Depth = "hashes") -> tuple[Entry, list[str], Trial | None]:
        """Tries a backup ("" is the newest good one) and records the result. Returns what is wrong with it."""
        store = self.store
        with store.lock("gardener backup verify"):
            entry = store.find(wanted)
            tried = None
            if entry.manifest is None:
                return entry, [entry.problem], None
            refuse_newer(entry.manifest)
            problems = (check_present if depth == "present" else check_hashes)(entry.path, entry.manifest)
            if depth == "restore" and not problems:
                tried = trial(entry.path, entry.manifest, os.path.join(store.folder, ".making-trial"))
                problems = tried.problems
            store.record_proof(entry.id, depth, problems)
            return entry, problems, tried

    def restore(self, wanted: str = "") -> Restored:
        """Puts the whole home back; open it anew afterwards, settings included. Raises as `restore_home` does."""
        self._gardener.close()
        restored = restore_home(self.paths, self.store, wanted)
        record(self.paths.logs, "home.restored", backup=restored.id)
        return restored

    def restore_project(self, project: str, wanted: str = "", root: str = "") -> RestoredPart:
        """Puts one project back beside the others. Raises as gardener.backup.partial.restore_project."""
        root = os.path.realpath(os.path.expanduser(root)) if root else ""
        if root and not os.path.isdir(root):
            raise PathNotFound(f"There is no folder {root}.", next_step="gardener backup --help")
        return partial.restore_project(
            self.paths, self.store, self._gardener.state, project, wanted, root=root, remote=self._remote
        )

    def restore_conversation(self, conversation: str, wanted: str = "") -> RestoredPart:
        """Puts one conversation back. Raises as gardener.backup.partial.restore_conversation."""
        return partial.restore_conversation(
            self.paths, self.store, self._gardener.state, conversation, wanted, remote=self._remote
        )

    def export(
        self, path: str, wanted: str = "", project: str = "", *, key: encryption.Key | None = None
    ) -> tuple[Entry, int]:
        """Writes a backup to one file and tells its size; of a project, or without a good backup, makes one first.

        With a `key` only its holder can read the file.
        """
        store = self.store
        if not wanted and (project or not any(entry.protects for entry in store.entries())):
            wanted = self.create(project).manifest.id
        with store.lock("gardener backup export"), snapshot.scratch_folder(self.paths) as scratch:
            entry = store.find(wanted)
            size = archive.write(entry, checked(store, entry), path, key, scratch)
        record(self.paths.logs, "backup.exported", backup=entry.id, file=path, encrypted=key is not None)
        return entry, size

    def import_archive(self, path: str, root: str = "", key_file: str = "") -> tuple[Entry, RestoredPart | None]:
        """Takes an archive into the store. That of one project is restored from at once: it comes to the others.

        `key_file` holds the key of an encrypted one, if the keyring does not.
        """
        with snapshot.scratch_folder(self.paths) as scratch:
            if encryption.is_encrypted(path):
                plain = os.path.join(scratch, "plain")
                encryption.decrypt(path, plain, key_file)
                entry = archive.read(plain, self.store, source=path)
            else:
                entry = archive.read(path, self.store)
        assert entry.manifest is not None
        record(self.paths.logs, "backup.imported", backup=entry.id, file=path)
        if entry.manifest.kind != "project":
            return entry, None
        return entry, self.restore_project(entry.manifest.projects[0].id, entry.id, root)

    @property
    def second(self) -> Store | None:
        """The place of the setting backup.second_folder; None without one. It need not be connected."""
        folder = self._gardener.settings.text("backup.second_folder")
        return Store(os.path.expanduser(folder)) if folder else None

    def copy(self, wanted: str = "") -> tuple[Entry, int]:
        """Copies a backup to the second place and thins that out too. Returns it and the bytes written.

        Raises ConfigError when no second place is set, and as gardener.backup.second.copy.
        """
        target = self.second
        if target is None:
            raise ConfigError(
                "No second folder for backups is set.",
                next_step="gardener config set backup.second_folder /Volumes/DISK/gardener",
            )
        store = self.store
        entry = store.find(wanted)
        try:
            written = second.copy(entry, target)
        except BackupDamaged as error:  # known from now on, so that another is made and this one is not read again
            with store.lock("gardener backup copy"):
                store.record_proof(entry.id, "hashes", [error.message])
            raise
        self._prune(target, dry_run=False, spared=entry.id)
        return entry, written

    def drill(self, wanted: str = "") -> Drill:
        """Restores a backup into a scratch folder, queries it and compares. Raises as `run_drill`."""
        return run_drill(self.paths, self.store, wanted)

    def schedule(self) -> Schedule:
        """Makes backups, thins them out and drills them as the settings say, once it is started."""
        return Schedule(self.paths, self._do_what_is_due)

    def is_due(self) -> Due:
        """Told from the backups that there are; imports nothing heavy."""
        settings, store = self._gardener.settings, self.store
        hours, days = settings.integer("backup.every_hours"), settings.integer("backup.drill_days")
        backup = os.path.exists(self.paths.state_db) and backup_due(store, hours * 3600, time.time())
        return Due(backup, drill_due(store, days * 86_400, time.time()), self._copy_due(store))

    def _copy_due(self, store: Store) -> bool:
        target = self.second
        newest = next((entry for entry in store.entries() if entry.protects), None) if target else None
        return target is not None and newest is not None and second.lacks(target, newest.id)

    def _do_what_is_due(self) -> None:
        if self.is_due()[0]:
            made = self.create()
            _log.info("backup %s: %d files, %d new bytes", made.manifest.id, len(made.manifest.files), made.written)
            for entry in self.prune():
                _log.info("backup %s was deleted under the retention policy", entry.id)
            target = self.second
            if target and not second.is_present(target.folder):
                _log.warning("%s is not connected: the backup is copied when it is", target.folder)
        try:
            if self.is_due().copy:
                entry, written = self.copy()
                _log.info("backup %s was copied to the second folder, %d new bytes", entry.id, written)
        finally:  # a second disk that fails again and again puts no drill off
            if self.is_due().drill:
                done = self.drill()
                if done.problems:
                    _log.error("the drill of backup %s failed: %s", done.id, "; ".join(done.problems[:5]))
                else:
                    _log.info("the drill of backup %s went well", done.id)

    @property
    def _remote(self) -> bool:
        return bool(self._gardener.settings.text("index.storage"))

    def undo(self) -> tuple[str, str]:
        self._gardener.close()
        undone = undo(self.paths)
        record(self.paths.logs, "home.restore_undone")
        return undone

    def confirm(self) -> list[str]:
        dropped = confirm(self.paths)
        record(self.paths.logs, "home.restore_confirmed")
        return dropped

    def prune(self, *, dry_run: bool = False) -> list[Entry]:
        """Deletes, or only tells, what the retention policy does not keep. Raises ConfigError for an empty policy."""
        return self._prune(self.store, dry_run=dry_run)

    def _prune(self, store: Store, *, dry_run: bool, spared: str = "") -> list[Entry]:
        """`spared` stays in any case: beside those of a home before this one, whose numbers were higher, it is old."""
        settings = self._gardener.settings
        policy = Policy(
            settings.integer("backup.keep_last"),
            settings.integer("backup.keep_daily"),
            settings.integer("backup.keep_weekly"),
            settings.integer("backup.keep_monthly"),
        ).check()
        with store.lock("gardener backup prune"):
            entries = store.entries()
            gone = set(to_delete([_candidate(entry) for entry in entries], policy)) - {spared}
            if not dry_run and gone:
                self._make_sure(store, entries, gone)
                for backup_id in sorted(gone):
                    # Renamed first: half a backup must not be listed as one after a kill.
                    doomed = os.path.join(store.folder, f".making-{backup_id}")
                    os.rename(store.path(backup_id), doomed)
                    shutil.rmtree(doomed)
            if gone and not dry_run:
                record(self.paths.logs, "backup.pruned", backups=", ".join(sorted(gone)))
            return [entry for entry in entries if entry.id in gone]

    def _make_sure(self, store: Store, entries: list[Entry], gone: set[str]) -> None:
        """Looks at what will be relied on, before anything goes. Raises BackupDamaged."""
        for entry in sorted(entries, key=lambda entry: entry.imported):
            if entry.id not in gone and entry.manifest and entry.manifest.kind == "home":
                checked(store, entry)
                return


def _candidate(entry: Entry) -> Candidate:
    found = entry.manifest
    group = "" if found is None or found.kind == "home" else found.projects[0].id if found.projects else "?"
    if entry.imported:
        group = f"imported {group}"  # it must not push out what was made here
    proven = bool(entry.proof and entry.proof["ok"] and entry.proof.get("depth") in ("hashes", "restore"))
    return Candidate(
        entry.id,
        found.sequence if found else int(entry.id.partition("-")[0]),
        found.created_at if found else 0.0,
        group,
        entry.good,
        proven and entry.good,
    )
