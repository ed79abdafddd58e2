"""Measurements and their thresholds; what a Mac says is read from stand-ins for its commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from gardener.health import mac
from gardener.health.check import Finding, run_checks
from gardener.health.machine import Gauge, Heat, mac_heat, machine_checks, read_heat
from gardener.paths import Paths
from gardener.settings import load_settings

CALM = {
    "cpu_times": lambda: (0.0, 0.0),
    "memory": lambda: 0.7,
    "swap": lambda: (0.0, 16e9),
    "stalled": lambda: None,
    "pressure": lambda: None,
    "battery": lambda: None,
    "heat": lambda: None,
}


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def measured(home: Path, gauge: Gauge) -> dict[str, Finding]:
    paths = Paths(str(home))
    return {
        finding.check: finding for finding in run_checks(machine_checks(paths, lambda: load_settings(paths), gauge))
    }


@pytest.mark.parametrize(
    ("name", "value", "check", "expected"),
    [
        ("memory", 0.21, "memory", ""),
        ("memory", 0.19, "memory", "warning"),
        ("memory", 0.04, "memory", "error"),
        ("stalled", 12.0, "memory", "warning"),
        ("stalled", 31.0, "memory", "error"),
        ("pressure", 1, "memory", ""),
        ("pressure", 2, "memory", "warning"),
        ("pressure", 4, "memory", "error"),
        ("swap", (3e9, 16e9), "swap", ""),
        ("swap", (4e9, 16e9), "swap", "warning"),
        ("swap", (8e9, 16e9), "swap", "error"),
        ("battery", (15.0, False), "battery", ""),
        ("battery", (15.0, True), "battery", "warning"),
        ("battery", (9.0, True), "battery", "error"),
        ("heat", Heat("warning", "hot"), "heat", "warning"),
    ],
)
def test_thresholds(home: Path, name: str, value: object, check: str, expected: str) -> None:
    finding = measured(home, Gauge(**{**CALM, name: lambda: value}))[check]  # type: ignore[arg-type]
    assert (finding.severity if finding.id else "") == expected, finding


def test_the_load_is_that_of_the_time_between_two_rounds(home: Path) -> None:
    times = iter([(0.0, 0.0), (1.0, 1.0), (1.5, 11.0), (9.5, 21.0), (19.5, 31.0)])
    gauge = Gauge(**{**CALM, "cpu_times": lambda: next(times)})  # type: ignore[arg-type]
    first = measured(home, gauge)["processor"]
    assert first.severity == "info" and first.detail.startswith("100 %")  # a tenth of a second proves nothing
    seen = [measured(home, gauge)["processor"] for _ in range(3)]
    assert [finding.severity for finding in seen] == ["ok", "warning", "error"]


def test_a_clock_that_was_set_is_told_for_an_hour_and_sleep_is_none(home: Path) -> None:
    wall, steady = 1_800_000_000.0, 100.0
    gauge = Gauge(**CALM, wall=lambda: wall, steady=lambda: steady)  # type: ignore[arg-type]
    assert measured(home, gauge)["clock"].severity == "ok"
    wall, steady = wall + 30_000, steady + 30_000  # the machine slept: both clocks went on
    assert measured(home, gauge)["clock"].severity == "ok"
    wall, steady = wall - 7_200, steady + 60
    found = measured(home, gauge)["clock"]
    assert found.id == "clock-jumped" and "back by 7260 s" in found.detail
    wall, steady = wall + 4_000, steady + 4_000
    assert measured(home, gauge)["clock"].severity == "ok"
    wall = 0.0
    assert "1970" in measured(home, gauge)["clock"].detail


def test_a_small_disk_is_told_in_its_own_unit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(total: int, free: int) -> str:
        monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(total, total - free, free))
        return measured(home, Gauge(**CALM))["disk"].detail  # type: ignore[arg-type]

    assert disk(64_000_000, 1_500_000).startswith("1.5 MB free of 64.0 MB")
    assert "does not say how large" in disk(0, 0)


def test_the_real_ones_can_be_read_here(home: Path) -> None:
    for name, finding in measured(home, Gauge()).items():
        assert finding.id != "check-failed", (name, finding)
    read_heat()


@pytest.mark.parametrize(
    ("printed", "pressure"),
    [
        ("com.apple.system.thermalpressurelevel 0\n", "nominal"),
        ("com.apple.system.thermalpressurelevel 2\n", "heavy"),
        ("com.apple.system.thermalpressurelevel 9\n", ""),
        ("", ""),
        ("No such key\n", ""),
    ],
)
def test_thermal_pressure_of_a_mac(printed: str, pressure: str) -> None:
    def ask(command: Sequence[str]) -> str:
        assert list(command) == ["/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel"]
        return printed

    assert mac.thermal_pressure(ask) == pressure


def test_the_speed_limit_of_a_mac() -> None:
    intel = (
        "2026-11-21 10:00:00 +0100 CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n"
        "\tCPU_Available_CPUs \t= 8\n\tCPU_Speed_Limit \t= 41\n"
    )
    apple = "Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\n"
    assert mac.speed_limit(lambda _: intel) == 41
    assert mac.speed_limit(lambda _: apple) is None
    assert mac.ask(("/nonexistent/pmset",)) == ""
    assert mac_heat("", None) is None
    assert mac_heat("moderate", 100) == Heat(None, "thermal pressure moderate, processor at 100 % of its speed")
    assert [mac_heat(*said).level for said in (("heavy", None), ("trapping", None), ("", 41), ("", 80))] == [  # type: ignore[union-attr]
        "warning", "error", "error", "warning",
    ]  # fmt: skip
