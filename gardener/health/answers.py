"""Checks of what answers took, from the figures that are kept of every answer; nothing is asked of a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from gardener.health.check import Check, Finding, fine, note

if TYPE_CHECKING:
    from gardener.settings import Settings
    from gardener.state import State

RECENT = 5
"""Answers whose middle one stands for how it is now."""
RECENT_S = 86_400.0
BASELINE = 20
"""Fewest earlier answers that make a baseline."""
BASELINE_S = 30 * 86_400.0
LEAST_TOKENS = 20
"""Shorter answers say little about speed."""


def answer_checks(
    state: Callable[[], State | None], settings: Callable[[], Settings], clock: Callable[[], float] = time.time
) -> list[Check]:
    """`state` gives None while there is no state.db. One query each over an index, every five minutes."""
    return [
        Check("first word", lambda: _first_token(state(), settings(), clock()), every_s=300),
        Check("speed", lambda: _speed(state(), settings(), clock()), every_s=300),
        Check("reloads", lambda: _reloads(state(), settings(), clock()), every_s=300),
    ]


def _first_token(state: State | None, settings: Settings, now: float) -> list[Finding]:
    warning, error = settings.number("health.first_token_warning_s"), settings.number("health.first_token_error_s")
    findings = []
    for who, rows in _by_model(state, "first_token_ms / 1000 - load_s", "first_token_ms IS NOT NULL", now - RECENT_S):
        recent = [seconds for _, seconds in rows[:RECENT]]
        if len(recent) < RECENT:
            continue
        took = median(recent)
        detail = f"The last {RECENT} answers began after {took:.1f} s (the middle one)."
        if took >= warning:
            severity = "error" if took >= error else "warning"
            findings.append(Finding("answers-late", severity, detail, "gardener models recommend", who))  # type: ignore[arg-type]
        else:
            findings.append(fine(detail, who))
    return findings or [note("too few answers in the last day")]


def _speed(state: State | None, settings: Settings, now: float) -> list[Finding]:
    speed = "completion_tokens / completion_s"
    where = f"completion_s > 0 AND completion_tokens >= {LEAST_TOKENS} AND estimated = 0"
    findings = []
    for who, rows in _by_model(state, speed, where, now - BASELINE_S):
        recent = [value for at, value in rows[:RECENT] if at >= now - RECENT_S]
        before = [value for _, value in rows[RECENT:]]
        if len(recent) < RECENT or len(before) < BASELINE:
            continue
        usual, is_now = median(before), median(recent)
        detail = f"{is_now:.1f} tokens/s in the last {RECENT} answers; usual are {usual:.1f} ({len(before)} answers)."
        slow = is_now < usual * settings.integer("health.speed_percent") / 100
        findings.append(
            Finding("model-slow", "warning", detail, "gardener models recommend", who) if slow else fine(detail, who)
        )
    return findings or [note("too few answers to compare")]


def _reloads(state: State | None, settings: Settings, now: float) -> list[Finding]:
    findings = []
    most = settings.integer("health.reloads_per_hour")
    for who, rows in _by_model(state, "load_s", "load_s > 0.05", now - 3_600):
        if len(rows) >= most:
            detail = f"{len(rows)} answers in the last hour had to wait for the model's loading."
            findings.append(Finding("model-reloads", "warning", detail, "gardener config get ollama.keep_alive", who))
    return findings or [fine("the model stays loaded")]


def _by_model(state: State | None, value: str, where: str, since: float) -> list[tuple[str, list[tuple[float, float]]]]:
    """(at, value) of the answers of each model, the newest first; `value` and `where` are SQL of ours."""
    if state is None:
        return []
    rows = state.read().execute(
        f"SELECT backend || ' ' || model, at, {value} FROM generations "
        f"WHERE at >= ? AND generates = 1 AND finish != 'left' AND {where} ORDER BY at DESC LIMIT 2000",
        (since,),
    )
    found: dict[str, list[tuple[float, float]]] = {}
    for who, at, measured in rows.fetchall():
        found.setdefault(str(who).strip(), []).append((float(at), float(measured)))
    return sorted(found.items())
