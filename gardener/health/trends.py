"""What the samples of some days say: each metric's course, when the disk will be full, how many projects fit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import NamedTuple

from gardener.errors import GardenerError
from gardener.health.forecast import (
    MIN_DAYS,
    WINDOW_DAYS,
    Capacity,
    DiskForecast,
    Slope,
    capacity,
    forecast_disk,
    theil_sen,
)
from gardener.health.home_sizes import home_sizes
from gardener.health.readings import disk, machine
from gardener.health.rollups import FIVE_MINUTES, HOUR, Bucket, facts, latest, series
from gardener.health.samples import METRICS, Metric
from gardener.index.facts import summary
from gardener.paths import Paths, index_directory

_DAY = 86_400.0
FINE_DAYS = 2
"""Up to so many days the course is made of five-minute buckets, beyond of hours."""
OTHER_DISK = 0.01
"""A disk that is larger or smaller by more than this share is another disk: what was before does not count."""


class Course(NamedTuple):
    """One metric over the time that was asked for."""

    metric: Metric
    now: float | None
    at: int | None
    """When `now` was read (Unix seconds)."""
    least: float | None
    mean: float | None
    most: float | None
    buckets: tuple[Bucket, ...]
    seconds: int
    """Length of a bucket."""

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.metric.name,
            "unit": self.metric.unit,
            "about": self.metric.about,
            "now": self.now,
            "at": self.at,
            "least": self.least,
            "mean": self.mean,
            "most": self.most,
        }


class Trends(NamedTuple):
    days: int
    until: float
    begun_at: float | None
    """When samples.db was begun (Unix seconds); None when there are no samples."""
    lost: str
    """Why the file before it had to be put aside; "" when it had not."""
    courses: tuple[Course, ...]
    """Of the metrics that have samples."""
    disk: DiskForecast
    home_per_day: Slope | None
    """Growth of Gardener's own data in bytes a day; None with less than the forecast's minimum of days."""
    capacity: Capacity

    @property
    def newest_at(self) -> int | None:
        return max((course.at for course in self.courses if course.at is not None), default=None)

    def as_json(self) -> dict[str, object]:
        return {
            "days": self.days,
            "until": self.until,
            "samples": {"begun_at": self.begun_at, "newest_at": self.newest_at, "lost": self.lost},
            "disk": self.disk.as_json(),
            "home_per_day_bytes": None if self.home_per_day is None else round(self.home_per_day.per_day),
            "capacity": self.capacity.as_json(),
            "metrics": [course.as_json() for course in self.courses],
        }


def trends(paths: Paths, *, days: int = 7, warm_at_once: int, now: float | None = None) -> Trends:
    """Reads samples.db, and the sizes in the home as they are now. Raises IntegrityError when it cannot be read."""
    until = time.time() if now is None else now
    file = paths.samples_db
    known = {name: value for name, value in latest(file).items() if value[0] <= until + _DAY}
    found = facts(file)
    return Trends(
        days,
        until,
        float(found["begun_at"]) if found and known else None,
        found.get("lost", ""),
        tuple(_course(file, metric, days, until, known) for metric in METRICS if metric.name in known),
        disk_forecast(paths, until),
        _growth(file, until),
        capacity_now(paths, warm_at_once),
    )


def disk_forecast(paths: Paths, until: float) -> DiskForecast:
    """When the disk of the home will be full, by the last WINDOW_DAYS days."""
    since = until - WINDOW_DAYS * _DAY
    free = series(paths.samples_db, "disk_free", since, until, HOUR)
    totals = series(paths.samples_db, "disk_total", since, until, HOUR)
    return forecast_disk(by_day([bucket for bucket in free if bucket.at >= _since_this_disk(totals)]))


def _since_this_disk(totals: Sequence[Bucket]) -> int:
    """When the disk came that is there now; 0 when it has always been the same."""
    if not totals:
        return 0
    size = totals[-1].mean
    others = [bucket.at for bucket in totals if abs(bucket.mean - size) > OTHER_DISK * size]
    return max(others) + 1 if others else 0


def by_day(buckets: Sequence[Bucket]) -> list[tuple[date, float]]:
    """The median of each day that has any, by the machine's own calendar, on which days have 23 to 25 hours."""
    days: dict[date, list[float]] = {}
    for bucket in buckets:
        local = time.localtime(bucket.at)
        days.setdefault(date(local.tm_year, local.tm_mon, local.tm_mday), []).append(bucket.mean)
    return [(day, median(days[day])) for day in sorted(days)]


def _growth(file: str, until: float) -> Slope | None:
    daily = by_day(series(file, "home", until - WINDOW_DAYS * _DAY, until, HOUR))
    return theil_sen([(day.toordinal(), value) for day, value in daily]) if len(daily) >= MIN_DAYS else None


def _course(file: str, metric: Metric, days: int, until: float, known: dict[str, tuple[int, float]]) -> Course:
    seconds = FIVE_MINUTES if days <= FINE_DAYS else HOUR
    buckets = series(file, metric.name, until - days * _DAY, until + 1, seconds)
    at, now = known[metric.name]
    if not buckets:
        return Course(metric, now, at, None, None, None, (), seconds)
    samples = sum(bucket.samples for bucket in buckets)
    return Course(
        metric,
        now,
        at,
        min(bucket.least for bucket in buckets),
        sum(bucket.mean * bucket.samples for bucket in buckets) / samples,
        max(bucket.most for bucket in buckets),
        tuple(buckets),
        seconds,
    )


def capacity_now(paths: Paths, warm_at_once: int) -> Capacity:
    """From the sizes in the home, the disk and the memory as they are at this moment."""
    sizes, space = home_sizes(paths), disk(paths)
    chunks = []
    for project in sizes.indexed:
        try:
            told = summary(index_directory(paths.project_home(project))).get("chunks", "")
        except GardenerError:
            continue  # `gardener doctor` says what is wrong with it
        if told.isdecimal():
            chunks.append(int(told))
    return capacity(
        project_bytes=[float(size) for size in sizes.indexed.values()],
        vector_store_bytes=float(sizes.vectors),
        chunks=chunks,
        disk_free=space["disk_free"],
        disk_total=space["disk_total"],
        memory_available=machine(paths).get("memory_available"),
        warm_at_once=warm_at_once,
    )
