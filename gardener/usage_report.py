"""What models took over a time, by project, model or day: read from the rows of gardener.usage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlite3

    from gardener.state import State

By = Literal["project", "model", "day"]


@dataclass(slots=True)
class UsageLine:
    """The answers of one project, model or day. Tokens and seconds are sums."""

    name: str
    answers: int = 0
    by_models: int = 0
    """Of the answers, those that a language model wrote."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    """Some of the tokens are estimates."""
    prompt_s: float = 0.0
    completion_s: float = 0.0
    loads: int = 0
    """Answers that had to wait for the model to be loaded."""
    load_s: float = 0.0
    prefixes: dict[str, int] = field(default_factory=dict)
    """Where the system prompt's state came from: resident, restored, read."""
    levels: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    incomplete: int = 0
    cost: float = 0.0
    first_token_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    _timed_prompt: int = 0
    _timed_completion: int = 0

    def add(self, row: sqlite3.Row) -> None:
        self.answers += 1
        self.levels[row["level"]] = self.levels.get(row["level"], 0) + 1
        if row["problem"]:
            self.problems[row["problem"]] = self.problems.get(row["problem"], 0) + 1
        self.incomplete += row["finish"] != "complete"
        self.total_ms.append(row["total_ms"])
        if row["first_token_ms"] is not None:
            self.first_token_ms.append(row["first_token_ms"])
        if not row["generates"]:
            return
        self.by_models += 1
        self.prompt_tokens += row["prompt_tokens"]
        self.cached_tokens += row["cached_tokens"]
        self.completion_tokens += row["completion_tokens"]
        self.estimated = self.estimated or bool(row["estimated"])
        self.cost += row["cost"]
        self.load_s += row["load_s"]
        self.loads += row["load_s"] > 0
        if row["prefix"]:
            self.prefixes[row["prefix"]] = self.prefixes.get(row["prefix"], 0) + 1
        if row["prompt_s"] > 0:
            self.prompt_s += row["prompt_s"]
            self._timed_prompt += max(0, row["prompt_tokens"] - row["cached_tokens"])
        if row["completion_s"] > 0:
            self.completion_s += row["completion_s"]
            self._timed_completion += row["completion_tokens"]

    @property
    def prompt_rate(self) -> float | None:
        """Tokens per second of reading, those from a cache left out; None when no backend said."""
        return self._timed_prompt / self.prompt_s if self.prompt_s else None

    @property
    def completion_rate(self) -> float | None:
        """Tokens per second of writing; None when no backend said."""
        return self._timed_completion / self.completion_s if self.completion_s else None

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "answers": self.answers,
            "by_models": self.by_models,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "estimated": self.estimated,
            "first_token_ms": {"p50": percentile(self.first_token_ms, 50), "p95": percentile(self.first_token_ms, 95)},
            "total_ms": {"p50": percentile(self.total_ms, 50), "p95": percentile(self.total_ms, 95)},
            "prompt_tokens_per_s": _rounded(self.prompt_rate),
            "completion_tokens_per_s": _rounded(self.completion_rate),
            "loads": self.loads,
            "load_s": round(self.load_s, 3),
            "prefixes": {name: self.prefixes.get(name, 0) for name in ("resident", "restored", "read")},
            "levels": dict(sorted(self.levels.items())),
            "problems": dict(sorted(self.problems.items())),
            "incomplete": self.incomplete,
            "cost": round(self.cost, 6),
        }


_NAMES: dict[By, Callable[[sqlite3.Row], tuple[str, str]]] = {
    # A project keeps its line when it is renamed, and gets the newest name.
    "project": lambda row: (row["project_id"], row["project"]),
    "model": lambda row: (f"{row['backend']}\0{row['model']}", f"{row['backend']} {row['model']}".strip()),
    "day": lambda row: (_date(row["at"]), _date(row["at"])),
}


def usage_report(
    state: State, since: float, by: By, *, until: float | None = None, project_id: str = ""
) -> Sequence[UsageLine]:
    """One line for each project, model or day with answers from `since` until `until` (Unix times; default now).

    Days in their order, the others by tokens. Rows from a clock that ran ahead are left out.
    """
    lines: dict[str, UsageLine] = {}
    rows = state.read().execute(
        "SELECT * FROM generations WHERE at >= ? AND at <= ? AND (? = '' OR project_id = ?) ORDER BY id",
        (since, time.time() if until is None else until, project_id, project_id),
    )
    for row in rows:
        key, name = _NAMES[by](row)
        line = lines.setdefault(key, UsageLine(name))
        line.name = name
        line.add(row)
    if by == "day":
        return [lines[key] for key in sorted(lines)]
    return sorted(lines.values(), key=lambda line: (-(line.prompt_tokens + line.completion_tokens), line.name))


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least `percent` of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)], 2)


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
