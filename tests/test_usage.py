"""What answers took, and the budget: with real indexes and a real state; the model is scripted."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gardener.state as state_module
from gardener.app import Gardener
from gardener.errors import BackendTimeout, DiskFull
from gardener.state import State
from gardener.state_schema import MIGRATIONS
from gardener.types import Answer, Done, Retrieved, TextDelta, Usage
from gardener.usage import KEPT_DAYS, KEPT_ROWS, Generation, Policy, UsageLog, day_limits
from gardener.usage_report import UsageLine, percentile, usage_report
from tests.chat_samples import ScriptedBackend

Make = Callable[..., Gardener]
USED = Usage(1_000, 100, False, cached_tokens=600, load_s=2.0, prompt_s=0.5, completion_s=4.0, prefix="restored")


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is noon here: no day ends in the middle of a test."""
    monkeypatch.setenv("TZ", f"NOON{time.gmtime().tm_hour - 12:+d}")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def make(home: Path, tmp_path: Path) -> Iterator[Make]:
    """A Gardener with one project and a scripted model; keyword arguments are settings under usage."""
    made: list[Gardener] = []
    root = tmp_path / "shop"
    root.mkdir()
    (root / "a.py").write_text("def pay():\n    return 1\n")

    def build(*script: object, **settings: object) -> Gardener:
        gardener = Gardener(str(home), {f"usage.{key}": value for key, value in settings.items()})
        backend = ScriptedBackend(script=script or ("It pays [1].", Done("stop", USED)))  # type: ignore[arg-type]
        gardener.backends.register("scripted", lambda: backend)
        if not made:
            gardener.update_index(gardener.registry.add(str(root), "shop"))
        made.append(gardener)
        return gardener

    yield build
    for gardener in made:
        gardener.close()


def ask(gardener: Gardener, conversation: str | None = None) -> Answer:
    events = list(gardener.ask(gardener.context("shop"), "what does pay return?", conversation))
    assert isinstance(events[-1], Answer)
    return events[-1]


def rows(gardener: Gardener) -> list[sqlite3.Row]:
    return list(gardener.state.read().execute("SELECT * FROM generations ORDER BY id"))


def report(gardener: Gardener, by: str = "project") -> list[UsageLine]:
    return list(usage_report(gardener.state, day_limits(time.time())[0], by))  # type: ignore[arg-type]


# ---- One row for each answer --------------------------------------------------------------------------


@pytest.mark.parametrize("conversation", [None, ""])
def test_an_answer_is_one_row_and_holds_no_words(make: Make, conversation: str | None) -> None:
    gardener = make(price_prompt=2.0, price_completion=10.0)
    answered = ask(gardener, conversation)
    (row,) = rows(gardener)
    assert (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]) == (1_000, 600, 100)
    assert (row["backend"], row["level"], row["ended"], row["finish"]) == (
        "scripted", answered.degradation, "stop", "complete",
    )  # fmt: skip
    assert row["prefix"] == "restored" and row["first_token_ms"] > 0 and row["total_ms"] >= row["first_token_ms"]
    assert row["cost"] == pytest.approx((1_000 * 2 + 100 * 10) / 1e6)
    assert not any("pay" in str(value) for value in tuple(row))


def test_the_report_sums_by_project_model_and_day(make: Make) -> None:
    gardener = make()
    for _ in range(2):
        ask(gardener)
    gardener.registry.rename("shop", "store")
    gardener.registry.configure("store", backend="extractive")
    list(gardener.ask(gardener.context("store"), "what does pay return?"))
    (line,) = report(gardener)
    assert (line.name, line.answers, line.by_models, line.prompt_tokens, line.cached_tokens) == (
        "store", 3, 2, 2_000, 1_200,
    )  # fmt: skip
    assert (
        sorted(line.levels.values()) == [1, 2] and line.levels["search only"] == 1 and line.prefixes == {"restored": 2}
    )
    assert (line.loads, line.load_s) == (2, 4.0)
    assert line.prompt_rate == pytest.approx(800 / 1.0) and line.completion_rate == pytest.approx(200 / 8.0)
    assert [(one.name, one.answers) for one in report(gardener, "model")] == [("scripted small", 2), ("extractive", 1)]
    assert [one.name for one in report(gardener, "day")] == [time.strftime("%Y-%m-%d")]


def test_a_reader_who_goes_away_is_counted_once_with_what_was_said(make: Make) -> None:
    gardener = make("one ", "two ", "three ")
    events = gardener.ask(gardener.context("shop"), "what does pay return?", "")
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()  # type: ignore[attr-defined]
    (row,) = rows(gardener)
    assert (row["backend"], row["finish"], row["ended"], row["problem"]) == (
        "scripted", "left", "cancelled", "cancelled",
    )  # fmt: skip
    assert row["prompt_tokens"] > 0 and 0 < row["completion_tokens"] < 5 and row["estimated"] == 1


