"""Checks of the machine: processor, memory, swap, disk, heat, battery, clock.

The measurements are arguments, so that a test can give any; the real ones ask psutil, the kernel and, on a Mac, its
own commands.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gardener.background import available_memory, battery_now
from gardener.health.check import Check, Finding, fine, note
from gardener.health.kinds import Bad
from gardener.sizes import size

if TYPE_CHECKING:
    from gardener.paths import Paths
    from gardener.settings import Settings

LEAST_FREE_BYTES = 1e9
STALLED_WARNING, STALLED_ERROR = 10.0, 30.0
"""Percent of the last minute in which every process waited for memory ("full avg60" of
https://docs.kernel.org/accounting/psi.html)."""
JUMP_S = 60.0
"""Clocks are slewed by less; one that was set moves more."""
JUMP_SHOWN_S = 3_600.0
OLDEST_TIME = 1_767_225_600.0
"""2026-01-01: Gardener is younger than that, so an earlier time is wrong."""
_SHORT_LOOK_S = 0.1


class Heat(NamedTuple):
    level: Bad | None
    detail: str


def machine_checks(paths: Paths, settings: Callable[[], Settings], gauge: Gauge) -> list[Check]:
    """`gauge` is kept between rounds: the load is that of the time since the last one."""
    return [
        Check("processor", lambda: _cpu(gauge, settings())),
        Check("memory", lambda: _memory(gauge, settings())),
        Check("swap", lambda: _swap(gauge, settings())),
        Check("disk", lambda: _disk(paths, settings())),
        Check("heat", lambda: _heat(gauge), every_s=60),
        Check("battery", lambda: _battery(gauge, settings())),
        Check("clock", lambda: _clock(gauge)),
    ]


@dataclass(slots=True)
class Gauge:
    """What is measured, and what was measured last."""

    cpu_times: Callable[[], tuple[float, float]] = lambda: _cpu_times()
    """(busy, all) seconds of all cores so far."""
    memory: Callable[[], float] = available_memory
    swap: Callable[[], tuple[float, float]] = lambda: _swap_bytes()
    """(bytes of swap in use, bytes of memory)."""
    stalled: Callable[[], float | None] = lambda: _stalled()
    pressure: Callable[[], int | None] = lambda: _pressure()
    battery: Callable[[], tuple[float, bool] | None] = battery_now
    heat: Callable[[], Heat | None] = lambda: read_heat()
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = lambda: _steady()
    last_cpu: tuple[float, float] | None = None
    last_clocks: tuple[float, float] | None = None
    jumped: tuple[float, float] = field(default=(float("-inf"), 0.0))
    """When by the steady clock, and by how much."""


def _level(value: float, warning: float, error: float) -> Bad | None:
    return "error" if value >= error else "warning" if value >= warning else None


def _cpu(gauge: Gauge, settings: Settings) -> Finding:
    before = gauge.last_cpu
    if before is None:
        first = gauge.cpu_times()
        time.sleep(_SHORT_LOOK_S)
    gauge.last_cpu = busy, total = gauge.cpu_times()
    begun = before or first
    if total <= begun[1]:
        return note("too short a time to say")
    percent = 100 * max(0.0, busy - begun[0]) / (total - begun[1])
    detail = f"{percent:.0f} % of all cores in use"
    if before is None:
        return note(f"{detail} at this moment")  # a tenth of a second proves nothing
    level = _level(percent, settings.integer("health.cpu_warning"), settings.integer("health.cpu_error"))
    return Finding("cpu-busy", level, detail, "top") if level else fine(detail)


def _cpu_times() -> tuple[float, float]:
    import psutil

    times = psutil.cpu_times()._asdict()
    # On Linux a guest's time is part of user and nice.
    total = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    idle = times["idle"] + times.get("iowait", 0.0)
    return total - idle, total


def _memory(gauge: Gauge, settings: Settings) -> Finding:
    used = 100 * (1 - gauge.memory())
    detail = f"{used:.0f} % in use"
    level = _level(used, settings.integer("health.memory_warning"), settings.integer("health.memory_error"))
    stalled = gauge.stalled()
    if stalled is not None and stalled >= STALLED_WARNING:
        detail += f"; for {stalled:.0f} % of the last minute everything waited for memory"
        level = _worse(level, _level(stalled, STALLED_WARNING, STALLED_ERROR))
    pressure = gauge.pressure()
    if pressure in (2, 4):
        detail += f"; macOS calls the pressure {'critical' if pressure == 4 else 'high'}"
        level = _worse(level, "error" if pressure == 4 else "warning")
    return Finding("memory-short", level, detail, "gardener models recommend") if level else fine(detail)


def _worse(one: Bad | None, other: Bad | None) -> Bad | None:
    return "error" if "error" in (one, other) else one or other


def _stalled() -> float | None:
    """Linux's pressure-stall information; None where there is none."""
    try:
        with open("/proc/pressure/memory", encoding="ascii") as handle:
            full = next(line for line in handle if line.startswith("full"))
        return float(dict(part.split("=") for part in full.split()[1:])["avg60"])
    except (OSError, StopIteration, ValueError, KeyError):
        return None


def _pressure() -> int | None:
    from gardener.models.hardware import pressure_level

    return pressure_level() if sys.platform == "darwin" else None


def _swap(gauge: Gauge, settings: Settings) -> Finding:
    used, memory = gauge.swap()
    percent = 100 * used / memory if memory else 0.0
    detail = f"{size(used)} in use" if used else "none in use"
    warning = settings.integer("health.swap_warning")
    level = _level(percent, warning, 2 * warning)
    return Finding("swap-heavy", level, detail, "gardener models recommend") if level else fine(detail)


def _swap_bytes() -> tuple[float, float]:
    import psutil

    return float(psutil.swap_memory().used), float(psutil.virtual_memory().total)


def _disk(paths: Paths, settings: Settings) -> Finding:
    folder = paths.home
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    usage = shutil.disk_usage(folder)
    # As df counts: what is set aside for root is neither used nor free.
    share = 100 * usage.used / max(1, usage.used + usage.free)
    if not usage.total:
        return note(f"the disk of {paths.home} does not say how large it is")
    detail = f"{size(usage.free)} free of {size(usage.total)} on the disk of {paths.home}"
    level = _level(share, settings.integer("health.disk_warning"), settings.integer("health.disk_error"))
    if usage.free < LEAST_FREE_BYTES:
        level = "error"
    return Finding("disk-full", level, detail, "gardener disk") if level else fine(detail)


def _heat(gauge: Gauge) -> Finding:
    found = gauge.heat()
    if found is None:
        return note("cannot be read here")
    return Finding("machine-hot", found.level, found.detail, "top") if found.level else fine(found.detail)


def read_heat(system: str = sys.platform) -> Heat | None:
    """None where nothing can be read."""
    if system == "darwin":
        from gardener.health.mac import speed_limit, thermal_pressure

        return mac_heat(thermal_pressure(), speed_limit())
    import psutil

    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    hottest: Heat | None = None
    nearest = float("-inf")
    for name, readings in sensors.items():
        for reading in readings:
            limit = reading.critical or reading.high
            if not limit or limit <= 0 or reading.current <= 0:
                continue  # a sensor that says nothing, or no limit to compare with
            if reading.current - limit > nearest:
                nearest = reading.current - limit
                high = reading.high or limit
                level: Bad | None = "error" if reading.current >= limit else None
                if level is None and reading.current >= high:
                    level = "warning"
                label = reading.label or name
                hottest = Heat(level, f"{label} at {reading.current:.0f} °C of {limit:.0f} °C")
    return hottest


def mac_heat(pressure: str, limit: int | None) -> Heat | None:
    """`limit` is the percent of its speed that the processor is held to."""
    parts = []
    level: Bad | None = None
    if pressure:
        parts.append(f"thermal pressure {pressure}")
        level = {"nominal": None, "moderate": None, "heavy": "warning"}.get(pressure, "error")
    if limit is not None:
        parts.append(f"processor at {limit} % of its speed")
        level = _worse(level, "error" if limit < 50 else "warning" if limit < 90 else None)
    return Heat(level, ", ".join(parts)) if parts else None


def _battery(gauge: Gauge, settings: Settings) -> Finding:
    charge = gauge.battery()
    if charge is None:
        return note("no battery")
    percent, discharging = charge
    detail = f"{percent:.0f} %, {'discharging' if discharging else 'on mains'}"
    warning = settings.integer("health.battery_warning")
    if not discharging or percent > warning:
        return fine(detail)
    return Finding("battery-low", "error" if percent <= warning / 2 else "warning", detail)


def _clock(gauge: Gauge) -> Finding:
    wall, steady = gauge.wall(), gauge.steady()
    if gauge.last_clocks is not None:
        moved = (wall - gauge.last_clocks[0]) - (steady - gauge.last_clocks[1])
        if abs(moved) > JUMP_S:
            gauge.jumped = (steady, moved)
    gauge.last_clocks = (wall, steady)
    if wall < OLDEST_TIME:
        detail = f"It says {time.strftime('%Y-%m-%d', time.gmtime(wall))}, which cannot be."
        return Finding("clock-jumped", "warning", detail, "date")
    at, moved = gauge.jumped
    if steady - at < JUMP_SHOWN_S:
        way = "forward" if moved > 0 else "back"
        return Finding("clock-jumped", "warning", f"It was set {way} by {abs(moved):.0f} s.", "date")
    return fine("runs evenly")


def _steady() -> float:
    """Seconds that go on while the machine sleeps, and that nobody can set."""
    # macOS has no CLOCK_BOOTTIME; its CLOCK_MONOTONIC goes on in sleep, unlike Python's time.monotonic().
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
