"""What keeps a failing model server from becoming a failing Gardener: retry, deadlines, breaker.

All are values passed to whoever needs them; none is global. Times are seconds of the monotonic clock, so
setting the machine's clock changes nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from gardener.errors import BackendUnavailable

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

log = logging.getLogger("gardener.resilience")
# Else Python shows warnings on stderr in a process that writes no log files (the command line): words meant for a log,
# beside the error that the user gets anyway.
logging.getLogger("gardener").addHandler(logging.NullHandler())

T = TypeVar("T")

# ---- Retry ----------------------------------------------------------------------------------------------


def retry_call(
    function: Callable[[], T],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    attempts: int = 3,
    timeout_s: float = 30.0,
    first_wait_s: float = 0.2,
    longest_wait_s: float = 5.0,
) -> T:
    """Calls until it works, with waits that double and a random part, through stamina.

    on: the exceptions worth another try; never Exception itself (ValueError), so that a bug is not repeated.
    timeout_s: no further attempt begins after this. It interrupts none: give the call a timeout of its own.
    Raises what the last attempt raised. Retry at one layer only, and only what may be done twice.
    """
    named = on if isinstance(on, tuple) else (on,)
    if not named or Exception in named:
        raise ValueError("name the exceptions to retry on")
    import stamina

    _log_retries_without_arguments()
    for attempt in stamina.retry_context(
        on=named,
        attempts=attempts,
        timeout=timeout_s,
        wait_initial=first_wait_s,
        wait_max=longest_wait_s,
        wait_jitter=first_wait_s,
        wait_exp_base=2,
    ):
        with attempt:
            return function()
    raise AssertionError("stamina ends with a result or an exception")


def _log_retries_without_arguments() -> None:
    # Stamina's own hook logs the arguments of the call, and ours hold questions and file contents.
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    fields = {
        "attempt": details.retry_num,
        "wait_s": round(details.wait_for, 2),
        "caused_by": type(details.caused_by).__name__,
    }
    log.warning("retry.scheduled", extra={"fields": fields})


# ---- Deadlines ------------------------------------------------------------------------------------------


class Deadline:
    """How long something may take in all.

    An httpx timeout is per read, so a server that sends a byte a second never meets it; this one it does.
    """

    __slots__ = ("_clock", "_started", "total_s")

    def __init__(self, total_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total_s = total_s
        self._clock = clock
        self._started = clock()

    def remaining_s(self) -> float:
        """Seconds, never negative: the timeout for the next read."""
        return max(0.0, self._started + self.total_s - self._clock())


# ---- Circuit breaker ------------------------------------------------------------------------------------

CircuitState = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Stops calling something that mostly fails, and lets one call at a time find out whether it works again.

    closed: every call goes through; the outcomes of the last `window` calls, none older than `memory_s`, are
    kept. When at least `least_calls` are known and `failure_ratio` of them failed, it opens. (Counting
    failures in a row, as most libraries do, never opens on two failures, a success, two failures, a success.)
    open: calls are refused without being tried, for `open_s` seconds.
    half-open: one call at a time is let through as a probe. `probes` successes in a row close the circuit
    with an empty memory; one failure opens it again.

    Thread-safe. A call that was let through before the state changed no longer counts when it ends.
    """

    def __init__(
        self,
        name: str,
        *,
        window: int = 10,
        least_calls: int = 5,
        failure_ratio: float = 0.5,
        memory_s: float = 300.0,
        open_s: float = 15.0,
        probes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (1 <= least_calls <= window and 0 < failure_ratio <= 1 and probes >= 1 and open_s > 0):
            raise ValueError("1 <= least_calls <= window, 0 < failure_ratio <= 1, probes >= 1, open_s > 0")
        self.name = name
        self._least_calls = least_calls
        self._failure_ratio = failure_ratio
        self._memory_s = memory_s
        self._open_s = open_s
        self._probes = probes
        self._clock = clock
        self._lock = threading.Lock()
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=window)
        self._opened_at: float | None = None
        self._probing = False
        self._good_probes = 0
        self._generation = 0

    @property
    def state(self) -> CircuitState:
        with self._lock:
            return self._state()

    @property
    def retry_in_s(self) -> float:
        """Seconds until a call will be let through as a probe; 0.0 when it would be let through now."""
        with self._lock:
            if self._opened_at is None:
                return 0.0
            return max(0.0, self._opened_at + self._open_s - self._clock())

    @contextmanager
    def calling(self, *, failures: type[Exception] | tuple[type[Exception], ...]) -> Iterator[None]:
        """One call: `failures` raised inside count against the circuit, other exceptions do not count at all.

        A cancelled answer or a wrong question says nothing about the server. Raises BackendUnavailable,
        before anything is tried, when the circuit is open.
        """
        generation = self._admit()
        outcome: bool | None = None
        try:
            yield
            outcome = True
        except failures:
            outcome = False
            raise
        finally:
            self._finish(generation, outcome)

    def _state(self) -> CircuitState:
        if self._opened_at is None:
            return "closed"
        return "open" if self._clock() < self._opened_at + self._open_s else "half-open"

    def _admit(self) -> int:
        with self._lock:
            state = self._state()
            if state == "open" or (state == "half-open" and self._probing):
                raise self._refusal()
            if state == "half-open":
                self._probing = True
            return self._generation

    def _refusal(self) -> BackendUnavailable:
        assert self._opened_at is not None
        wait = max(0.0, self._opened_at + self._open_s - self._clock())
        when = f"it is tried again in {wait:.0f} s" if wait else "one call is finding out whether it works"
        return BackendUnavailable(
            f"{self.name} has failed too often; {when}.",
            next_step="gardener doctor",
        )

    def _finish(self, generation: int, succeeded: bool | None) -> None:
        with self._lock:
            if generation != self._generation:
                return
            if self._opened_at is not None:
                self._finish_probe(succeeded)
            elif succeeded is not None:
                now = self._clock()
                self._outcomes.append((now, succeeded))
                while self._outcomes[0][0] < now - self._memory_s:
                    self._outcomes.popleft()
                failed = sum(1 for _, good in self._outcomes if not good)
                known = len(self._outcomes)
                if not succeeded and known >= self._least_calls and failed >= self._failure_ratio * known:
                    self._open()

    def _finish_probe(self, succeeded: bool | None) -> None:
        self._probing = False
        if succeeded is False:
            self._open()
        elif succeeded:
            self._good_probes += 1
            if self._good_probes >= self._probes:
                self._opened_at = None
                self._forget()
                log.info("circuit.closed", extra={"fields": {"circuit": self.name}})

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._forget()
        log.warning("circuit.opened", extra={"fields": {"circuit": self.name, "for_s": self._open_s}})

    def _forget(self) -> None:
        self._outcomes.clear()
        self._probing = False
        self._good_probes = 0
        self._generation += 1
