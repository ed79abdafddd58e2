"""What answers took: tokens, times, loads, cost; and the budget of a day. One row for each answer of a model, no words.

A row that cannot be written costs the answer nothing: the log says so.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from gardener.errors import GardenerError
from gardener.types import Answer, AnswerEvent, ProjectContext, Retrieved

if TYPE_CHECKING:
    from gardener.settings import Settings
    from gardener.state import State

log = logging.getLogger("gardener.usage")

KEPT_DAYS: Final = 400
THRESHOLDS: Final = (0.5, 0.8, 0.9)
"""Shares of the daily budget at which the answer that crosses one says so."""
DAY_S: Final = 86_400.0
By = Literal["project", "model", "day"]


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens, in whatever currency; budgets of a day, 0 for none."""

    prompt: float = 0.0
    completion: float = 0.0
    daily_tokens: int = 0
    daily_cost: float = 0.0


def prices_of(settings: Settings) -> Prices:
    return Prices(
        settings.number("usage.price_prompt"),
        settings.number("usage.price_completion"),
        settings.integer("usage.daily_tokens"),
        settings.number("usage.daily_cost"),
    )


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sum of what is called `name`: a project, a model, or a day (ISO date, local time)."""

    name: str
    answers: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_ms: float | None
    """Median over the answers that had one."""
    loads: int
    """Answers for which a model had to be loaded."""
    incomplete: int
    cost: float

    def as_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


class UsageLog:
    """Over the table `generations` of state.db."""

    def __init__(self, state: State, prices: Prices) -> None:
        self._state = state
        self._prices = prices

    def record(self, context: ProjectContext, answer: Answer) -> float:
        """Adds an answer; returns its cost. Raises what the state raises."""
        usage = answer.usage
        cost = (usage.prompt_tokens * self._prices.prompt + usage.completion_tokens * self._prices.completion) / 1e6
        self._insert(
            context, answer.backend, answer.model, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
            usage.estimated, answer.timings_ms.get("first_token"), answer.timings_ms.get("total", 0.0), usage.load_s,
            answer.degradation, "complete" if answer.complete else "incomplete", cost,
        )  # fmt: skip
        return cost

    def record_left(self, context: ProjectContext, prompt_tokens: int, total_ms: float) -> None:
        """Adds an answer whose reader went away before its end: what it wrote is not known any more."""
        cost = prompt_tokens * self._prices.prompt / 1e6
        self._insert(context, "", "", prompt_tokens, 0, 0, True, None, total_ms, 0.0, "", "left", cost)

    def _insert(self, context: ProjectContext, *values: object) -> None:
        now = time.time()
        places = ", ".join("?" * (len(values) + 4))
        with self._state.write() as connection:
            connection.execute(
                "INSERT INTO generations (at, project_id, project, adapter, backend, model, prompt_tokens, "
                "cached_tokens, completion_tokens, estimated, first_token_ms, total_ms, load_s, level, finish, cost) "
                f"VALUES ({places})",
                (now, context.id, context.name, context.adapter, *values),
            )
            connection.execute("DELETE FROM generations WHERE at < ?", (now - KEPT_DAYS * DAY_S,))

    def today(self) -> tuple[int, float]:
        """Tokens read and written, and cost, since midnight of local time."""
        row = self._state.read().execute(
            "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0), coalesce(sum(cost), 0) FROM generations "
            "WHERE at >= ?",
            (_midnight(),),
        ).fetchone()  # fmt: skip
        return int(row[0]), float(row[1])

    def share(self) -> float:
        """How much of today's budget is used: 1.0 and more is all of it, 0.0 when there is none."""
        prices = self._prices
        if not prices.daily_tokens and not prices.daily_cost:
            return 0.0
        tokens, cost = self.today()
        return max(
            tokens / prices.daily_tokens if prices.daily_tokens else 0.0,
            cost / prices.daily_cost if prices.daily_cost else 0.0,
        )

    def spent(self) -> str:
        """Why no model may be asked any more today; "" when one may."""
        if self.share() < 1.0:
            return ""
        tokens, cost = self.today()
        limit = (
            f"{tokens:,} of {self._prices.daily_tokens:,} tokens (usage.daily_tokens)"
            if self._prices.daily_tokens and tokens >= self._prices.daily_tokens
            else f"{cost:.2f} of {self._prices.daily_cost:.2f} (usage.daily_cost)"
        )
        return f"Today's budget is used up: {limit}. Models answer again after midnight, or when it is raised."

    def report(self, days: float, by: By = "project") -> list[UsageRow]:
        """Sums over the last `days`, the most tokens first (days in their order)."""
        name = {
            "project": "project",
            "model": "CASE WHEN backend = '' THEN '(left)' ELSE trim(backend || ' ' || model) END",
            "day": "date(at, 'unixepoch', 'localtime')",
        }[by]
        rows = self._state.read().execute(
            f"SELECT {name} AS name, prompt_tokens, cached_tokens, completion_tokens, first_token_ms, load_s, finish, "
            "cost FROM generations WHERE at >= ? ORDER BY at",
            (time.time() - days * DAY_S,),
        ).fetchall()  # fmt: skip
        groups: dict[str, list[tuple[object, ...]]] = {}
        for row in rows:
            groups.setdefault(str(row["name"]), []).append(tuple(row))
        made = [_summed(key, group) for key, group in groups.items()]
        if by != "day":
            made.sort(key=lambda row: -(row.prompt_tokens + row.completion_tokens))
        return made


def _summed(name: str, rows: list[tuple[object, ...]]) -> UsageRow:
    def total(column: int) -> float:
        return sum(float(str(row[column])) for row in rows)

    first = [float(str(row[4])) for row in rows if row[4] is not None]
    return UsageRow(
        name,
        len(rows),
        int(total(1)),
        int(total(2)),
        int(total(3)),
        statistics.median(first) if first else None,
        sum(float(str(row[5])) > 0 for row in rows),
        sum(row[6] != "complete" for row in rows),
        total(7),
    )


def _midnight() -> float:
    now = time.localtime()
    return time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))


def counted(usage: UsageLog, context: ProjectContext, events: Iterator[AnswerEvent]) -> Iterator[AnswerEvent]:
    """The same events; what a model's answer took is recorded at its end, and the answer that crosses a share of the
    budget says so. Answers without a model are not counted."""
    begun = time.monotonic()
    asked: Retrieved | None = None
    ended = False
    try:
        for event in events:
            if isinstance(event, Retrieved):
                asked = event
            elif isinstance(event, Answer):
                ended = True
                if event.degradation != "search only" or event.usage.load_s or not event.usage.estimated:
                    event = _recorded(usage, context, event)
            yield event
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()
        if asked is not None and not ended and asked.receipt.map_tokens + asked.receipt.conventions_tokens:
            try:
                usage.record_left(context, asked.receipt.prompt_tokens, (time.monotonic() - begun) * 1000)
            except GardenerError as error:
                log.warning("usage.not_recorded", extra={"fields": {"reason": error.message}})


def _recorded(usage: UsageLog, context: ProjectContext, answer: Answer) -> Answer:
    try:
        before = usage.share()
        usage.record(context, answer)
        after = usage.share()
    except GardenerError as error:
        log.warning("usage.not_recorded", extra={"fields": {"reason": error.message}})
        return replace(answer, warnings=(*answer.warnings, f"Usage was not recorded: {error.message}"))
    crossed = [share for share in THRESHOLDS if before < share <= after]
    if not crossed:
        return answer
    return replace(answer, warnings=(*answer.warnings, f"{after:.0%} of today's budget is used: gardener usage"))
