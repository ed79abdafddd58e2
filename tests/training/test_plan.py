from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gardener.errors import ModelTooLarge, UsageError
from gardener.models.model_folder import read_model_folder
from gardener.training.plan import TrainingPlan, default_steps, fitted, needed_bytes

PLAN = TrainingPlan(steps=100)


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"steps": 10**9}, {"rank": 0}, {"batch": 0}, {"tokens": 3}, {"learning_rate": 0.0},
     {"learning_rate": float("nan")}, {"learning_rate": 5.0}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changes: dict[str, float]) -> None:
    assert PLAN.check() is PLAN
    with pytest.raises(UsageError, match=next(iter(changes)).replace("_", "-")):
        replace(PLAN, **changes).check()  # type: ignore[arg-type]


def test_steps_by_default() -> None:
    assert [default_steps(examples, 4) for examples in (20, 400, 10_000)] == [100, 300, 1000]


def test_memory_is_saved_before_a_run_is_refused(base: Path) -> None:
    folder = read_model_folder(str(base))
    full, frugal = needed_bytes(folder, PLAN), needed_bytes(folder, replace(PLAN, save_memory=True))
    assert folder.weight_bytes < frugal < full
    assert needed_bytes(folder, replace(PLAN, tokens=512)) < full > needed_bytes(folder, replace(PLAN, batch=1))
    assert fitted(folder, PLAN, full) == PLAN
    assert fitted(folder, PLAN, full - 1) == replace(PLAN, save_memory=True)
    with pytest.raises(ModelTooLarge, match=r"needs about \d\.\d GB .* there are \d\.\d GB.*--batch 1"):
        fitted(folder, PLAN, frugal - 1)
