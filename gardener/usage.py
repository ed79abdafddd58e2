"""What answers took, one row each in state.db, and the daily budget that is kept by those rows.

Counting must never cost an answer: what cannot be written or read is logged, said in a warning, and no more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.models.base import Readiness
from gardener.types import DegradationLevel, Finish, ProblemKind, Usage

if TYPE_CHECKING:
    from sqlite3 import Connection

    from gardener.settings import Settings
    from gardener.state import State

log = logging.getLogger("gardener.usage")

KEPT_DAYS = 400
KEPT_ROWS = 1_000
"""The newest rows stay however old the clock says they are: a clock that runs ahead must not empty the table."""
WARN_AT = (50, 80, 90)
"""Percent of the daily budget."""
_PRUNE_EVERY = 100
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """What a token costs, and what a day may take. 0 means nothing, and no limit."""

    price_prompt: float = 0.0
    """Of a million tokens, in whatever currency."""
    price_completion: float = 0.0
    daily_tokens: int = 0
    daily_cost: float = 0.0

    def cost(self, usage: Usage) -> float:
        """Tokens from a cache cost as much as others: too high rather than too low."""
        return (usage.prompt_tokens * self.price_prompt + usage.completion_tokens * self.price_completion) / _MILLION


def policy_from(settings: Settings) -> Policy:
    return Policy(
        settings.number("usage.price_prompt"),
        settings.number("usage.price_completion"),
        settings.integer("usage.daily_tokens"),
        settings.number("usage.daily_cost"),
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer's figures, as they are stored. Times as their names say."""

    project_id: str
    project_name: str
    backend: str
    model: str
    adapter: str
    generates: bool
    usage: Usage
    first_token_ms: float | None
    total_ms: float
    level: DegradationLevel
    finish: Finish
    problem: ProblemKind
    complete: bool
    left: bool = False
    """Nobody waited for the end; the tokens are estimates."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The day so far. It begins and ends at midnight by the machine's own time."""

    tokens: int
    cost: float
    policy: Policy
    resets_at: float
    """Unix time of the next midnight."""

    @property
    def percent(self) -> float:
        """Of whichever limit is nearer; 0.0 without any."""
        shares = [0.0]
        if self.policy.daily_tokens:
            shares.append(self.tokens / self.policy.daily_tokens)
        if self.policy.daily_cost:
            shares.append(self.cost / self.policy.daily_cost)
        return 100 * max(shares)

    @property
    def limited(self) -> bool:
        return bool(self.policy.daily_tokens or self.policy.daily_cost)

    def used(self) -> str:
        """For a sentence: what of what was used."""
        parts = []
        if self.policy.daily_tokens:
            parts.append(f"{self.tokens:,} of {self.policy.daily_tokens:,} tokens")
        if self.policy.daily_cost:
            parts.append(f"{self.cost:,.2f} of {self.policy.daily_cost:,.2f} (cost)")
        return " and ".join(parts)

    def how_to_raise(self) -> str:
        """The command that doubles the limit that was reached, as often as today's use asks for."""
        policy = self.policy
        if policy.daily_tokens and self.tokens >= policy.daily_tokens:
            tokens = 2 * policy.daily_tokens
            while tokens <= self.tokens:
                tokens *= 2
            return f"gardener config set usage.daily_tokens {tokens}"
        cost = 2 * policy.daily_cost
        while policy.daily_cost and cost <= self.cost:
            cost *= 2
        return f"gardener config set usage.daily_cost {cost:g}"

    def as_json(self) -> dict[str, object]:
        return {
            "tokens": self.tokens,
            "cost": round(self.cost, 6),
            "daily_tokens": self.policy.daily_tokens,
            "daily_cost": self.policy.daily_cost,
            "percent": round(self.percent, 1),
            "resets_at": self.resets_at,
        }


