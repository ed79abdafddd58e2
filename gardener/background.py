"""When background work has to wait: somebody waits for an answer, the battery is low, memory is short."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

from gardener.paths import ensure_directory, open_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

LOOK_S = 5.0
"""How long a look at battery and memory holds; it costs up to a millisecond."""
ANSWERING = "a search or an answer is being produced"
_CGROUPS = "/sys/fs/cgroup"


class Foreground:
    """Tells the background work of every process of this home that somebody waits.

    A shared flock(2) on one file: the kernel drops it when a process dies, however it dies.
    """

    def __init__(self, folder: str, name: str = "foreground.lock") -> None:
        self._folder = folder
        self._path = os.path.join(folder, name)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Background work waits while the block runs. Several may be in it at once."""
        descriptor = self._open()
        try:
            if descriptor >= 0:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            if descriptor >= 0:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)

    def anybody(self) -> bool:
        """Whether anybody waits right now, in any process; this one included."""
        descriptor = self._open()
        if descriptor < 0:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)  # and with it the lock
        return False

    def _open(self) -> int:
        """-1 when the file cannot be had: on a full or read-only disk a search still has to work."""
        try:
            if not os.path.isdir(self._folder):
                ensure_directory(self._folder)
            return open_private(self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW)
        except Exception as error:
            if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
                return -1
            raise


class Conditions:
    """What the machine says about background work. Thread-safe as far as it matters: a look more does no harm."""

    def __init__(
        self,
        *,
        battery_percent: int,
        memory_percent: int,
        battery: Callable[[], tuple[float, bool] | None] | None = None,
        memory: Callable[[], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        held_back: Callable[[], str] = lambda: "",
    ) -> None:
        """Work waits while `held_back` gives a reason, at or below `battery_percent` of charge while discharging,
        and below `memory_percent` of memory that is available. `battery` gives (percent, discharging) or None,
        `memory` a share from 0 to 1; the real ones ask psutil."""
        self._battery_percent = battery_percent
        self._memory_percent = memory_percent
        self._battery = battery or battery_now
        self._memory = memory or available_memory
        self._clock = clock
        self._held_back = held_back
        self._looked_at = float("-inf")
        self._reason = ""
        self.on_battery = False
        self.short_of_memory = False

    def reason(self) -> str:
        """Why background work has to wait, as it is shown: "on battery, 23 %"; "" when it may go on."""
        now = self._clock()
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._reason = self._look()
        return self._held_back() or self._reason

    def _look(self) -> str:
        charge = self._battery()
        self.on_battery = charge is not None and charge[1]
        free = self._memory() * 100
        self.short_of_memory = free < self._memory_percent
        if self.short_of_memory:
            return f"{free:.0f} % of memory available"
        if charge is not None and charge[1] and charge[0] <= self._battery_percent:
            return f"on battery, {charge[0]:.0f} %"
        return ""


def battery_now() -> tuple[float, bool] | None:
    """(percent, discharging), or None where there is no battery or nothing is known of it."""
    import psutil

    try:
        found: Any = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, psutil.Error, ValueError):
        return None  # a driver that gives nonsense must not stop the work for ever
    return None if found is None else (float(found.percent), found.power_plugged is False)


def available_memory() -> float:
    """Share of memory that can be had without swapping, from 0 to 1: the machine's, or the control group's when
    that is less. On macOS psutil counts free and inactive pages."""
    import psutil

    machine = psutil.virtual_memory()
    return min([machine.available / machine.total, *cgroup_shares(machine.total)])


def cgroup_shares(total: int, root: str = _CGROUPS, membership: str = "/proc/self/cgroup") -> list[float]:
    """Available share of each limit above this process that is below `total` bytes; [] without any.

    Page cache that can be dropped (inactive_file) counts as available. Version 2 of control groups only
    (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files).
    """
    line = next((line for line in _read(membership).splitlines() if line.startswith("0::")), "")
    group = line[3:].strip("/")
    shares = []
    while line:
        folder = os.path.join(root, group)
        limit, used = _read(folder + "/memory.max").strip(), _read(folder + "/memory.current").strip()
        if limit.isdecimal() and used.isdecimal() and 0 < int(limit) < total:
            numbers = dict(item.split()[:2] for item in _read(folder + "/memory.stat").splitlines() if " " in item)
            cache = int(numbers.get("inactive_file", "0"))
            shares.append(max(0.0, (int(limit) - int(used) + cache) / int(limit)))
        if not group:
            break
        group = os.path.dirname(group)
    return shares


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(65_536)
    except OSError:
        return ""  # no such control group, or none that may be read: the machine's figure stands
