"""The Sampler of one home, with what it asks of Gardener: answers from state.db, the app by whoever can reach it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gardener.health.readings import AnswerFigures
from gardener.health.sampler import Sampler

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from gardener.app import Gardener
    from gardener.health.readings import AppFigures


def sampler_of(gardener: Gardener, app: Callable[[], AppFigures | None]) -> Sampler:
    """`app` gives the running app's figures, None when none runs (gardener.server.app_figures)."""
    return Sampler(gardener.paths, app=app, answers=lambda since, until: answers_between(gardener, since, until))


def answers_between(gardener: Gardener, since: float, until: float) -> AnswerFigures | None:
    """Answers that ended in [since, until), in Unix seconds; None before there is a state.db.

    Tokens per second are of the models that say how long they wrote.
    """
    if not os.path.exists(gardener.paths.state_db):
        return None
    row = (
        gardener.state.read()
        .execute(
            "SELECT count(*), avg(first_token_ms), total(completion_s), "
            "total(CASE WHEN completion_s > 0 THEN completion_tokens END) "
            "FROM generations WHERE at >= ? AND at < ?",
            (since, until),
        )
        .fetchone()
    )
    return AnswerFigures(row[0], row[3] / row[2] if row[2] > 0 else None, row[1])


def keep_sampling(sampler: Sampler, stop: threading.Event) -> None:
    """Samples until `stop` is set. For a thread of its own: a check that hangs must not leave a gap."""
    try:
        while not stop.wait(max(0.0, sampler.wait_s())):
            sampler.sample()
    finally:
        sampler.close()