def test_a_stream_that_breaks_is_counted_with_an_estimate_and_its_kind_of_problem(make: Make) -> None:
    gardener = make("words " * 20, BackendTimeout("silent for 60 s"))
    answer = ask(gardener)
    (row,) = rows(gardener)
    assert (row["problem"], row["ended"], row["finish"], row["backend"]) == (
        "timeout", "error", "incomplete", "scripted",
    )  # fmt: skip
    assert row["generates"] == 1 and row["prompt_tokens"] == answer.receipt.prompt_tokens
    assert 20 <= row["completion_tokens"] < 60, "the quoted answer after it is not the model's"
    (line,) = report(gardener)
    assert (line.problems, line.incomplete) == ({"timeout": 1}, 1)


def test_nothing_is_counted_before_a_backend_is_asked(make: Make) -> None:
    gardener = make()
    with pytest.raises(Exception, match="empty"):
        list(gardener.ask(gardener.context("shop"), "  "))
    assert rows(gardener) == []


def test_a_row_that_cannot_be_written_costs_no_answer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gardener = make()

    def full(*_: object) -> int:
        raise DiskFull("the disk of state.db is full", next_step="gardener disk")

    monkeypatch.setattr("gardener.usage._insert", full)
    answer = ask(gardener)
    assert answer.complete and answer.text.startswith("It pays")
    assert "This answer's usage could not be counted: the disk of state.db is full" in answer.warnings


# ---- The budget ---------------------------------------------------------------------------------------


def test_the_budget_warns_once_at_each_threshold_and_then_stops_models(make: Make) -> None:
    gardener = make(daily_tokens=4_000)
    said = [ask(gardener) for _ in range(5)]
    warned = [[text for text in answer.warnings if "budget" in text] for answer in said]
    assert [len(one) for one in warned] == [0, 1, 1, 1, 0]
    assert warned[1][0].startswith("55 % of the daily budget") and warned[2][0].startswith("82 %")
    assert "gardener config set usage.daily_tokens 8000" in warned[3][0]
    assert [answer.degradation == "search only" for answer in said] == [False] * 4 + [True]
    assert "4,400 of 4,000 tokens" in said[-1].degradation_reason and said[-1].text
    assert gardener.status()["level"] == "search only"
    assert ask(make(daily_tokens=100_000)).degradation != "search only", "raised, and at once"


def test_a_budget_that_is_lowered_still_warns_and_not_twice(make: Make) -> None:
    ask(make())
    gardener = make(daily_tokens=4_000)
    assert any("55 %" in text for text in ask(gardener).warnings)
    assert not any("budget" in text for text in ask(make(daily_tokens=6_000)).warnings)


def test_how_to_raise_a_budget_that_was_set_below_what_is_used(make: Make) -> None:
    for _ in range(5):
        ask(make())
    assert make(daily_tokens=1_000).usage.may_generate().next_step == "gardener config set usage.daily_tokens 8000"


def test_a_budget_of_money(make: Make) -> None:
    gardener = make(price_prompt=1_000.0, daily_cost=1.0)
    ask(gardener)
    refused = gardener.usage.may_generate()
    assert not refused.ok and refused.next_step == "gardener config set usage.daily_cost 2"


def test_answers_without_a_model_take_nothing_of_the_budget(make: Make) -> None:
    gardener = make(daily_tokens=10)
    gardener.registry.configure("shop", backend="extractive")
    ask(gardener)
    assert gardener.usage.today().tokens == 0 and len(rows(gardener)) == 1


def test_a_day_that_cannot_be_counted_lets_models_go_on(make: Make) -> None:
    def broken() -> State:
        raise DiskFull("full")

    assert UsageLog(broken, lambda: Policy(daily_tokens=1)).may_generate().ok


# ---- Clocks, retention, migration ---------------------------------------------------------------------


def generation(**changes: object) -> Generation:
    plain = Generation("0" * 12, "shop", "scripted", "", "", True, USED, 5.0, 9.0, "full", "stop", "", True)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_has_23_to_25_hours(berlin: None, day: str, hours: int) -> None:
    noon = time.mktime(time.strptime(f"{day} 12", "%Y-%m-%d %H"))
    begin, end = day_limits(noon)
    assert (end - begin) / 3600 == hours
    assert time.strftime("%Y-%m-%d %H:%M", time.localtime(begin)) == f"{day} 00:00"
    assert day_limits(begin) == day_limits(end - 1) == (begin, end)


