"""One budget for everything that models make large: weights, prompt caches, the embedder.

It refuses a model that does not fit before it is loaded, and gives memory back in a fixed order when the machine runs
short: caches, then the embedder, then background work on the index waits. It starts no thread: the app calls `tick`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from gardener.errors import ModelTooLarge
from gardener.models.fit import needs_of, smaller_than

if TYPE_CHECKING:
    from gardener.models.model_folder import ModelFolder

log = logging.getLogger("gardener.governor")

Pressure = Literal["normal", "warning", "critical"]
Kind = Literal["weights", "cache", "embedder"]

WARNING_SHARE: Final = 0.08
CRITICAL_SHARE: Final = 0.04
"""Available share of memory below which pressure is reported where the system does not report it itself."""
SETTLE_S: Final = 10.0
"""After a step the system gets this long to show its effect before the next step is taken; none when critical."""
CALM_S: Final = 60.0
"""So long pressure must have been normal before what was paused goes on, so that nothing flaps."""

STAGES: Final = ("", "caches", "embedder", "index")
"""How far relief has gone: nothing, caches given back, embedder unloaded too, background work paused too."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine says right now."""

    available_bytes: int
    pressure: Pressure
    strict: bool = True
    """Whether more than `available_bytes` cannot be had: true on Linux, not on macOS, which compresses memory."""


