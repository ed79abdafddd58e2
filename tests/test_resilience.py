"""Resilience: retries that name their failures, deadlines that hold, a ratio breaker."""

from __future__ import annotations

import logging
import threading

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gardener.errors import BackendUnavailable
from gardener.resilience import (
    CircuitBreaker,
    Deadline,
    retry_call,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


# ---- retry ----------------------------------------------------------------------------------------------


class Flaky:
    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> str:
        outcome = self.outcomes[self.calls]
        self.calls += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_named_failure_is_tried_again_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    call = Flaky(ConnectionError("first"), ConnectionError("second"), "fine")
    with caplog.at_level(logging.WARNING):
        assert retry_call(call, on=ConnectionError, first_wait_s=0.001, longest_wait_s=0.002) == "fine"
    assert call.calls == 3
    assert [record.getMessage() for record in caplog.records] == ["retry.scheduled"] * 2
    assert {record.name for record in caplog.records} == {"gardener.resilience"}
    assert "first" not in str([vars(record) for record in caplog.records]), "a message may hold a question"


def test_other_failures_and_the_last_attempt_are_raised() -> None:
    call = Flaky(ValueError("a bug"), "never")
    with pytest.raises(ValueError, match="a bug"):
        retry_call(call, on=(ConnectionError, TimeoutError))
    assert call.calls == 1
    call = Flaky(*(ConnectionError(str(number)) for number in range(5)))
    with stamina.set_testing(True, attempts=4), pytest.raises(ConnectionError, match="3"):
        retry_call(call, on=ConnectionError)
    assert call.calls == 4


@pytest.mark.parametrize("on", [Exception, (), (OSError, Exception)])
def test_a_retry_on_everything_is_refused(on: type[Exception] | tuple[type[Exception], ...]) -> None:
    with pytest.raises(ValueError, match="name the exceptions"):
        retry_call(Flaky("fine"), on=on)


# ---- deadlines ------------------------------------------------------------------------------------------


def test_a_deadline_is_for_all_of_it_and_never_negative() -> None:
    clock = Clock()
    deadline = Deadline(10, clock=clock)
    clock.now += 9
    assert deadline.remaining_s() == 1
    clock.now += 9
    assert deadline.remaining_s() == 0


# ---- circuit breaker ------------------------------------------------------------------------------------


class ServerError(Exception):
    pass


class CancelledError(Exception):
    pass


def fail(breaker: CircuitBreaker) -> None:
    with pytest.raises(ServerError), breaker.calling(failures=ServerError):
        raise ServerError


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.calling(failures=ServerError):
        pass


def refused(breaker: CircuitBreaker) -> BackendUnavailable:
    with pytest.raises(BackendUnavailable) as caught, breaker.calling(failures=ServerError):
        raise AssertionError("an open circuit must not call")
    return caught.value


def test_two_failures_and_a_success_over_and_over_open_it() -> None:
    breaker = CircuitBreaker("Ollama", clock=Clock())
    for number, step in enumerate([fail, fail, succeed, fail, fail, succeed]):
        if breaker.state == "open":
            assert number >= 4
            break
        step(breaker)
    assert breaker.state == "open"
    assert "Ollama has failed too often; it is tried again in 15 s" in refused(breaker).message


def test_a_server_that_mostly_works_stays_connected() -> None:
    breaker = CircuitBreaker("Ollama", clock=Clock())
    for _ in range(20):
        for step in (fail, succeed, succeed):
            step(breaker)
    assert breaker.state == "closed"


def test_a_good_probe_closes_it_and_a_bad_one_opens_it_again() -> None:
    clock = Clock()
    breaker = CircuitBreaker("it", open_s=10, probes=2, clock=clock)
    for _ in range(5):
        fail(breaker)
    clock.now += 9.5
    assert breaker.state == "open"
    assert breaker.retry_in_s == 0.5
    clock.now += 0.5
    assert breaker.state == "half-open"
    fail(breaker)
    assert breaker.retry_in_s == 10
    clock.now += 10
    succeed(breaker)
    assert breaker.state == "half-open", "two good probes are wanted"
    succeed(breaker)
    assert breaker.state == "closed"
    assert breaker.retry_in_s == 0
    fail(breaker)
    assert breaker.state == "closed", "it starts with an empty memory"


def test_one_probe_at_a_time_also_between_threads() -> None:
    clock = Clock()
    breaker = CircuitBreaker("it", clock=clock)
    for _ in range(5):
        fail(breaker)
    clock.now += 15
    inside, leave = threading.Event(), threading.Event()

    def probe() -> None:
        with breaker.calling(failures=ServerError):
            inside.set()
            leave.wait(120)

    thread = threading.Thread(target=probe)
    thread.start()
    assert inside.wait(120)
    assert "one call is finding out" in refused(breaker).message
    leave.set()
    thread.join(120)
    assert breaker.state == "closed"


def test_what_says_nothing_about_the_server_does_not_count() -> None:
    clock = Clock()
    breaker = CircuitBreaker("it", clock=clock)
    for _ in range(10):
        with pytest.raises(CancelledError), breaker.calling(failures=ServerError):
            raise CancelledError
    assert breaker.state == "closed"
    for _ in range(5):
        fail(breaker)
    clock.now += 15
    with pytest.raises(CancelledError), breaker.calling(failures=ServerError):
        raise CancelledError
    assert breaker.state == "half-open"
    succeed(breaker)
    assert breaker.state == "closed", "a cancelled probe gives its place to the next"


def test_a_call_from_before_the_opening_does_not_close_it() -> None:
    clock = Clock()
    breaker = CircuitBreaker("it", clock=clock)
    slow = breaker.calling(failures=ServerError)
    slow.__enter__()
    for _ in range(5):
        fail(breaker)
    clock.now += 15
    assert breaker.state == "half-open"
    slow.__exit__(None, None, None)
    assert breaker.state == "half-open"
    probe = breaker.calling(failures=ServerError)
    probe.__enter__()
    refused(breaker)
    probe.__exit__(None, None, None)
    assert breaker.state == "closed"


def test_old_failures_are_forgotten() -> None:
    clock = Clock()
    breaker = CircuitBreaker("it", memory_s=60, clock=clock)
    for _ in range(4):
        fail(breaker)
    clock.now += 61
    fail(breaker)
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "wrong", [{"least_calls": 11}, {"failure_ratio": 0}, {"failure_ratio": 1.1}, {"probes": 0}, {"open_s": 0}]
)
def test_a_breaker_that_could_never_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="failure_ratio"):
        CircuitBreaker("it", **wrong)  # type: ignore[arg-type]


