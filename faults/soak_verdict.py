"""What must be true after a soak: enough happened, everything acknowledged is there, and the app's memory was flat."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from faults.crowd import differs
from faults.garden import Garden, Outcome
from faults.kills import kept

FLAT_MB_PER_HOUR = 30.0
"""A slope beyond it, and beyond doubt above zero, is a leak."""
SETTLING_MINUTES, LEAST_MINUTES = 8.0, 10.0
"""How long indexes and the embedder are read one after the other after a start; how long must be watched after it."""
MORE_FILES = 50
"""That many more open files or threads at the end than at the beginning are a leak."""
NEEDED = {
    "ask": ("by the model",),
    "search": ("done",),
    "index": ("done",),
    "switch": ("done",),
    "backup create": ("done",),
    "kills": ("of commands", "of the app"),
}
"""What has to have happened at least once, else a soak proves nothing."""


@dataclass
class Acknowledged:
    """What Gardener said that it had done."""

    answers: dict[str, str] = field(default_factory=dict)
    """By question; parts too, where the model server cut the answer off."""
    backups: dict[str, int] = field(default_factory=dict)
    """Sequence numbers by id."""
    active: set[str] = field(default_factory=set)
    """The project of the last switch that succeeded, and those of switches that were killed after it."""


@dataclass(frozen=True)
class Sample:
    at: float
    """Monotonic, in seconds."""
    mb: float
    """Resident."""
    files: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> Sample:
        with process.oneshot():
            mb = process.memory_info().rss / 1e6
            return cls(time.monotonic(), mb, process.num_fds(), process.num_threads())


def too_little(outcomes: Mapping[str, Outcome]) -> list[str]:
    """What did not happen."""
    return [
        f"{what}: never {counted}"
        for what, all_counted in NEEDED.items()
        for counted in all_counted
        if what not in outcomes or not outcomes[what].counts.get(counted)
    ]


def losses(garden: Garden, roots: Mapping[str, Path], told: Acknowledged, kept_backups: int) -> Outcome:
    found = Outcome("afterwards")

    def check(what: str, problem: Callable[[], str]) -> None:
        found.tried += 1
        try:
            said = problem()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        if said:
            found.broken.append(f"{what}: {said}")
        else:
            found.count(what)

    memory = garden.memory()
    for question, answer in told.answers.items():
        check("answers kept", lambda q=question, a=answer: "" if kept(q, a, memory) else f"not that to {q!r}")  # type: ignore[misc]
    check(
        "active project", lambda: "" if memory["active"][0] in told.active else f"{memory['active']}, not {told.active}"
    )
    check("projects", lambda: "" if sorted(memory["projects"]) == sorted(roots) else str(memory["projects"]))
    rows = garden.must("backup", "list", "--json").json["backups"]
    there = {row["id"]: row["sequence"] for row in rows if not row["problem"]}
    for identity, sequence in told.backups.items():
        if identity not in there and sum(other > sequence for other in there.values()) >= kept_backups:
            found.count("backups thinned out as configured")
            continue
        check("backups whole", lambda one=identity: verified(garden, one))  # type: ignore[misc]
    check("drills", lambda: "" if garden.must("backup", "drill", "--json").json["ok"] else "not ok")
    for name, root in roots.items():
        check("indexes equal to new ones", lambda n=name, r=root: updated(garden, n, r))  # type: ignore[misc]
    check("doctor", lambda: errors(garden))
    return found


def verified(garden: Garden, backup: str) -> str:
    return "" if garden.must("backup", "verify", backup, "--json").json["ok"] else f"{backup} is damaged"


def updated(garden: Garden, name: str, root: Path) -> str:
    garden.must("index", "--project", name, "--quiet")
    return differs(garden, name, root)


def errors(garden: Garden) -> str:
    findings = garden.run("doctor", "--deep", "--json").json["findings"]
    return "; ".join(row["detail"] for row in findings if row["severity"] == "error")


def growth(samples: Sequence[Sample]) -> Outcome:
    """The slope through the medians of the minutes, by Theil and Sen, with its 95 % interval, once it has settled."""
    from scipy.stats import theilslopes

    found = Outcome("memory of the app", len(samples))
    start = samples[0].at + SETTLING_MINUTES * 60 if samples else 0.0
    minutes: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.at >= start:
            minutes.setdefault(int((sample.at - start) // 60), []).append(sample)
    if len(minutes) < LEAST_MINUTES:
        found.count(f"minutes after {SETTLING_MINUTES:g} without a kill: too short for a verdict", len(minutes))
        return found
    sizes = [statistics.median(one.mb for one in at) for at in minutes.values()]
    slope, _, low, high = (60 * float(each) for each in theilslopes(sizes, list(minutes)))
    found.count(f"minutes after {SETTLING_MINUTES:g} without a kill of the app", len(minutes))
    found.count(
        f"MB at first, {sizes[-1]:.0f} at last, {slope:+.0f} MB/h (95 %: {low:+.0f} to {high:+.0f})", round(sizes[0])
    )
    if slope > FLAT_MB_PER_HOUR and low > 0:
        found.broken.append(f"grows by {slope:.0f} MB an hour: {' '.join(f'{size:.0f}' for size in sizes)}")
    first, last = next(iter(minutes.values())), list(minutes.values())[-1]
    for what in ("files", "threads"):
        before, after = (round(statistics.median(getattr(one, what) for one in at)) for at in (first, last))
        found.count(f"{what} open at first, {after} at last", before)
        if after > before + MORE_FILES:
            found.broken.append(f"{what}: {before} at first, {after} at last")
    return found
