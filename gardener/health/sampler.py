"""Takes a sample of the machine and of Gardener every 30 s: the monitor's loop asks `due` and calls `sample`."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable

from gardener.errors import GardenerError
from gardener.health.home_sizes import home_sizes
from gardener.health.readings import AnswerFigures, AppFigures, Processor, SearchRate, machine, resident_bytes
from gardener.health.rollups import prune, roll_up
from gardener.health.samples import INTERVAL_S, Sample, Samples
from gardener.paths import Paths

log = logging.getLogger("gardener.health")

SIZES_EVERY_S = 1_800.0
"""Sizes below the home: a look at every file, so on a slow clock."""
PRUNE_EVERY_S = 3_600.0
GAP = 3
"""Intervals without a sample after which rates are left out: the machine slept, and an average over it says nothing."""


class Sampler:
    """Not thread-safe: one loop samples. No failure of a reading or of the file reaches the caller."""

    def __init__(
        self,
        paths: Paths,
        *,
        app: Callable[[], AppFigures | None] = lambda: None,
        answers: Callable[[float, float], AnswerFigures | None] = lambda since, until: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`app` gives the running app's figures, `answers` those of the answers between two Unix times; None of
        nothing. `clock` gives Unix time; `monotonic` says when a sample is due, whatever is done to the clock."""
        self._paths = paths
        self._app = app
        self._answers = answers
        self._clock = clock
        self._monotonic = monotonic
        self._samples = Samples(paths.samples_db)
        self._processor = Processor()
        self._searches = SearchRate()
        self._last: tuple[float, float] | None = None
        self._sizes_at = self._pruned_at = float("-inf")
        self._failing: dict[str, str] = {}
        self.problem = ""
        """Why the last sample could not be kept; "" when it was."""

    def due(self) -> bool:
        return self.wait_s() <= 0

    def wait_s(self) -> float:
        """Seconds until the next sample; 0 or less when it is due."""
        return 0.0 if self._last is None else self._last[0] + INTERVAL_S - self._monotonic()

    def sample(self) -> Sample:
        """Reads everything, keeps it, and returns it. Never raises; `problem` says when it could not be kept."""
        moment, at = self._monotonic(), self._clock()
        values: dict[str, float] = {}
        for name, read in (
            ("machine", lambda: machine(self._paths)),
            ("processor", self._processor_use),
            ("sizes", lambda: self._sizes(moment)),
            ("app", self._of_the_app),
            ("answers", lambda: self._of_answers(at)),
        ):
            values.update(self._tried(name, read))
        if self._last is None or moment - self._last[0] > GAP * INTERVAL_S:
            for name in ("cpu", "searches", "search_time", "answers", "tokens_per_s", "first_token"):
                values.pop(name, None)
        self._last = (moment, at)
        sample = Sample(at, values)
        self._keep(sample, moment)
        return sample

    def close(self) -> None:
        self._samples.close()

    # ---- parts ---------------------------------------------------------------------------------------

    def _tried(self, name: str, read: Callable[[], dict[str, float]]) -> dict[str, float]:
        """One reading that fails costs only itself, and is said when it begins to fail."""
        try:
            values = read()
        except Exception as error:  # psutil and the kernel have many ways; the sample goes on without it
            said = f"{type(error).__name__}: {error}"
            if self._failing.get(name) != said:
                log.warning("samples.not_read", extra={"fields": {"what": name, "reason": said}})
            self._failing[name] = said
            return {}
        self._failing.pop(name, None)
        return values

    def _processor_use(self) -> dict[str, float]:
        percent = self._processor.percent()
        return {} if percent is None else {"cpu": percent}

    def _sizes(self, moment: float) -> dict[str, float]:
        if moment - self._sizes_at < SIZES_EVERY_S:
            return {}
        self._sizes_at = moment
        return home_sizes(self._paths).as_values()

    def _of_the_app(self) -> dict[str, float]:
        found = self._app()
        if found is None:
            return {}
        values = self._searches.since(found)
        if found.embedded is not None:
            values["embedded"] = found.embedded
        memory = resident_bytes(found.pid)
        return values if memory is None else values | {"app_memory": memory}

    def _of_answers(self, at: float) -> dict[str, float]:
        if self._last is None or at <= self._last[1]:  # the clock was set back: no stretch of time to ask about
            return {}
        found = self._answers(self._last[1], at)
        if found is None:
            return {}
        values = {"answers": float(found.answers)}
        if found.tokens_per_s is not None:
            values["tokens_per_s"] = found.tokens_per_s
        if found.first_token_ms is not None:
            values["first_token"] = found.first_token_ms
        return values

    def _keep(self, sample: Sample, moment: float) -> None:
        try:
            self._samples.add(sample)
            with self._samples.write() as connection:
                roll_up(connection)
                if moment - self._pruned_at >= PRUNE_EVERY_S:
                    prune(connection)
                    self._pruned_at = moment
        except (sqlite3.Error, GardenerError, OSError) as error:
            said = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
            if said != self.problem:
                log.warning("samples.not_kept", extra={"fields": {"reason": said}})
            self.problem = said
        else:
            self.problem = ""