@given(
    outcomes=st.lists(st.booleans(), max_size=60),
    window=st.integers(1, 12),
    least=st.integers(1, 12),
    ratio=st.floats(0.05, 1),
)
def test_law_it_is_open_exactly_when_the_window_says_so(
    outcomes: list[bool], window: int, least: int, ratio: float
) -> None:
    least = min(least, window)
    clock = Clock()
    breaker = CircuitBreaker("it", window=window, least_calls=least, failure_ratio=ratio, clock=clock)
    seen: list[bool] = []
    for good in outcomes:
        (succeed if good else fail)(breaker)
        seen = [*seen, good][-window:]
        must_open = not good and len(seen) >= least and seen.count(False) >= ratio * len(seen)
        assert (breaker.state == "open") == must_open
        if must_open:
            clock.now += 15
            succeed(breaker)
            seen = []


class BreakerMachine(RuleBasedStateMachine):
    """Calls that overlap, end in any order, and time that passes: what must hold whatever happens."""

    @initialize(probes=st.integers(1, 3))
    def start(self, probes: int) -> None:
        self.clock = Clock()
        self.breaker = CircuitBreaker("it", probes=probes, open_s=10, clock=self.clock)
        self.running: list[tuple[str, object]] = []

    @rule()
    def begin(self) -> None:
        state = self.breaker.state
        probing = any(started == self.epoch() for started, _ in self.running) and state == "half-open"
        call = self.breaker.calling(failures=ServerError)
        try:
            call.__enter__()
        except BackendUnavailable:
            assert state == "open" or probing, "a closed circuit never refuses"
        else:
            assert state != "open", "an open circuit never calls"
            self.running.append((self.epoch(), call))

    def epoch(self) -> str:
        return f"{self.breaker.state}/{self.breaker._generation}"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["good", "bad", "cancelled"]))
    def end(self, data: st.DataObject, how: str) -> None:
        place = data.draw(st.integers(0, len(self.running) - 1))
        started, call = self.running.pop(place)
        before, epoch = self.breaker.state, self.epoch()
        error = {"good": None, "bad": ServerError(), "cancelled": CancelledError()}[how]
        kind = None if error is None else type(error)
        assert not call.__exit__(kind, error, None)  # type: ignore[attr-defined]
        if how == "cancelled" or before == "open":
            assert self.breaker.state == before
        if how == "bad" and started == epoch and before == "half-open":
            assert self.breaker.state == "open", "a failed probe opens it again"
        if started != epoch and before == "half-open":
            assert self.breaker.state == before, "a call from before does not count"
        if how == "good":
            assert self.breaker.state != "open" or before == "open", "a success never opens"

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def at_most_one_probe(self) -> None:
        if not hasattr(self, "breaker"):
            return
        probes = [started for started, _ in self.running if started == self.epoch()]
        if self.breaker.state == "half-open":
            assert len(probes) <= 1
        if self.breaker.state == "open":
            assert self.breaker.retry_in_s > 0

    def teardown(self) -> None:
        """When everything has ended and the server is well again, the circuit always closes."""
        if not hasattr(self, "breaker"):
            return
        for _, call in self.running:
            call.__exit__(None, None, None)  # type: ignore[attr-defined]
        self.clock.now += 10
        for _ in range(3):
            succeed(self.breaker)
        assert self.breaker.state == "closed"


TestBreakerMachine = BreakerMachine.TestCase
