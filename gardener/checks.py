"""Every health check of one home folder: `gardener doctor`, the page "Health" and the monitor make the same ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gardener.errors import ConfigError, GardenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gardener.app import Gardener
    from gardener.health.app import AppState, MonitorState
    from gardener.health.check import Check
    from gardener.health.machine import Gauge
    from gardener.models.registry import Choice
    from gardener.settings import Settings
    from gardener.state import State
    from gardener.types import ProjectContext


def all_checks(
    gardener: Gardener,
    app: Callable[[], AppState],
    *,
    deep: bool = False,
    gauge: Gauge | None = None,
    settings: Callable[[], Settings] | None = None,
    projects: Sequence[ProjectContext] | None = None,
) -> list[Check]:
    """`deep` reads every index file and vector and compares the hashes. `app` asks the running app.

    `gauge` keeps measurements between rounds. `projects` are those that have checks of their own, by default all.
    """
    from gardener import __version__
    from gardener.backup_service import BackupService
    from gardener.disk import orphans
    from gardener.health.answers import answer_checks
    from gardener.health.app import app_checks, monitor_check
    from gardener.health.backups import backup_checks
    from gardener.health.builtin import builtin_checks
    from gardener.health.database import aside_check
    from gardener.health.indexes import freshness_checks, index_checks, vectors_check
    from gardener.health.machine import Gauge, machine_checks
    from gardener.upgrade_service import upgrade_checks

    settings = settings or (lambda: good_settings(gardener))
    contexts = _listed(gardener) if projects is None else projects
    once = _Once(app)
    return [
        *builtin_checks(
            gardener.paths,
            lambda: gardener.state,
            lambda: list(gardener.registry.list()),
            lambda: gardener.embedding.problem(ask=True),
            lambda: gardener.embedding.spec.text,
            lambda: _who_answers(gardener),
        ),
        *machine_checks(gardener.paths, settings, gauge or Gauge()),
        *app_checks(
            once,
            __version__,
            lambda: settings().integer("server.port"),
            lambda: settings().is_set("server.port"),
        ),
        *answer_checks(lambda: _state_if_there(gardener), settings),
        *index_checks(
            gardener.paths,
            contexts,
            lambda context: gardener.index(context).indexer,
            lambda: orphans(gardener),
            deep=deep,
        ),
        *freshness_checks(contexts, lambda context: gardener.index(context).compare().files, lambda: once().watching),
        vectors_check(contexts, lambda: _wanted(gardener), _made_by),
        monitor_check(lambda: _monitor(gardener, settings())),
        aside_check(gardener.paths.health_db),
        *upgrade_checks(),
        *backup_checks(lambda: BackupService(gardener).store, settings, lambda: BackupService(gardener).second),
    ]


def listed_projects(gardener: Gardener) -> list[ProjectContext]:
    """Those that have checks of their own. Raises what State raises."""
    return list(gardener.registry.list()) if os.path.exists(gardener.paths.state_db) else []


def _listed(gardener: Gardener) -> list[ProjectContext]:
    try:
        return listed_projects(gardener)
    except GardenerError:
        return []  # another check says that state.db cannot be read


def good_settings(gardener: Gardener) -> Settings:
    """The settings; when a file is wrong, which a check of its own says, what is right in it."""
    from gardener.settings import Sources, load_good_parts

    try:
        return gardener.settings
    except ConfigError:
        return load_good_parts(Sources(gardener.paths))[0]


def _wanted(gardener: Gardener) -> str:
    from gardener.embedding_service import UNKNOWN

    found = gardener.embedding.glance()
    return "" if found == UNKNOWN else found


def _made_by(facts: Mapping[str, str]) -> str:
    from gardener.models.embedder_registry import packaged

    return facts.get("vectors_of") or packaged().fingerprint


def _monitor(gardener: Gardener, settings: Settings) -> MonitorState:
    import time

    from gardener.health.app import MonitorState
    from gardener.health.database import HealthDatabase
    from gardener.health.ledger import last_round, outdated_monitor, running_monitor
    from gardener.service.manager import how_to_start_the_monitor, is_installed

    pid = running_monitor(gardener.paths)
    last = last_round(HealthDatabase(gardener.paths.health_db))
    at = last.get("at") if last else None
    return MonitorState(
        is_installed(gardener.paths, "monitor"),
        pid,
        time.time() - at if isinstance(at, float | int) else None,
        settings.integer("health.every_seconds"),
        outdated_monitor(pid, last),
        start=how_to_start_the_monitor(),
    )


class _Once:
    """Asks the app when the first check wants to know, for all of them."""

    def __init__(self, ask: Callable[[], AppState]) -> None:
        self._ask = ask
        self._known: AppState | None = None

    def __call__(self) -> AppState:
        if self._known is None:
            self._known = self._ask()
        return self._known


def _state_if_there(gardener: Gardener) -> State | None:
    return gardener.state if os.path.exists(gardener.paths.state_db) else None


def _who_answers(gardener: Gardener) -> list[Choice]:
    """For the settings of all projects: the chosen model, and the fallback if one is set."""
    found = [gardener.backends.choose(gardener.settings.text("models.backend"))]
    if spec := gardener.settings.text("models.fallback"):
        backend, _, model = spec.partition(":")
        found.append(gardener.backends.choose(backend, model))
    return found