def test_a_clock_that_jumps_neither_blocks_nor_empties(home: Path) -> None:
    now = time.mktime((2026, 6, 15, 12, 0, 0, 0, 0, -1))
    clock = [now]
    with State(str(home / "state.db")) as state:
        log = UsageLog(lambda: state, lambda: Policy(daily_tokens=1_100), clock=lambda: clock[0])
        clock[0] = now + 30 * 365 * 86_400.0
        for _ in range(150):
            log.record(generation())
        assert not log.may_generate().ok
        clock[0] = now
        assert log.may_generate().ok, "what was counted in a future is not today's"
        log.record(generation())
        assert not log.may_generate().ok
        clock[0] = day_limits(now)[1]
        assert log.may_generate().ok, "a new day begins at midnight"
        assert usage_report(state, now - 86_400, "day", until=now + 86_400)[0].answers == 1


def test_what_a_lying_backend_counts_does_not_stop_the_counting(home: Path) -> None:
    with State(str(home / "state.db")) as state:
        log = UsageLog(lambda: state, lambda: Policy(daily_tokens=1_100))
        for _ in range(3):
            assert "could not be counted" not in "".join(
                log.record(generation(usage=Usage(2**62 - 1, 2**62 - 1, False)))
            )
        assert not log.may_generate().ok
        assert log.today().tokens >= 2**62


def test_old_rows_go_and_the_newest_stay_whatever_the_clock_says(home: Path) -> None:
    clock = [0.0]
    with State(str(home / "state.db")) as state:
        log = UsageLog(lambda: state, Policy, clock=lambda: clock[0])
        log.record(generation())
        with state.write() as connection:  # as many as a year of answers, written at once
            connection.executemany(
                "INSERT INTO generations (at, project_id, project, backend, model, adapter, prompt_tokens, "
                "cached_tokens, completion_tokens, estimated, total_ms, load_s, level, finish, cost) "
                "VALUES (?, 'p', 'p', 'b', '', '', 1, 0, 1, 0, 1.0, 0.0, 'full', 'complete', 0.0)",
                [(float(number),) for number in range(2, KEPT_ROWS + 100)],
            )
        clock[0] = (KEPT_DAYS + 1) * 86_400.0 + KEPT_ROWS + 200
        log.record(generation())
        found = [row["id"] for row in state.read().execute("SELECT id FROM generations ORDER BY id")]
    newest = KEPT_ROWS + 100
    assert found == list(range(newest - KEPT_ROWS + 1, newest + 1))


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_database_keeps_everything(home: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(home / "state.db")
    with monkeypatch.context() as patched:
        patched.setattr(state_module, "MIGRATIONS", MIGRATIONS[:version])
        with State(path) as state, state.write() as connection:
            connection.execute(
                "INSERT INTO projects (id, name, name_key, root, created_at, last_used_at) "
                "VALUES ('p00000000000', 'shop', 'shop', '/shop', 1, 1)"
            )
            connection.execute(
                "INSERT INTO conversations (id, project_id, created_at, updated_at) "
                "VALUES ('c0000000', 'p00000000000', 1, 1)"
            )
            connection.execute(
                "INSERT INTO messages (conversation_id, project_id, role, content, created_at) "
                "VALUES ('c0000000', 'p00000000000', 'assistant', 'kept', 1)"
            )
            if version == 2:
                connection.execute(
                    "INSERT INTO generations (at, project_id, project, backend, model, adapter, prompt_tokens, "
                    "cached_tokens, completion_tokens, estimated, total_ms, load_s, level, finish, cost) "
                    "VALUES (5, 'p00000000000', 'shop', 'mlx', 'm', '', 7, 0, 3, 0, 1.0, 0.0, 'full', 'left', 0.5)"
                )
    with State(path) as state:
        assert state.read().execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        message = state.read().execute("SELECT * FROM messages").fetchone()
        assert (message["content"], message["model_characters"]) == ("kept", 0)
        assert state.check() == []
        lines = usage_report(state, 0.0, "model")
        assert [(line.name, line.prompt_tokens, line.cost) for line in lines] == ([("mlx m", 7, 0.5)] * (version == 2))
        UsageLog(lambda: state, Policy).record(generation())
    assert os.path.exists(f"{path}.before-{version}")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in [round(value, 2) for value in values]
    assert sum(round(value, 2) <= found for value in values) >= percent / 100 * len(values) - 1e-6


def test_who_is_about_to_answer_is_known_from_the_start(make: Make) -> None:
    gardener = make()
    first = next(iter(gardener.ask(gardener.context("shop"), "what does pay return?")))
    assert isinstance(first, Retrieved) and (first.backend, first.generates) == ("scripted", True)
