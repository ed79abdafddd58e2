"""What macOS says of heat, through its own commands.

Written from the documentation (pmset(1), notifyutil(1), OSThermalNotification.h) and tested with stand-ins for the
commands; not run on a Mac. Memory pressure is in gardener.models.hardware, beside the other sysctl values.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

PMSET: Final = "/usr/bin/pmset"
NOTIFYUTIL: Final = "/usr/bin/notifyutil"
THERMAL_KEY: Final = "com.apple.system.thermalpressurelevel"
PRESSURES: Final = ("nominal", "moderate", "heavy", "trapping", "sleeping")
"""OSThermalPressureLevel on macOS, from 0."""
_LIMIT_S: Final = 2.0

Ask = Callable[[Sequence[str]], str]


def ask(command: Sequence[str]) -> str:
    """What a command prints; "" when it cannot be run or does not end."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def thermal_pressure(ask: Ask = ask) -> str:
    """One of PRESSURES; "" where it cannot be had. notifyutil -g prints the key and its value."""
    found = re.search(re.escape(THERMAL_KEY) + r"\s+(\d+)\s*$", ask((NOTIFYUTIL, "-g", THERMAL_KEY)), re.MULTILINE)
    level = int(found.group(1)) if found else -1
    return PRESSURES[level] if 0 <= level < len(PRESSURES) else ""


def speed_limit(ask: Ask = ask) -> int | None:
    """Percent of its speed that the processor is held to (`pmset -g therm`); Macs with Apple's chips print none."""
    found = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", ask((PMSET, "-g", "therm")))
    return int(found.group(1)) if found else None
