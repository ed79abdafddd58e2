"""The folder of backups: which there are, in which order, and what is known of them.

backups/
  lock            held while backups are made, thinned out or restored from
  sequence        the last number given; never used again, even when that backup is gone
  proofs.json     when each backup was last proved, how, and with what result
  ID/             one backup: home/… and manifest.json
  .making-ID/     one that was never finished; the next run removes it
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any, NamedTuple

from gardener.backup import manifest
from gardener.backup.manifest import Manifest
from gardener.errors import BackupNotFound, GardenerError
from gardener.locks import ProcessLock
from gardener.paths import ensure_directory, write_private

MAKING = ".making-"
LOCK_WAIT_S = 5.0


class Entry(NamedTuple):
    """A backup as `gardener backup list` shows it. `manifest` is None when it cannot be read: `problem` says why."""

    id: str
    path: str
    manifest: Manifest | None
    problem: str
    proof: dict[str, Any] | None
    """{"at", "depth", "ok", "problems"} of the last time it was proved; None when it never was."""

    @property
    def good(self) -> bool:
        """Readable, and not found damaged when it was last looked at."""
        return self.manifest is not None and (self.proof is None or bool(self.proof["ok"]))

    @property
    def imported(self) -> bool:
        return self.manifest is not None and self.manifest.imported

    @property
    def protects(self) -> bool:
        """A good backup of this whole home, made here: what freshness, drills and copies are about."""
        return self.good and self.manifest is not None and self.manifest.kind == "home" and not self.imported

    def as_json(self) -> dict[str, Any]:
        found = self.manifest
        described = {
            "sequence": found.sequence, "kind": found.kind, "note": found.note,
            "created_at": found.created_at, "bytes": found.total_bytes,
            "files": len(found.files), "projects": [project.name for project in found.projects],
            "left_out": list(found.left_out), "imported": found.imported,
        } if found else {}  # fmt: skip
        return {"id": self.id, "path": self.path, **described, "problem": self.problem, "proof": self.proof}


class Store:
    """The backups in one folder; it need not exist yet."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def lock(self, purpose: str) -> ProcessLock:
        """Raises LockedError when another process works on the backups. Use the result as a context manager."""
        ensure_directory(self.folder)
        lock = ProcessLock(os.path.join(self.folder, "lock"), purpose, subject="the backups")
        lock.acquire(LOCK_WAIT_S)
        return lock

    def path(self, backup_id: str) -> str:
        return os.path.join(self.folder, backup_id)

    def entries(self) -> list[Entry]:
        """Every backup, the newest (by sequence number, not by clock) first."""
        if not os.path.isdir(self.folder):
            return []
        proofs = self.proofs()
        entries = [
            self._entry(name, proofs.get(name))
            for name in os.listdir(self.folder)
            if manifest.ID.fullmatch(name) and os.path.isdir(self.path(name))
        ]
        return sorted(entries, key=lambda entry: _sequence_of(entry.id), reverse=True)

    def find(self, wanted: str = "", *, imported: bool = False) -> Entry:
        """The backup with that id, the beginning of one, or that sequence number; "" is the newest good one.

        That is one of this home's own, if there is any; with `imported` the newest of all, whoever made it.
        Raises BackupNotFound.
        """
        entries = self.entries()
        if not wanted:
            found = [entry for entry in entries if entry.good and entry.manifest and entry.manifest.kind == "home"]
            found = (found if imported else sorted(found, key=lambda entry: entry.imported))[:1]
        else:
            found = [
                entry
                for entry in entries
                if entry.id == wanted
                or (wanted.isdecimal() and len(wanted) < 13 and _sequence_of(entry.id) == int(wanted))
            ] or [entry for entry in entries if entry.id.startswith(wanted)]
        if len(found) != 1:
            what = f"backup {wanted!r}" if wanted else "good backup of the whole home"
            raise BackupNotFound(
                f"There is no {what} in {self.folder}." if not found else f"{wanted!r} names {len(found)} backups.",
                next_step="gardener backup list" if entries else "gardener backup create",
            )
        return found[0]

    def _entry(self, name: str, proof: dict[str, Any] | None) -> Entry:
        try:
            read = manifest.read(self.path(name))
            if read.id != name:
                raise manifest.damaged(self.path(name), f"its manifest is that of {read.id}")
        except GardenerError as error:
            return Entry(name, self.path(name), None, error.message, proof)
        return Entry(name, self.path(name), read, "", proof)

    # ---- numbers ---------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """One more than was ever given. Call it under the lock; it counts once a backup with it is there."""
        highest = max((_sequence_of(entry.id) for entry in self.entries()), default=0)
        try:
            with open(os.path.join(self.folder, "sequence"), encoding="ascii") as handle:
                highest = max(highest, int(handle.read(20)))
        except (FileNotFoundError, ValueError):
            pass  # the backups themselves say what was given
        write_private(os.path.join(self.folder, "sequence"), str(highest + 1).encode())
        return highest + 1

    def remove_unfinished(self) -> None:
        """Removes what a killed process left. Call it under the lock."""
        for name in os.listdir(self.folder):
            if name.startswith(MAKING):
                shutil.rmtree(os.path.join(self.folder, name))

    # ---- proofs ----------------------------------------------------------------------------------------

    def proofs(self) -> dict[str, dict[str, Any]]:
        """The last proof of each backup; one that cannot be read is no proof."""
        try:
            with open(os.path.join(self.folder, "proofs.json"), encoding="utf-8") as handle:
                found = json.load(handle)
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {key: value for key, value in found.items() if _is_proof(value)}

    def record_proof(self, backup_id: str, depth: str, problems: list[str]) -> None:
        """Notes that a backup was tried to `depth` and what was found wrong. Call it under the lock."""
        known = {key: value for key, value in self.proofs().items() if os.path.isdir(self.path(key))}
        known[backup_id] = {"at": time.time(), "depth": depth, "ok": not problems, "problems": problems[:20]}
        write_private(os.path.join(self.folder, "proofs.json"), json.dumps(known, indent=1).encode())


def _is_proof(value: object) -> bool:
    """The file has no checksum: of a flipped bit in it, at worst, that proof is lost."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("at"), (int, float))
        and isinstance(value.get("depth"), str)
        and isinstance(value.get("ok"), bool)
        and isinstance(value.get("problems"), list)
    )


def _sequence_of(backup_id: str) -> int:
    return int(backup_id.partition("-")[0])
