"""What the machine has: limits of control groups, and macOS by a stand-in for sysctl (nothing here ran on a Mac)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from gardener.models.hardware import (
    bandwidth_of,
    cgroup_limits,
    free_disk,
    pressure_level,
    read_hardware,
    read_sysctl,
)

GIB = 2**30
MAC = {
    "hw.memsize": str(24 * GIB),
    "hw.physicalcpu": "12",
    "machdep.cpu.brand_string": "Apple M4 Pro",
    "kern.memorystatus_vm_pressure_level": "2",
    "iogpu.wired_limit_mb": "0",
}


def sysctl(folder: Path, values: Mapping[str, str]) -> str:
    """As sysctl(8) of macOS: known names as "name: value", an unknown one on stderr and exit status 1."""
    script = folder / "sysctl"
    cases = "\n".join(f"    {name}) echo '{name}: {value}' ;;" for name, value in values.items())
    script.write_text(
        f'#!/bin/sh\nstatus=0\nfor name in "$@"; do\n  case "$name" in\n{cases}\n'
        "    *) echo \"sysctl: unknown oid '$name'\" >&2; status=1 ;;\n  esac\ndone\nexit $status\n"
    )
    script.chmod(0o755)
    return str(script)


def test_this_machine() -> None:
    hardware = read_hardware()
    assert 0 < hardware.available_bytes <= hardware.memory_bytes <= psutil.virtual_memory().total
    assert hardware.cores >= 1
    if sys.platform == "linux":
        assert hardware.gpu_bytes is None


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from gardener.models.hardware import read_hardware; read_hardware(); "
        "print(sorted({'mlx', 'numpy', 'torch', 'httpx'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_mac_by_the_rule(tmp_path: Path) -> None:
    hardware = read_hardware(system="darwin", sysctl=sysctl(tmp_path, MAC), metal=lambda: None)
    assert (hardware.chip, hardware.cores, hardware.bandwidth_gbs) == ("Apple M4 Pro", 12, 273)
    assert hardware.memory_bytes == 24 * GIB
    assert hardware.gpu_bytes == 16 * GIB  # two thirds
    assert hardware.gpu_source == "rule"


def test_a_large_mac_gives_three_quarters(tmp_path: Path) -> None:
    command = sysctl(tmp_path, {**MAC, "hw.memsize": str(128 * GIB)})
    assert read_hardware(system="darwin", sysctl=command, metal=lambda: None).gpu_bytes == 96 * GIB


def test_the_wired_limit_and_metal_come_before_the_rule(tmp_path: Path) -> None:
    command = sysctl(tmp_path, {**MAC, "iogpu.wired_limit_mb": "20480"})
    by_setting = read_hardware(system="darwin", sysctl=command, metal=lambda: None)
    assert (by_setting.gpu_bytes, by_setting.gpu_source) == (20 * GIB, "iogpu.wired_limit_mb")
    by_metal = read_hardware(system="darwin", sysctl=command, metal=lambda: 17 * GIB)
    assert (by_metal.gpu_bytes, by_metal.gpu_source) == (17 * GIB, "Metal")


def test_an_older_mac_that_lacks_a_name(tmp_path: Path) -> None:
    values = {name: value for name, value in MAC.items() if not name.startswith("iogpu")}
    hardware = read_hardware(system="darwin", sysctl=sysctl(tmp_path, values), metal=lambda: None)
    assert hardware.gpu_source == "rule"
    assert hardware.chip == "Apple M4 Pro"  # the others were still printed


def test_no_sysctl_at_all(tmp_path: Path) -> None:
    assert read_sysctl(["hw.memsize"], str(tmp_path / "none")) == {}
    hardware = read_hardware(system="darwin", sysctl=str(tmp_path / "none"), metal=lambda: None)
    assert hardware.memory_bytes == psutil.virtual_memory().total


@pytest.mark.parametrize(("said", "level"), [("1", 1), ("4", 4), ("3", None), ("", None)])
def test_pressure_level(tmp_path: Path, said: str, level: int | None) -> None:
    assert pressure_level(sysctl(tmp_path, {"kern.memorystatus_vm_pressure_level": said})) == level
    assert pressure_level(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("chip", "bandwidth"),
    [
        ("Apple M1", 68.25),
        ("Apple M3 Max", 300),
        ("Apple M2 Ultra", 800),
        ("Apple M9 Pro", None),
        ("Intel(R) Xeon", None),
    ],
)
def test_bandwidth(chip: str, bandwidth: float | None) -> None:
    assert bandwidth_of(chip) == bandwidth


def group(folder: Path, limit: str, used: int, cache: int, *, version: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{used}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cache}\n")


def test_limits_of_version_2(tmp_path: Path) -> None:
    group(tmp_path / "user" / "app", "max", 9, 0, version=2)
    group(tmp_path / "user", str(4 * GIB), 3 * GIB, GIB, version=2)
    (tmp_path / "membership").write_text("0::/user/app\n")
    assert cgroup_limits(str(tmp_path), str(tmp_path / "membership")) == [(4 * GIB, 2 * GIB)]


def test_limits_of_version_1_seen_from_inside_a_container(tmp_path: Path) -> None:
    group(tmp_path / "memory", str(2 * GIB), GIB, 0, version=1)  # the container's own group is mounted as the root
    (tmp_path / "membership").write_text("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n")
    assert cgroup_limits(str(tmp_path), str(tmp_path / "membership")) == [(2 * GIB, GIB)]


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(str(tmp_path / "a" / "b")) > 0
