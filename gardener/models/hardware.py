"""What this machine really has for a model: memory and its limits, chip, memory bandwidth, cores.

Nothing heavy is imported: psutil, and on a Mac one call of sysctl(8). The parts for macOS were written from its
documentation and are tested against a stand-in for sysctl; they have not been run on a Mac.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SYSCTL: Final = "/usr/sbin/sysctl"
_SYSCTL_TIMEOUT_S: Final = 2.0
_NAMES: Final = (
    "hw.memsize",
    "hw.physicalcpu",
    "machdep.cpu.brand_string",
    "iogpu.wired_limit_mb",
)
PRESSURE_NAME: Final = "kern.memorystatus_vm_pressure_level"

_CGROUPS: Final = "/sys/fs/cgroup"
_MEMBERSHIP: Final = "/proc/self/cgroup"
_CPUINFO: Final = "/proc/cpuinfo"

BANDWIDTH_GBS: Final[Mapping[str, float]] = {
    "M1": 68.25, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": 300, "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": 410,
    "M5": 153,
}  # fmt: skip
"""GB/s of unified memory as Apple publishes it (support.apple.com, "Technical Specifications" of each Mac).

M3 Max and M4 Max are sold with two memory buses under one name; the slower is given here (the faster: 400, 546).
Chips that are missing, such as the M5 Pro and Max, are unknown to this table, and no speed is estimated for them.
"""

WORKING_SET_SMALL: Final = 2 / 3
WORKING_SET_LARGE: Final = 3 / 4
_SMALL_BYTES: Final = 36 * 2**30
"""Metal's recommended working set is about 65 to 75 % of memory: two thirds up to 36 GB, three quarters above."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Sizes in bytes."""

    system: str
    """sys.platform: "darwin", "linux"."""
    chip: str
    """ "Apple M4 Pro", or what the processor calls itself; "" when it does not say."""
    cores: int
    """Physical cores of the machine, or the share of them that a control group or affinity leaves."""
    memory_bytes: int
    """What this process may have at most: of the machine, or of its control group when that is less."""
    available_bytes: int
    """What can be had right now without swapping."""
    limited_by: str
    """What makes `memory_bytes` less than the machine's: "control group", or ""."""
    gpu_bytes: int | None
    """Metal's working set on a Mac; None elsewhere."""
    gpu_source: str
    """Where that number is from: "Metal", "iogpu.wired_limit_mb", "rule"; ""."""
    bandwidth_gbs: float | None
    """Memory bandwidth in GB/s by the table; None when unknown."""

    def as_json(self) -> dict[str, object]:
        return {
            "system": self.system,
            "chip": self.chip,
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "available_bytes": self.available_bytes,
            "limited_by": self.limited_by,
            "gpu_bytes": self.gpu_bytes,
            "gpu_source": self.gpu_source,
            "bandwidth_gbs": self.bandwidth_gbs,
        }


def read_hardware(
    *,
    system: str = sys.platform,
    sysctl: str = SYSCTL,
    ask_metal: bool = False,
    metal: Callable[[], int | None] | None = None,
) -> Hardware:
    """Looks at the machine; a few milliseconds.

    ask_metal: on a Mac, import MLX to ask Metal for its working set. Without it Metal is asked only when MLX is
    already imported; otherwise the setting or the rule stands in for it.
    """
    if system == "darwin":
        return _mac(read_sysctl(_NAMES, sysctl), metal or (lambda: _metal_working_set(ask_metal)))
    import psutil

    machine = psutil.virtual_memory()
    limits = [(limit, used) for limit, used in cgroup_limits() if 0 < limit < machine.total]
    total = min([machine.total, *(limit for limit, _ in limits)])
    available = min([machine.available, *(max(0, limit - used) for limit, used in limits)])
    return Hardware(
        system=system,
        chip=_cpu_name(),
        cores=_cores(),
        memory_bytes=total,
        available_bytes=available,
        limited_by="control group" if total < machine.total else "",
        gpu_bytes=None,
        gpu_source="",
        bandwidth_gbs=None,
    )


