"""When the disk will be full, and how many more projects fit: arithmetic on figures that others have read.

The slope is Theil and Sen's: the median of the slopes between all pairs of days, which a day on which somebody copied a
film onto the disk does not move. Its interval is Sen's (Journal of the American Statistical Association 63, 1968),
from the order of those slopes; it takes the days for independent, so that it is rather too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median
from typing import Literal, NamedTuple

MIN_DAYS = 7
"""Days with samples below which nothing is forecast: one week has each weekday once."""
WINDOW_DAYS = 60
"""Days that a forecast looks back."""
CONFIDENCE = 90
"""Percent."""
_Z = 1.6449
"""Of the standard normal distribution, two-sided, for CONFIDENCE."""
HORIZON_DAYS = 5 * 365
"""Later dates are not named: nobody knows what this disk will be used for then."""
RESERVE = 0.05
"""Share of the disk that is not counted as room for projects: beyond it `gardener doctor` reports an error."""
WARM_CHUNK_BYTES = 2_000
"""Memory per chunk of an index that is kept warm: about 60 MB for 30,000 chunks with vectors."""

METHOD = (
    f"Theil-Sen slope of each day's median free space over at most {WINDOW_DAYS} days, "
    f"with Sen's {CONFIDENCE} % interval"
)
Verdict = Literal["too little history", "no trend", "not within five years", "full"]


class Slope(NamedTuple):
    """Change per day, with the ends of its interval."""

    per_day: float
    low: float
    high: float


class DiskForecast(NamedTuple):
    """`days` is how many days have samples. Dates are None unless the verdict is "full"; `late` is None, too, when the
    slow end of the interval lies beyond five years. Bytes."""

    verdict: Verdict
    days: int
    free: float | None = None
    slope: Slope | None = None
    on: date | None = None
    early: date | None = None
    late: date | None = None

    def as_json(self) -> dict[str, object]:
        def day(value: date | None) -> str | None:
            return value.isoformat() if value else None

        return {
            "verdict": self.verdict,
            "method": METHOD,
            "days": self.days,
            "days_needed": MIN_DAYS,
            "free_bytes": None if self.free is None else round(self.free),
            "per_day_bytes": None if self.slope is None else round(self.slope.per_day),
            "per_day_interval": None if self.slope is None else [round(self.slope.low), round(self.slope.high)],
            "full_on": day(self.on),
            "full_early": day(self.early),
            "full_late": day(self.late),
        }


def theil_sen(points: Sequence[tuple[int, float]]) -> Slope:
    """Of (day, value) with days that differ, two at least."""
    slopes = sorted(
        (later - value) / (next_day - day)
        for index, (day, value) in enumerate(points)
        for next_day, later in points[index + 1 :]
    )
    count = len(points)
    spread = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, round((len(slopes) - spread) / 2) - 1)
    high = min(len(slopes) - 1, round((len(slopes) + spread) / 2))
    return Slope(median(slopes), slopes[low], slopes[high])


def forecast_disk(free_by_day: Sequence[tuple[date, float]]) -> DiskForecast:
    """`free_by_day`: the days that have samples, in order, each with the bytes that were free."""
    if len(free_by_day) < MIN_DAYS:
        return DiskForecast("too little history", len(free_by_day), free_by_day[-1][1] if free_by_day else None)
    today, free = free_by_day[-1]
    slope = theil_sen([(day.toordinal(), value) for day, value in free_by_day])
    known = DiskForecast("no trend", len(free_by_day), free, slope)
    if slope.high >= 0:  # as far as these days tell, it may just as well not be filling
        return known
    left = free / -slope.per_day
    if left > HORIZON_DAYS:
        return known._replace(verdict="not within five years")
    late = free / -slope.high
    return known._replace(
        verdict="full",
        on=today + timedelta(days=math.floor(left)),
        early=today + timedelta(days=math.floor(free / -slope.low)),
        late=today + timedelta(days=math.floor(late)) if late <= HORIZON_DAYS else None,
    )


class Capacity(NamedTuple):
    """How many more projects like the present ones fit. Bytes; None where nothing is known of it."""

    more: int | None
    of_projects: int
    """Projects with an index, which the medians are of."""
    per_project: float | None
    room: float
    warm_at_once: int
    per_warm_index: float | None
    memory_available: float | None
    warm_that_fit: int | None
    """Indexes that the memory available now could keep warm; the app keeps `warm_at_once` at most."""

    @property
    def method(self) -> str:
        return (
            f"free disk less {RESERVE:.0%} of it, by the median size of {self.of_projects} indexed projects and their "
            f"share of the store of vectors; an index takes memory only while it is one of the {self.warm_at_once} "
            f"used last ({WARM_CHUNK_BYTES:,} bytes a chunk)"
        )

    def as_json(self) -> dict[str, object]:
        def whole(value: float | None) -> int | None:
            return None if value is None else round(value)

        return {
            "more": self.more,
            "method": self.method,
            "of_projects": self.of_projects,
            "per_project_bytes": whole(self.per_project),
            "room_bytes": whole(self.room),
            "warm_at_once": self.warm_at_once,
            "per_warm_index_bytes": whole(self.per_warm_index),
            "memory_available_bytes": whole(self.memory_available),
            "warm_that_fit": self.warm_that_fit,
        }


def capacity(
    *,
    project_bytes: Sequence[float],
    vector_store_bytes: float,
    chunks: Sequence[int],
    disk_free: float,
    disk_total: float,
    memory_available: float | None,
    warm_at_once: int,
) -> Capacity:
    """`project_bytes` and `chunks`: of each project that has an index."""
    room = max(0.0, disk_free - RESERVE * disk_total)
    count = len(project_bytes)
    each = median(project_bytes) + vector_store_bytes / count if count else None
    warm = median(chunks) * WARM_CHUNK_BYTES if chunks else None
    return Capacity(
        more=int(room // each) if each else None,
        of_projects=count,
        per_project=each,
        room=room,
        warm_at_once=warm_at_once,
        per_warm_index=warm,
        memory_available=memory_available,
        warm_that_fit=int(memory_available // warm) if warm and memory_available is not None else None,
    )
