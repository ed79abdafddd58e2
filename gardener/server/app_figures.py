"""What the running app counts, read from its /metrics by another process of the same user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.health.readings import AppFigures
from gardener.server.client import AppClient
from gardener.server.runfile import read_app

if TYPE_CHECKING:
    from gardener.paths import Paths

ASK_S = 5.0
"""Longest silence of the app."""
_SEARCHES, _SEARCH_SECONDS = "gardener_search_seconds_count", "gardener_search_seconds_sum"
_EMBEDDED = "gardener_index_embedded_ratio"


def app_figures(paths: Paths) -> AppFigures | None:
    """None when no app runs. Raises AppUnreachable when one runs and does not answer."""
    app = read_app(paths)
    if app is None:
        return None
    found = figures_in(AppClient(app, timeout_s=ASK_S).text("/metrics"))
    return AppFigures(app.pid, found.get(_SEARCHES, 0.0), found.get(_SEARCH_SECONDS, 0.0), found.get(_EMBEDDED))


def figures_in(text: str) -> dict[str, float]:
    """The last value of the three metrics that are wanted, whatever their labels. Our own app wrote this text."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name in (_SEARCHES, _SEARCH_SECONDS, _EMBEDDED):
            try:
                found[name] = float(line.rpartition(" ")[2])
            except ValueError:
                continue
    return found
