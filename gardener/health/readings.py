"""What one look at the machine and at Gardener gives. What cannot be read is missing, never 0."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from gardener.paths import Paths

_PRESSURE = "/proc/pressure/memory"


class AppFigures(NamedTuple):
    """What the running app says of itself, counted since it was started."""

    pid: int
    searches: float
    search_seconds: float
    embedded: float | None
    """Of the active project's contents, those with a vector."""


class AnswerFigures(NamedTuple):
    """Answers of a stretch of time, from gardener.usage's rows."""

    answers: int
    tokens_per_s: float | None
    first_token_ms: float | None


def machine(paths: Paths) -> dict[str, float]:
    """Memory, swap and the disk of the home. The processor is `Processor`, as it needs two looks."""
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    values = {
        "memory_available": float(memory.available),
        "memory_used": float(memory.total - memory.available),
        "swap_used": float(swap.used),
    }
    pressure = pressure_of(_read(_PRESSURE))
    if pressure is not None:
        values["memory_pressure"] = pressure
    if sys.platform == "darwin":
        from gardener.models.hardware import pressure_level

        level = pressure_level()
        if level is not None:
            values["memory_pressure_level"] = float(level)
    return values | disk(paths)


def disk(paths: Paths) -> dict[str, float]:
    """Of the disk that the home is on. `free` is what this user may still write."""
    folder = paths.home
    while not os.path.isdir(folder):  # nothing has been added yet
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    total = found.f_blocks * found.f_frsize
    return {
        "disk_total": float(total),
        "disk_used": float(total - found.f_bfree * found.f_frsize),
        "disk_free": float(found.f_bavail * found.f_frsize),
    }


def pressure_of(text: str) -> float | None:
    """Percent of the last minute in which some task waited for memory (docs.kernel.org/accounting/psi.html)."""
    for line in text.splitlines():
        if line.startswith("some "):
            for word in line.split():
                if word.startswith("avg60="):
                    try:
                        return float(word.removeprefix("avg60="))
                    except ValueError:
                        return None
    return None


class Processor:
    """Percent of all cores in use between two looks; the first look gives none."""

    def __init__(self) -> None:
        import psutil

        self._busy, self._total = _processor_times(psutil)

    def percent(self) -> float | None:
        import psutil

        busy, total = _processor_times(psutil)
        spent, passed = busy - self._busy, total - self._total
        self._busy, self._total = busy, total
        return 100 * min(1.0, max(0.0, spent / passed)) if passed > 0 else None


def _processor_times(psutil: object) -> tuple[float, float]:
    times = psutil.cpu_times()  # type: ignore[attr-defined]
    # guest time is part of user time already (proc(5)); waiting for a disk is idle time.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def resident_bytes(pid: int) -> float | None:
    """Resident memory of a process; None when it is gone."""
    import psutil

    try:
        return float(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


class SearchRate:
    """Searches and their mean time between two looks at the app, whose counters begin anew when it does."""

    def __init__(self) -> None:
        self._last: AppFigures | None = None

    def since(self, now: AppFigures) -> dict[str, float]:
        last, self._last = self._last, now
        if last is None or last.pid != now.pid or now.searches < last.searches:
            return {}
        count = now.searches - last.searches
        values = {"searches": count}
        if count > 0:
            values["search_time"] = 1000 * max(0.0, now.search_seconds - last.search_seconds) / count
        return values


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as handle:
            return handle.read(4_096)
    except OSError:
        return ""  # another system, or a kernel without it
