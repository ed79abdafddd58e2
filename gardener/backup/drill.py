"""A drill: the newest good backup is restored into a scratch folder, queried, and compared with the live indexes."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from gardener.backup.manifest import Manifest
from gardener.backup.store import Store
from gardener.backup.verify import Probe, Trial, ask_index, check_hashes, refuse_newer, trial
from gardener.errors import GardenerError
from gardener.index.facts import summary
from gardener.paths import Paths, index_directory


class Comparison(NamedTuple):
    """One project's restored index beside the live one. `shared` is the share of places that both answered with, 0..1.

    `changed` says that the live index was updated since, so that the answers may differ.
    """

    project: str
    queries: int
    shared: float
    changed: bool
    problem: str


class Drill(NamedTuple):
    """`problems` is empty when the backup would bring everything back. Time in seconds."""

    id: str
    problems: list[str]
    trial: Trial | None
    compared: list[Comparison]
    took_s: float

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "ok": not self.problems, "problems": self.problems, "took_s": round(self.took_s, 3),
            "trial": self.trial.as_json() if self.trial else None,
            "compared": [comparison._asdict() for comparison in self.compared],
        }  # fmt: skip


def run_drill(paths: Paths, store: Store, wanted: str = "") -> Drill:
    """Tries a backup ("" is the newest good one of the whole home) and records the result as its last proof.

    Raises BackupNotFound, SchemaTooNew, LockedError, DiskFull; damage is in the result.
    """
    started = time.monotonic()
    with store.lock("gardener backup drill"):
        entry = store.find(wanted)
        tried: Trial | None = None
        compared: list[Comparison] = []
        problems = [entry.problem] if entry.manifest is None else []
        if entry.manifest is not None:
            refuse_newer(entry.manifest)
            problems = check_hashes(entry.path, entry.manifest)
            if not problems:
                tried = trial(entry.path, entry.manifest, os.path.join(store.folder, ".making-drill"))
                compared = _compare(paths, entry.manifest, tried)
                problems = tried.problems + [
                    f"index of {one.project}: it answers otherwise than the live one, which has not changed since"
                    for one in compared
                    if not one.changed and not one.problem and one.shared < 1
                ]
        store.record_proof(entry.id, "drill", problems)
    return Drill(entry.id, problems, tried, compared, time.monotonic() - started)


def _compare(paths: Paths, found: Manifest, tried: Trial) -> list[Comparison]:
    """Puts the questions that the restored indexes answered to the live ones."""
    compared = []
    for project in found.projects:
        probes = [probe for probe in tried.probes if probe.project == project.name]
        directory = index_directory(paths.project_home(project.id))
        if project.removed or project.index_problem or not probes or not os.path.isdir(directory):
            continue
        try:
            _, live = ask_index(directory, project.name, [probe.words for probe in probes])
            changed = float(summary(directory).get("updated_at", "inf")) > found.created_at
        except GardenerError as error:  # the live index is the one in trouble: that is the doctor's to say
            compared.append(Comparison(project.name, len(probes), 0.0, True, error.message))
            continue
        compared.append(Comparison(project.name, len(probes), _shared(probes, live), changed, ""))
    return compared


def _shared(restored: list[Probe], live: list[Probe]) -> float:
    pairs = [(set(one.hits), set(other.hits)) for one, other in zip(restored, live, strict=True)]
    return sum(len(one & other) / max(1, len(one | other)) for one, other in pairs) / max(1, len(pairs))
