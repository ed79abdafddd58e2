"""The governor over a real resident model: it refuses the load, and gives the real prompt caches back."""

from __future__ import annotations

import threading

import pytest

from gardener.errors import ModelTooLarge
from gardener.models.base import Preparation
from gardener.models.governor import Governor, Part, Pressure, Reading
from gardener.types import Message
from tests.models.mlx.conftest import Make

WANTED = Preparation("aaaaaaaaaaaa", (Message("system", "You answer questions about the project shop. " * 20),))


def test_a_model_over_the_budget_is_not_loaded(make: Make) -> None:
    governor = Governor(100_000_000, lambda: Reading(10**12, "normal"))
    backend = make(admit=governor.admit)
    with pytest.raises(ModelTooLarge, match="tiny was not loaded: it needs 502 MB"):
        backend.prepare(WANTED, may_load=True, cancel=threading.Event())
    assert backend.resident().model == ""
    assert backend.resident().counters["base_loads"] == 0


def test_pressure_gives_back_the_prefixes_and_keeps_the_base(make: Make) -> None:
    pressure: Pressure = "normal"
    governor = Governor(10**12, lambda: Reading(10**12, pressure))
    backend = make(admit=governor.admit)
    governor.register(Part("weights", "weights", lambda: backend.resident().weight_bytes))
    governor.register(Part("prompts", "cache", lambda: backend.resident().cache_bytes, backend.release_caches))
    assert backend.prepare(WANTED, may_load=True, cancel=threading.Event()).state == "ready"
    before = governor.tick().held
    assert before["prompts"] > 0
    pressure = "warning"
    after = governor.tick()
    assert after.held == {"weights": before["weights"], "prompts": 0}
    assert after.stage == "caches"
    assert backend.prepare(WANTED, may_load=False, cancel=threading.Event()).prefix == "restored"  # from the disk
    assert backend.resident().counters["base_loads"] == 1
