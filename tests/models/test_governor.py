"""The governor: what it refuses, in which order it gives back, and that it neither flaps nor stops half-way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.errors import ModelTooLarge
from gardener.models.governor import CALM_S, SETTLE_S, STAGES, Governor, Part, Pressure, Reading, machine_probe
from gardener.models.model_folder import ModelFolder

GB = 1_000_000_000


def folder(weights: int, config: Mapping[str, Any] | None = None) -> ModelFolder:
    return ModelFolder("/models/big-model", config or {"model_type": "llama"}, "0" * 32, weights, 32_768, 0, 4)


class Machine:
    """A machine with some memory, on which parts hold real bytes and time passes when told."""

    def __init__(self, available: int = 100 * GB) -> None:
        self.available = available
        self.pressure: Pressure = "normal"
        self.strict = True
        self.now = 0.0
        self.events: list[str] = []
        self.buffers: dict[str, bytearray] = {}

    def probe(self) -> Reading:
        return Reading(self.available, self.pressure, self.strict)

    def governor(self, budget: int = 16 * GB) -> Governor:
        return Governor(
            budget, self.probe, clock=lambda: self.now,
            pause=lambda reason: self.events.append("pause"), resume=lambda: self.events.append("resume"),
        )  # fmt: skip

    def hold(self, governor: Governor, name: str, kind: Any, size: int) -> None:
        self.buffers[name] = bytearray(size)

        def release() -> int:
            freed = len(self.buffers[name])
            self.buffers[name] = bytearray()
            if freed:
                self.events.append(name)
            return freed

        governor.register(Part(name, kind, lambda: len(self.buffers[name]), release))


def test_a_model_that_fits_is_admitted() -> None:
    Machine().governor(16 * GB).admit(folder(8 * GB), GB)


def test_a_model_over_the_budget_is_refused_with_needs_has_and_a_smaller_one() -> None:
    with pytest.raises(ModelTooLarge) as caught:
        Machine().governor(16 * GB).admit(folder(20 * GB), 2 * GB)
    message = caught.value.message
    assert "needs 23.5 GB" in message  # 20 + 2 + 0.5 + 5 % of 20
    assert "16.0 GB for models" in message
    assert "7.5 GB too little" in message
    assert "would fit" in message
    assert caught.value.next_step.startswith("gardener models pull ")


def test_what_the_embedder_holds_is_not_there_for_a_model() -> None:
    machine = Machine()
    governor = machine.governor(10 * GB)
    governor.admit(folder(8 * GB), 0)
    governor.register(Part("embedder", "embedder", lambda: 2 * GB))
    with pytest.raises(ModelTooLarge, match=r"8\.0 GB for models \(the embedder holds 2\.0 GB more\)"):
        governor.admit(folder(8 * GB), 0)


def test_the_base_that_will_go_counts_as_free() -> None:
    machine = Machine(available=2 * GB)
    governor = machine.governor(16 * GB)
    with pytest.raises(ModelTooLarge, match="available right now"):
        governor.admit(folder(8 * GB), 0)
    governor.register(Part("base", "weights", lambda: 9 * GB))
    governor.admit(folder(8 * GB), 0)


def test_caches_make_room_for_a_model() -> None:
    machine = Machine(available=5 * GB)
    governor = machine.governor(16 * GB)

    def release() -> int:
        machine.available += 6 * GB
        return 6 * GB

    governor.register(Part("prompts", "cache", lambda: 6 * GB, release))
    governor.admit(folder(8 * GB), 0)
    assert machine.available == 11 * GB


def test_a_refusal_gives_nothing_back() -> None:
    machine = Machine(available=5 * GB)
    governor = machine.governor(16 * GB)
    machine.hold(governor, "prompts", "cache", 1_000_000)
    with pytest.raises(ModelTooLarge, match="available right now"):
        governor.admit(folder(8 * GB), 0)
    assert machine.events == []


def test_on_a_mac_available_memory_alone_refuses_nothing() -> None:
    machine = Machine(available=GB)
    machine.strict = False
    machine.governor(16 * GB).admit(folder(8 * GB), 0)


def test_relief_goes_caches_embedder_index_and_each_step_gets_time_to_show() -> None:
    machine = Machine()
    governor = machine.governor()
    machine.hold(governor, "embedder", "embedder", 200_000)
    machine.hold(governor, "prompts", "cache", 50_000_000)
    machine.pressure = "warning"
    assert governor.tick().stage == "caches"
    assert machine.events == ["prompts"]
    assert governor.state().held["prompts"] == 0  # the real bytes are gone
    assert "50 MB of prompt caches" in governor.state().did
    assert governor.tick().stage == "caches"  # no time has passed
    machine.now += SETTLE_S
    assert governor.tick().stage == "embedder"
    machine.now += SETTLE_S
    assert governor.tick().stage == "index"
    assert machine.events == ["prompts", "embedder", "pause"]


def test_critical_pressure_does_not_wait() -> None:
    machine = Machine()
    governor = machine.governor()
    machine.pressure = "critical"
    assert [governor.tick().stage for _ in range(3)] == ["caches", "embedder", "index"]


def test_it_does_not_flap() -> None:
    machine = Machine()
    governor = machine.governor()
    machine.pressure = "critical"
    for _ in range(3):
        governor.tick()
    for pressure in ("normal", "warning") * 20:
        machine.pressure = pressure  # type: ignore[assignment]
        machine.now += CALM_S / 2
        assert governor.tick().stage == "index"
    assert "resume" not in machine.events
    machine.pressure = "normal"
    for _ in range(3):
        machine.now += CALM_S / 2
        governor.tick()
    assert machine.events[-1] == "resume"
    assert governor.state().stage == ""


def test_more_than_the_budget_is_pressure_too() -> None:
    machine = Machine()
    governor = machine.governor(budget=1_000)
    machine.hold(governor, "prompts", "cache", 2_000)
    state = governor.tick()
    assert (state.pressure, state.stage, state.held["prompts"]) == ("warning", "caches", 0)


def test_a_part_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    governor = machine.governor()

    def broken() -> int:
        raise RuntimeError("no")

    governor.register(Part("broken", "cache", broken, broken))
    machine.hold(governor, "prompts", "cache", 1_000)
    machine.pressure = "critical"
    assert governor.tick().held == {"broken": 0, "prompts": 0}
    assert "memory part broken failed" in caplog.text


@given(st.lists(st.tuples(st.sampled_from(["normal", "warning", "critical"]), st.floats(0, 40)), max_size=60))
def test_pause_and_resume_alternate_and_a_stage_is_never_skipped(steps: list[tuple[Pressure, float]]) -> None:
    machine = Machine()
    governor = machine.governor()
    before = 0
    paused = False
    for pressure, seconds in steps:
        machine.now += seconds
        machine.pressure = pressure
        machine.events.clear()
        now = STAGES.index(governor.tick().stage)
        assert now in (before, before + 1, 0)
        for event in machine.events:
            assert event == "pause" or paused
            paused = event == "pause"
        assert paused == (now == 3)
        before = now


def test_a_part_may_wait_for_a_thread_that_asks_for_admission() -> None:
    machine = Machine()
    governor = machine.governor()
    asked: list[bool] = []

    def release() -> int:
        worker = threading.Thread(target=lambda: (governor.admit(folder(GB), 0), asked.append(True)))
        worker.start()
        worker.join(120)
        return 0

    governor.register(Part("prompts", "cache", lambda: 0, release))
    machine.pressure = "critical"
    governor.tick()
    assert asked == [True]


def test_real_prompt_caches_are_given_back() -> None:
    import mlx.core as mx
    from mlx_lm.models.cache import KVCache

    kept = [KVCache()]
    before = mx.get_active_memory()
    kept[0].update_and_fetch(mx.ones((1, 8, 4096, 64)), mx.ones((1, 8, 4096, 64)))
    mx.eval(kept[0].state)

    def held() -> int:
        return max(0, mx.get_active_memory() - before)

    def release() -> int:
        size = held()
        kept.clear()
        mx.clear_cache()
        return size - held()

    machine = Machine()
    governor = machine.governor()
    governor.register(Part("prompts", "cache", held, release))
    assert governor.state().held["prompts"] >= 2 * 8 * 4096 * 64 * 4
    machine.pressure = "warning"
    state = governor.tick()
    assert state.held["prompts"] < 1_000_000
    assert state.did == "gave back 17 MB of prompt caches"


def test_this_machine_answers() -> None:
    reading = machine_probe()
    assert reading.available_bytes > 0
    assert reading.pressure in ("normal", "warning", "critical")
