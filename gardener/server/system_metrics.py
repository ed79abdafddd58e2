"""The part of /metrics about the machine, the home and the forecasts. What cannot be read has no sample."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gardener.errors import GardenerError
from gardener.health.readings import Processor, machine, resident_bytes
from gardener.health.rollups import latest
from gardener.health.samples import BY_NAME
from gardener.health.trends import capacity_now, disk_forecast

if TYPE_CHECKING:
    from gardener.health.forecast import Capacity, DiskForecast
    from gardener.paths import Paths

log = logging.getLogger("gardener.server")

SLOW_S = 600.0
"""Sizes and forecasts are so old at most: they look at every file of the home and at sixty days of samples."""
PARTS = ("indexes", "vectors", "models", "backups")


class Text(Protocol):
    """What gardener.server.probes.Exposition is."""

    def metric(self, name: str, kind: str, help_text: str, value: float, **labels: str) -> None: ...


class _Slow(NamedTuple):
    forecast: DiskForecast
    capacity: Capacity
    sizes: dict[str, float]


class SystemMetrics:
    """Thread-safe."""

    def __init__(self, paths: Paths, warm_at_once: int) -> None:
        self._paths = paths
        self._warm_at_once = warm_at_once
        self._lock = threading.Lock()
        self._processor = Processor()
        self._slow: _Slow | None = None
        self._slow_at = float("-inf")

    def add_to(self, text: Text) -> None:
        with self._lock:
            self._machine(text)
            self._samples(text)
            slow = self._slow_part()
        if slow is not None:
            _home(text, slow)
            _forecasts(text, slow)

    def _machine(self, text: Text) -> None:
        percent = self._processor.percent()
        if percent is not None:
            text.metric("gardener_system_cpu_ratio", "gauge", "Processor in use since the last scrape.", percent / 100)
        try:
            found = machine(self._paths)
        except OSError as error:
            log.warning("metrics.no_machine", extra={"fields": {"reason": str(error)}})
            return
        for kind in ("used", "available"):
            text.metric(
                "gardener_system_memory_bytes", "gauge", "Memory of the machine.", found[f"memory_{kind}"], state=kind
            )
        if "memory_pressure" in found:
            text.metric(
                "gardener_system_memory_pressure_ratio",
                "gauge",
                "Share of the last minute in which some process waited for memory.",
                found["memory_pressure"] / 100,
            )
        if "memory_pressure_level" in found:
            text.metric(
                "gardener_system_memory_pressure_level",
                "gauge",
                "macOS's own judgement: 1 normal, 2 warning, 4 critical.",
                found["memory_pressure_level"],
            )
        text.metric("gardener_system_swap_used_bytes", "gauge", "Swap in use.", found["swap_used"])
        for kind in ("total", "used", "free"):
            text.metric(
                "gardener_disk_bytes", "gauge", "The disk that the home is on.", found[f"disk_{kind}"], state=kind
            )
        memory = resident_bytes(os.getpid())
        if memory is not None:
            text.metric("gardener_app_resident_bytes", "gauge", "Memory of the app.", memory)

    def _samples(self, text: Text) -> None:
        try:
            newest = max((at for at, _ in latest(self._paths.samples_db).values()), default=None)
        except GardenerError as error:
            log.warning("metrics.no_samples", extra={"fields": {"reason": error.message}})
            return
        if newest is not None:
            age = max(0.0, time.time() - newest)
            text.metric("gardener_samples_age_seconds", "gauge", "Since the monitor's newest sample.", age)

    def _slow_part(self) -> _Slow | None:
        now = time.monotonic()
        if now - self._slow_at >= SLOW_S:
            self._slow_at = now
            try:
                found = latest(self._paths.samples_db)
                sizes = {name: found[name][1] for name in ("home", *PARTS) if name in found and name in BY_NAME}
                self._slow = _Slow(
                    disk_forecast(self._paths, time.time()), capacity_now(self._paths, self._warm_at_once), sizes
                )
            except (GardenerError, OSError, sqlite3.Error) as error:
                self._slow = None
                log.warning("metrics.no_forecast", extra={"fields": {"reason": str(error)}})
        return self._slow


def _home(text: Text, slow: _Slow) -> None:
    help_text = "Gardener's own data, as the monitor measured it last."
    for part, value in slow.sizes.items():
        text.metric("gardener_home_bytes", "gauge", help_text, value, part="all" if part == "home" else part)


def _forecasts(text: Text, slow: _Slow) -> None:
    forecast, capacity = slow.forecast, slow.capacity
    text.metric("gardener_forecast_days_of_samples", "gauge", "Days that the disk's forecast is of.", forecast.days)
    if forecast.slope is not None:
        change = "Change of the free disk per day, by its trend."
        text.metric("gardener_disk_free_change_bytes_per_day", "gauge", change, forecast.slope.per_day)
    for bound, day in (("about", forecast.on), ("early", forecast.early), ("late", forecast.late)):
        if day is not None:
            midnight = datetime(day.year, day.month, day.day).timestamp()
            full = "Unix time at which the disk is full, by its trend; no sample without a date."
            text.metric("gardener_disk_full_timestamp_seconds", "gauge", full, midnight, bound=bound)
    if capacity.more is not None:
        text.metric("gardener_projects_that_fit", "gauge", "More projects like those of now.", capacity.more)
