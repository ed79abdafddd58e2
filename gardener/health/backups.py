"""The check of backups: is there one, how old is it, and what did its last proof say?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener.backup.second import has, is_present
from gardener.health.check import Check, Finding, fine, note

if TYPE_CHECKING:
    from gardener.backup.store import Entry, Store
    from gardener.settings import Settings

_DAY_S = 86_400.0


def backup_checks(
    store: Callable[[], Store], settings: Callable[[], Settings], second: Callable[[], Store | None] = lambda: None
) -> list[Check]:
    """`second` is the place that backups are copied to, if one is set."""
    return [Check("backups", lambda: _backups(store(), settings(), second()), every_s=600, limit_s=30)]


def _backups(store: Store, settings: Settings, second: Store | None) -> list[Finding]:
    findings = []
    if second is not None and not is_present(second.folder):
        detail = f"{second.folder} is not there: backups are not copied."
        findings.append(Finding("backup-disk-absent", "warning", detail, "gardener backup list", second.folder))
    entries = [entry for entry in store.entries() if entry.manifest is None or entry.manifest.kind == "home"]
    bad = [entry for entry in entries if not entry.good]
    good = [entry for entry in entries if entry.protects]
    every_hours, create = settings.integer("backup.every_hours"), "gardener backup create"
    if not good:
        if bad:
            return [*findings, Finding("backup-damaged", "error", f"No good backup in {store.folder}.", create)]
        return [*findings, note(f"No backup yet in {store.folder}.", create)]
    newest = good[0]
    assert newest.manifest is not None
    age = time.time() - newest.manifest.created_at
    told = f"{len(good)} good, the newest {_ago(age)}; {_proved(good)}"
    for entry in bad:
        verify = f"gardener backup verify {entry.id}"
        findings.append(Finding("backup-damaged", "warning", f"{entry.id} is damaged. {told}", verify, entry.id))
    if every_hours and age > 2 * every_hours * 3600:
        findings.append(Finding("backup-old", "warning", f"They are overdue: {told}", create))
    if _unproven(good, settings.integer("health.proof_days")):
        findings.append(Finding("backup-unproven", "warning", told, "gardener backup verify --depth restore"))
    if not findings and second is not None and not has(second, newest.id):
        return [note(f"The newest is not yet in {second.folder}; {told}", "gardener backup copy")]
    return findings or [fine(told)]


def _unproven(good: list[Entry], days: int) -> bool:
    """Whether there have been backups for so many days, and none was proved in them."""
    since = time.time() - days * _DAY_S
    oldest = min(entry.manifest.created_at for entry in good if entry.manifest)
    proved = any(entry.proof and entry.proof["at"] >= since for entry in good)
    return days > 0 and oldest < since and not proved


def _proved(good: list[Entry]) -> str:
    proofs = [entry.proof for entry in good if entry.proof]
    if not proofs:
        return "none proved yet"
    last = max(proofs, key=lambda proof: proof["at"])
    return f"last proof ({last['depth']}) {_ago(time.time() - last['at'])}"


def _ago(seconds: float) -> str:
    if seconds < 0:
        return "in the future by this machine's clock"
    if seconds < 2 * _DAY_S:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / _DAY_S:.0f} days ago"
