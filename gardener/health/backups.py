"""The check of backups: is there one, how old is it, and what did its last proof say?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener.health.check import Check, Finding, fine, note

if TYPE_CHECKING:
    from gardener.backup.store import Entry, Store

_DAY_S = 86_400.0


def backup_checks(store: Callable[[], Store], every_hours: Callable[[], int]) -> list[Check]:
    """`every_hours` is how often backups are to be made, 0 for never."""
    return [Check("backups", lambda: _backups(store(), every_hours()))]


def _backups(store: Store, every_hours: int) -> Finding:
    entries = [entry for entry in store.entries() if entry.manifest is None or entry.manifest.kind == "home"]
    bad = [entry for entry in entries if not entry.good]
    good = [entry for entry in entries if entry.good]
    if not good:
        detail = f"No good backup in {store.folder}." if bad else f"No backup yet in {store.folder}."
        create = "gardener backup create"
        return Finding("backup-damaged", "error", detail, create) if bad else note(detail, create)
    newest = good[0]
    assert newest.manifest is not None
    age = time.time() - newest.manifest.created_at
    told = f"{len(good)} good, the newest {_ago(age)}; {_proved(good)}"
    if bad:
        verify = f"gardener backup verify {bad[0].id}"
        return Finding("backup-damaged", "warning", f"{bad[0].id} is damaged. {told}", verify, bad[0].id)
    if every_hours and age > 2 * every_hours * 3600:
        return Finding("backup-old", "warning", f"They are overdue: {told}", "gardener backup create")
    return fine(told)


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