class UsageLog:
    """Thread-safe; several processes may share one state.db."""

    def __init__(
        self,
        state: Callable[[], State],
        policy: Callable[[], Policy],
        *,
        default_model: Callable[[str], str] = lambda backend: "",
        clock: Callable[[], float] = time.time,
        counted: Callable[[Generation], None] = lambda _: None,
    ) -> None:
        """`state` and `policy` are asked when something is counted; `clock` gives Unix time. `default_model` names
        the model that a backend answers with when none was named. `counted` is told of each answer."""
        self._state = state
        self._policy = policy
        self._default_model = default_model
        self._clock = clock
        self._counted = counted

    def record(self, generation: Generation) -> tuple[str, ...]:
        """Adds one row; returns what the user should be told: that the budget runs out, or that this went uncounted.

        Never raises.
        """
        try:
            policy = self._policy()
            generation = replace(generation, model=generation.model or self._default_model(generation.backend))
            self._counted(generation)
            with self._state().write() as connection:
                before = _day(connection, self._clock(), policy)
                cost = policy.cost(generation.usage) if generation.generates else 0.0
                warning, percent = _warning(connection, before, generation, cost)
                row = _insert(connection, self._clock(), generation, cost, percent)
                if row % _PRUNE_EVERY == 0:
                    _prune(connection, self._clock(), row)
        except Exception as error:
            log.exception("usage.not_recorded")
            return (f"This answer's usage could not be counted: {_said(error)}",)
        return (warning,) if warning else ()

    def today(self) -> Budget:
        """Tokens and cost of models since midnight. Raises GardenerError when state.db cannot be read."""
        return _day(self._state().read(), self._clock(), self._policy())

    def may_generate(self) -> Readiness:
        """Whether the day's budget still lets a model answer. An answer that has begun is always finished.

        Never raises: when the day cannot be counted, the log says so and models may go on.
        """
        try:
            if not (policy := self._policy()).daily_tokens and not policy.daily_cost:
                return Readiness(True)
            today = self.today()
        except Exception:
            log.exception("usage.budget_unknown")
            return Readiness(True)
        if today.percent < 100:
            return Readiness(True)
        return Readiness(
            False,
            f"The daily budget is used up ({today.used()}): models answer again from midnight, or when it is raised.",
            today.how_to_raise(),
        )


def day_limits(now: float, days: int = 0) -> tuple[float, float]:
    """Unix times of the midnights before and after `now`, by the machine's own time: 23 to 25 hours apart.

    `days` moves both by whole days.
    """
    local = time.localtime(now)

    def midnight(more: int) -> float:
        return time.mktime((local.tm_year, local.tm_mon, local.tm_mday + days + more, 0, 0, 0, 0, 0, -1))

    return midnight(0), midnight(1)


def _day(connection: Connection, now: float, policy: Policy) -> Budget:
    # Both ends: rows written while the clock ran ahead belong to another day.
    begin, end = day_limits(now)
    # total() adds in floating point: sum() fails for ever when backends count more than 64 bits hold.
    row = connection.execute(
        "SELECT total(prompt_tokens) + total(completion_tokens), total(cost) FROM generations "
        "WHERE at >= ? AND at < ? AND generates = 1",
        (begin, end),
    ).fetchone()
    return Budget(int(row[0]), float(row[1]), policy, end)


def _warning(connection: Connection, before: Budget, generation: Generation, cost: float) -> tuple[str, int]:
    """The sentence for the highest threshold that the day has reached and nobody was told of, with its percent."""
    if not before.limited or not generation.generates:
        return "", 0
    tokens = generation.usage.prompt_tokens + generation.usage.completion_tokens
    after = Budget(before.tokens + tokens, before.cost + cost, before.policy, before.resets_at)
    reached = max((percent for percent in (*WARN_AT, 100) if after.percent >= percent), default=0)
    if not reached or generation.left:  # whoever has left reads no warning
        return "", 0
    (told,) = connection.execute(
        "SELECT coalesce(max(budget_warned), 0) FROM generations WHERE at >= ? AND at < ?",
        day_limits(before.resets_at - 1),
    ).fetchone()
    if reached <= told:
        return "", 0
    if reached == 100:
        return (
            f"That was the last of the daily budget ({after.used()}): until midnight search answers alone. "
            f"Raise it: {after.how_to_raise()}",
            reached,
        )
    return f"{after.percent:.0f} % of the daily budget are used ({after.used()}).", reached


def _insert(connection: Connection, now: float, generation: Generation, cost: float, warned: int) -> int:
    usage = generation.usage
    values: dict[str, object] = {
        "at": now,
        "project_id": generation.project_id,
        "project": generation.project_name,
        "backend": generation.backend,
        "model": generation.model,
        "adapter": generation.adapter,
        "generates": generation.generates,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "estimated": usage.estimated,
        "first_token_ms": generation.first_token_ms,
        "total_ms": generation.total_ms,
        "prompt_s": usage.prompt_s,
        "completion_s": usage.completion_s,
        "load_s": usage.load_s,
        "prefix": usage.prefix,
        "level": generation.level,
        "finish": "left" if generation.left else "complete" if generation.complete else "incomplete",
        "ended": generation.finish,
        "problem": generation.problem,
        "cost": cost,
        "budget_warned": warned,
    }
    cursor = connection.execute(
        f"INSERT INTO generations ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _prune(connection: Connection, now: float, newest: int) -> None:
    connection.execute(
        "DELETE FROM generations WHERE at < ? AND id <= ?", (now - KEPT_DAYS * 86_400, newest - KEPT_ROWS)
    )


def _said(error: Exception) -> str:
    return error.message if isinstance(error, GardenerError) else f"{type(error).__name__}: {error}"
