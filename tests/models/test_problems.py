from __future__ import annotations

from typing import get_args

import pytest

from gardener import errors
from gardener.cli.commands import COMMANDS
from gardener.errors import BackendTimeout, BackendUnavailable, GardenerError
from gardener.models.problems import ADVICE, Failure, failure_of, problem_of
from gardener.types import ProblemKind


def test_every_kind_has_advice_that_names_real_commands() -> None:
    assert set(ADVICE) == set(get_args(ProblemKind))
    for kind, advice in ADVICE.items():
        assert kind == "" or advice.sentence.endswith(".")
        if advice.next_step:
            program, command = advice.next_step.split()[:2]
            assert program == "gardener" and command in COMMANDS


def backend_errors() -> list[type[GardenerError]]:
    found = [errors.BackendError, errors.ModelError]
    for one in found:
        found += one.__subclasses__()
    return found


@pytest.mark.parametrize("error", backend_errors(), ids=lambda error: error.__name__)
def test_every_error_of_a_backend_has_a_kind(error: type[GardenerError]) -> None:
    assert problem_of(error("no")) not in ("", "unknown", "cancelled")


def test_special_errors_come_before_general_ones() -> None:
    assert problem_of(BackendTimeout("slow")) == "timeout"
    assert problem_of(BackendUnavailable("gone")) == "network"
    assert problem_of(MemoryError()) == "memory"
    assert problem_of(ZeroDivisionError()) == "unknown"


def test_the_errors_own_next_step_comes_first() -> None:
    failure = failure_of(BackendUnavailable("gone", next_step="ollama serve"))
    assert failure == Failure("gone", "network", "ollama serve")
    assert failure.advice().endswith("Try `ollama serve`.")
    assert failure_of(ValueError("no")).advice().endswith("`gardener doctor`.")
    assert "`" not in Failure("busy", "rate limit").advice()