def _mac(found: Mapping[str, str], metal: Callable[[], int | None]) -> Hardware:
    import psutil

    machine = psutil.virtual_memory()
    total = _number(found.get("hw.memsize")) or machine.total
    chip = found.get("machdep.cpu.brand_string", "")
    wired = _number(found.get("iogpu.wired_limit_mb")) * 2**20
    asked = metal()
    if asked:
        gpu, source = asked, "Metal"
    elif 0 < wired <= total:
        gpu, source = wired, "iogpu.wired_limit_mb"
    else:
        gpu, source = int(total * (WORKING_SET_SMALL if total <= _SMALL_BYTES else WORKING_SET_LARGE)), "rule"
    return Hardware(
        system="darwin",
        chip=chip,
        cores=_number(found.get("hw.physicalcpu")) or _cores(),
        memory_bytes=total,
        available_bytes=min(machine.available, total),
        limited_by="",
        gpu_bytes=min(gpu, total),
        gpu_source=source,
        bandwidth_gbs=bandwidth_of(chip),
    )


def bandwidth_of(chip: str) -> float | None:
    """GB/s of "Apple M4 Pro" and the like; None for a chip that the table does not have."""
    found = re.fullmatch(r"(?:Apple )?(M\d+(?: (?:Pro|Max|Ultra))?)", chip.strip())
    return BANDWIDTH_GBS.get(found.group(1)) if found else None


def read_sysctl(names: Sequence[str], command: str = SYSCTL) -> dict[str, str]:
    """The values of sysctl(8) by name; what this system does not know is left out.

    One unknown name makes the command fail, and it still prints the others, so only its output counts.
    """
    import subprocess

    try:
        done = subprocess.run(
            [command, *names], capture_output=True, text=True, errors="replace", timeout=_SYSCTL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition(": ") for line in done.stdout.splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator and name in names}


def pressure_level(command: str = SYSCTL) -> int | None:
    """macOS's own judgement of memory: 1 normal, 2 warning, 4 critical; None where it is not to be had."""
    level = _number(read_sysctl((PRESSURE_NAME,), command).get(PRESSURE_NAME))
    return level if level in (1, 2, 4) else None


def _metal_working_set(ask: bool) -> int | None:
    """What Metal recommends at most, in bytes; None without Metal."""
    if not ask and "mlx.core" not in sys.modules:
        return None
    try:
        import mlx.core as mx

        information: Any = mx.device_info() if hasattr(mx, "device_info") else mx.metal.device_info()
        return int(information["max_recommended_working_set_size"]) or None
    except (ImportError, RuntimeError, KeyError, TypeError, ValueError):
        return None  # no MLX here, or MLX without Metal: the next source is asked


def cgroup_limits(root: str = _CGROUPS, membership: str = _MEMBERSHIP) -> list[tuple[int, int]]:
    """(limit, used) in bytes of every memory control group above this process; page cache that can be dropped is
    not counted as used. Versions 2 and 1 (docs.kernel.org/admin-guide: cgroup-v2, cgroup-v1/memory)."""
    found = []
    for line in _read(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            found += _walk(root, group, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            folder = os.path.join(root, "memory")
            found += _walk(folder, group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return found


def _walk(root: str, group: str, limit_file: str, used_file: str, cache_key: str) -> list[tuple[int, int]]:
    """From the group itself up to the root: in a container often only the root can be seen."""
    found = []
    group = group.strip("/")
    while True:
        folder = os.path.join(root, group)
        limit, used = _read(f"{folder}/{limit_file}").strip(), _read(f"{folder}/{used_file}").strip()
        if limit.isdecimal() and used.isdecimal():
            numbers = dict(item.split()[:2] for item in _read(f"{folder}/memory.stat").splitlines() if " " in item)
            cache = _number(numbers.get(cache_key))
            found.append((int(limit), max(0, int(used) - cache)))
        if not group:
            return found
        group = os.path.dirname(group)


def _cpu_name() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _read(_CPUINFO, 8_192), re.MULTILINE)
    return match.group(1).strip() if match else ""


def _cores() -> int:
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


def free_disk(folder: str) -> int:
    """Bytes that may still be written where `folder` is or would be made."""
    import shutil

    path = os.path.abspath(folder)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def _number(text: str | None) -> int:
    """A whole number; 0 for anything else."""
    return int(text) if text and text.isascii() and text.isdecimal() else 0


def _read(path: str, most: int = 65_536) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(most)
    except OSError:
        return ""  # no such control group, or none that may be read: the machine's figure stands
