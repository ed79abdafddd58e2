"""Slow, late and reloading models, told from rows as the app writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gardener.health.answers import answer_checks
from gardener.health.check import Finding, run_checks
from gardener.paths import Paths
from gardener.settings import load_settings
from gardener.state import State
from gardener.types import Usage
from gardener.usage import Generation, Policy, UsageLog

NOW = 1_800_000_000.0


class Answers:
    def __init__(self, home: Path) -> None:
        self.paths = Paths(str(home)).ensure()
        self.state = State(self.paths.state_db)
        self.at = NOW
        self.log = UsageLog(lambda: self.state, Policy, clock=lambda: self.at)

    def add(self, count: int, ago: float, *, speed: float = 40.0, first_s: float = 0.5, load_s: float = 0.0) -> None:
        """Answers of 100 tokens, a second apart, the last of them `ago` seconds ago."""
        for number in range(count):
            self.at = NOW - ago - count + number
            usage = Usage(500, 100, estimated=False, completion_s=100 / speed, load_s=load_s)
            self.log.record(
                Generation(
                    "a" * 12, "lamp", "ollama", "qwen", "", True, usage, (first_s + load_s) * 1000, 9_000.0, "full",
                    "stop", "", True,
                )
            )  # fmt: skip

    def found(self) -> dict[str, Finding]:
        settings = load_settings(self.paths)
        return {one.check: one for one in run_checks(answer_checks(lambda: self.state, lambda: settings, lambda: NOW))}


@pytest.fixture
def answers(home: Path) -> Answers:
    return Answers(home)


def test_few_answers_say_nothing(answers: Answers) -> None:
    answers.add(4, 60, speed=1, first_s=100)
    assert {one.severity for one in answers.found().values()} == {"info", "ok"}


def test_a_model_is_compared_with_itself(answers: Answers) -> None:
    answers.add(30, 5 * 86_400, speed=40)
    answers.add(5, 60, speed=25)
    assert answers.found()["speed"].severity == "ok"
    answers.add(5, 30, speed=18)
    slow = answers.found()["speed"]
    assert slow.id == "model-slow" and slow.subject == "ollama qwen" and "18.0 tokens/s" in slow.detail


def test_one_slow_answer_is_no_trend_and_what_was_yesterday_is_over(answers: Answers) -> None:
    answers.add(30, 5 * 86_400, speed=40, first_s=20)
    answers.add(4, 60, speed=40)
    answers.add(1, 30, speed=1, first_s=60)
    found = answers.found()
    assert found["speed"].severity == "ok" and found["first word"].severity == "ok"


@pytest.mark.parametrize(("first_s", "expected"), [(2.9, "ok"), (3.1, "warning"), (10.5, "error")])
def test_late_first_words_without_the_loading(answers: Answers, first_s: float, expected: str) -> None:
    answers.add(5, 60, first_s=first_s, load_s=30.0)
    assert answers.found()["first word"].severity == expected


def test_a_model_that_is_loaded_again_and_again(answers: Answers) -> None:
    answers.add(3, 60, load_s=4.0)
    assert answers.found()["reloads"].severity == "ok"
    answers.add(1, 30, load_s=4.0)
    assert answers.found()["reloads"].id == "model-reloads"