Probe = Callable[[], Reading]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that holds memory. The functions may be called from any thread and must not wait long."""

    name: str
    kind: Kind
    held: Callable[[], int]
    """Bytes that it holds now."""
    release: Callable[[], int] | None = None
    """Gives back what can be given back; returns bytes, 0 when it was busy."""


@dataclass(frozen=True, slots=True)
class GovernorState:
    """What status and doctor show."""

    budget_bytes: int
    held: dict[str, int] = field(default_factory=dict)
    available_bytes: int = 0
    pressure: Pressure = "normal"
    stage: str = ""
    """One of STAGES."""
    did: str = ""
    """What was done last, for the user: "gave back 812 MB of prompt caches"; "" when nothing had to be."""

    def as_json(self) -> dict[str, object]:
        return {
            "budget_bytes": self.budget_bytes,
            "held": dict(self.held),
            "held_bytes": sum(self.held.values()),
            "available_bytes": self.available_bytes,
            "pressure": self.pressure,
            "stage": self.stage,
            "did": self.did,
        }


class Governor:
    """Thread-safe. Parts and the probe are called without any lock of ours: a part may wait for its own thread, and
    that thread may be asking `admit` meanwhile."""

    def __init__(
        self,
        budget_bytes: int,
        probe: Probe,
        *,
        pause: Callable[[str], None] = lambda reason: None,
        resume: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pause(reason)` has background work on the index wait, `resume()` lets it go on; both may be called when
        it is so already."""
        self.budget_bytes = budget_bytes
        self._probe = probe
        self._pause = pause
        self._resume = resume
        self._clock = clock
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._stage = 0
        self._acted_at = float("-inf")
        self._calm_since: float | None = None
        self._did = ""
        self._last = Reading(0, "normal")

    def register(self, part: Part) -> None:
        """Adds a part, or replaces the one of that name."""
        with self._lock:
            self._parts[part.name] = part

    # ---- before a load -------------------------------------------------------------------------------

    def admit(self, folder: ModelFolder, kv_bytes: int) -> None:
        """Raises ModelTooLarge when this model cannot be loaded; nothing was changed then.

        The resident base counts as free, because it goes before another one comes, and its caches with it; other
        caches are given back when that is what makes room. The embedder keeps what it holds.
        """
        needs = needs_of(folder.weight_bytes, kv_bytes)
        stays = self._held("embedder")
        has = max(0, self.budget_bytes - stays)
        if needs.total > has:
            raise self._too_large(folder, needs.total, kv_bytes, has, "for models" + _less(stays))
        reading = self._probe()
        could = reading.available_bytes + self._held("weights", "cache")
        if reading.strict and needs.total > could:
            raise self._too_large(folder, needs.total, kv_bytes, could, "available right now")
        if needs.total > reading.available_bytes + self._held("weights"):
            self._release("cache")

    def _too_large(self, folder: ModelFolder, needs: int, kv_bytes: int, has: int, which: str) -> ModelTooLarge:
        smaller = smaller_than(needs, has, "mlx", folder.context_tokens)
        hint = f" {smaller[0].title} would fit: it needs {_size(smaller[1].total)}." if smaller else ""
        return ModelTooLarge(
            f"{folder.name} was not loaded: it needs {_size(needs)} (weights {_size(folder.weight_bytes)}, keys and "
            f"values {_size(kv_bytes)}, working memory {_size(needs - folder.weight_bytes - kv_bytes)}) and there are "
            f"{_size(has)} {which}, {_size(needs - has)} too little.{hint}",
            next_step=f"gardener models pull {smaller[0].id}" if smaller else "gardener models recommend",
        )

    # ---- while it runs -------------------------------------------------------------------------------

    def tick(self) -> GovernorState:
        """Looks at the machine and takes at most one step. To be called every few seconds, by one thread."""
        reading = self._probe()
        pressure = reading.pressure
        if pressure == "normal" and sum(self._bytes().values()) > self.budget_bytes:
            pressure = "warning"
        with self._lock:
            self._last = Reading(reading.available_bytes, pressure, reading.strict)
        self.relieve(pressure)
        return self.state()

    def relieve(self, pressure: Pressure) -> None:
        """The next step for this much pressure: one stage further while it lasts, back to none after a calm time."""
        now = self._clock()
        if pressure == "normal":
            self._calm(now)
            return
        with self._lock:
            self._calm_since = None
            if pressure == "warning" and now - self._acted_at < SETTLE_S:
                return
            self._acted_at = now
            self._stage = min(self._stage + 1, len(STAGES) - 1)
            stage = self._stage
        self._act(pressure, stage)

    def _act(self, pressure: Pressure, stage: int) -> None:
        freed = self._release("cache")
        done = [f"gave back {_size(freed)} of prompt caches"] if freed else []
        if stage >= 2:
            unloaded = self._release("embedder")
            freed += unloaded
            done += [f"unloaded the embedder ({_size(unloaded)})"] if unloaded else []
        if stage >= 3:
            self._pause(f"memory is short ({pressure})")
            done.append("background work on the index waits")
        did = ", ".join(done) or "there was nothing to give back"
        with self._lock:
            self._did = did
        fields = {"pressure": pressure, "stage": STAGES[stage], "freed_bytes": freed, "did": did}
        log.warning("memory.relieved", extra={"fields": fields})

    def _calm(self, now: float) -> None:
        with self._lock:
            if self._calm_since is None:
                self._calm_since = now
            if not self._stage or now - self._calm_since < CALM_S:
                return
            before, self._stage, self._did = self._stage, 0, ""
        if before >= 3:
            self._resume()
        log.info("memory.calm", extra={"fields": {"stage_before": STAGES[before]}})

    def state(self) -> GovernorState:
        """As of the last tick; what is held is asked now."""
        held = self._bytes()
        with self._lock:
            last = self._last
            return GovernorState(
                self.budget_bytes, held, last.available_bytes, last.pressure, STAGES[self._stage], self._did
            )

    # ---- the parts -----------------------------------------------------------------------------------

    def _all(self, *kinds: Kind) -> list[Part]:
        with self._lock:
            return [part for part in self._parts.values() if not kinds or part.kind in kinds]

    def _bytes(self) -> dict[str, int]:
        return {part.name: _asked(part, part.held) for part in self._all()}

    def _held(self, *kinds: Kind) -> int:
        return sum(_asked(part, part.held) for part in self._all(*kinds))

    def _release(self, kind: Kind) -> int:
        return sum(_asked(part, part.release) for part in self._all(kind) if part.release is not None)


def _asked(part: Part, function: Callable[[], int]) -> int:
    """A part that fails counts as nothing, and says so in the log: it must not stop the others from giving back."""
    try:
        return max(0, function())
    except Exception:
        log.exception("memory part %s failed", part.name)
        return 0


def machine_probe() -> Reading:
    """What this machine says: macOS's own pressure level, elsewhere the available share of the tightest limit."""
    import sys

    from gardener.models.hardware import pressure_level, read_hardware

    hardware = read_hardware()
    mac = sys.platform == "darwin"
    level = pressure_level() if mac else None
    if level is not None:
        levels: dict[int, Pressure] = {1: "normal", 2: "warning", 4: "critical"}
        return Reading(hardware.available_bytes, levels[level], strict=False)
    share = hardware.available_bytes / max(1, hardware.memory_bytes)
    pressure: Pressure = "critical" if share < CRITICAL_SHARE else "warning" if share < WARNING_SHARE else "normal"
    return Reading(hardware.available_bytes, pressure, strict=not mac)


def _less(stays: int) -> str:
    return f" (the embedder holds {_size(stays)} more)" if stays else ""


def _size(count: float) -> str:
    """Bytes with a decimal unit, as everywhere in the messages of Gardener."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
