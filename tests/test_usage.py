"""What answers took, and the budget: with real indexes and a real state; the model is scripted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import LockedError
from gardener.types import Answer, Done, TextDelta, Usage
from gardener.usage import UsageLog
from tests.chat_samples import ScriptedBackend

Make = Callable[..., Gardener]


@pytest.fixture
def make(home: Path, tmp_path: Path) -> Iterator[Make]:
    made: list[Gardener] = []
    root = tmp_path / "shop"
    root.mkdir()
    (root / "a.py").write_text("def pay():\n    return 1\n")

    def build(**settings: object) -> Gardener:
        gardener = Gardener(str(home), {f"usage.{key}": value for key, value in settings.items()})
        used = Usage(1_000, 100, estimated=False, cached_tokens=600, load_s=2.0 if not made else 0.0)
        backend = ScriptedBackend(script=("It pays [1].", Done("stop", used)))
        gardener.backends.register("scripted", lambda: backend)
        if not made:
            gardener.update_index(gardener.registry.add(str(root), "shop"))
        made.append(gardener)
        return gardener

    yield build
    for gardener in made:
        gardener.close()


def ask(gardener: Gardener) -> Answer:
    events = list(gardener.ask(gardener.context("shop"), "what does pay return?"))
    assert isinstance(events[-1], Answer)
    return events[-1]


def test_an_answer_is_one_row_and_holds_no_words(make: Make) -> None:
    gardener = make(price_prompt=2.0, price_completion=10.0)
    ask(gardener)
    (row,) = gardener.usage.report(1)
    assert (row.name, row.answers, row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (
        "shop", 1, 1_000, 600, 100,
    )  # fmt: skip
    assert row.cost == pytest.approx((1_000 * 2 + 100 * 10) / 1e6)
    assert (row.loads, row.incomplete) == (1, 0)
    assert row.first_token_ms is not None and row.first_token_ms > 0
    stored = dict(gardener.state.read().execute("SELECT * FROM generations").fetchone())
    assert "pay" not in str(stored)
    assert gardener.usage.report(1, "model")[0].name == "scripted"
    assert gardener.usage.report(1, "day")[0].name == time.strftime("%Y-%m-%d")


def test_a_reader_who_goes_away_is_counted_once(make: Make) -> None:
    gardener = make()
    events = gardener.ask(gardener.context("shop"), "what does pay return?")
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()  # type: ignore[attr-defined]
    (row,) = gardener.usage.report(1)
    assert (row.answers, row.incomplete) == (1, 1)
    assert row.prompt_tokens > 0


def test_answers_without_a_model_are_not_counted(make: Make) -> None:
    gardener = make()
    gardener.registry.configure("shop", backend="extractive")
    assert ask(gardener).degradation == "search only"
    assert gardener.usage.report(1) == []


def test_the_budget_warns_at_its_shares_and_then_stops_models(make: Make) -> None:
    gardener = make(daily_tokens=4_000)
    said = [ask(gardener) for _ in range(5)]
    warned = [[text for text in answer.warnings if "budget" in text] for answer in said]
    assert warned == [[], ["55% of today's budget is used: gardener usage"],
                      ["82% of today's budget is used: gardener usage"],
                      ["110% of today's budget is used: gardener usage"], []]  # fmt: skip
    assert [answer.degradation == "search only" for answer in said] == [False] * 4 + [True]
    assert "4,400 of 4,000 tokens (usage.daily_tokens)" in said[-1].degradation_reason
    assert said[-1].text
    assert ask(make(daily_tokens=100_000)).degradation != "search only", "raised, and at once"


def test_a_budget_of_money(make: Make) -> None:
    gardener = make(price_prompt=1_000.0, daily_cost=1.0)
    ask(gardener)
    assert "usage.daily_cost" in gardener.usage.spent()


def test_yesterday_is_over(make: Make) -> None:
    gardener = make(daily_tokens=1_000)
    ask(gardener)
    assert gardener.usage.spent()
    with gardener.state.write() as connection:
        connection.execute("UPDATE generations SET at = at - 86400")
    assert gardener.usage.spent() == ""
    with gardener.state.write() as connection:
        connection.execute("UPDATE generations SET at = at - 500 * 86400")
    ask(gardener)
    assert gardener.state.read().execute("SELECT count(*) FROM generations").fetchone()[0] == 1


def test_a_row_that_cannot_be_written_costs_no_answer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gardener = make()

    def locked(self: UsageLog, *values: object) -> None:
        raise LockedError("state.db is busy", next_step="gardener status")

    monkeypatch.setattr(UsageLog, "_insert", locked)
    answer = ask(gardener)
    assert answer.complete and answer.text
    assert any("Usage was not recorded" in text for text in answer.warnings)
