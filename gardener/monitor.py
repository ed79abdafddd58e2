"""The monitor: rounds of checks, issues, alerts, and the schedule of backups, in a process of its own.

It must be there when the app is not, must not cost what it watches over, and ends at once when it is told to: each step
is one transaction, and what it was doing is done again after the next start.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gardener.backup.schedule import LOOK_S, RETRY_S
from gardener.backup_service import BackupService
from gardener.checks import all_checks, good_settings, listed_projects
from gardener.errors import GardenerError
from gardener.health.check import Check
from gardener.health.database import HealthDatabase
from gardener.health.delivery import Delivery
from gardener.health.issues import Issue, Rule
from gardener.health.ledger import monitor_lock, record
from gardener.health.machine import Gauge
from gardener.health.rounds import Round, Rounds
from gardener.health.sinks import configured
from gardener.inspection import Inspections
from gardener.paths import ensure_directory
from gardener.sampling import keep_sampling, sampler_of
from gardener.settings import SettingsWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gardener.app import Gardener
    from gardener.health.app import AppState
    from gardener.health.readings import AppFigures
    from gardener.health.sinks import Sink
    from gardener.settings import Settings
    from gardener.types import ProjectContext

_log = logging.getLogger("gardener.health")

SAMPLING_ENDS_S = 2.0
"""A sample that is being taken may take so long at the end; it asks an app that may hang."""


GRACE_S = 2.0
"""How long a round that is being made may take to its end when the monitor is told to end."""


class Monitor:
    """One home's. `run` on one thread; `stop` from any, a signal handler included."""

    def __init__(
        self,
        gardener: Gardener,
        app: Callable[[], AppState],
        figures: Callable[[], AppFigures | None] = lambda: None,
    ) -> None:
        """`figures` gives what the running app counts, for the samples; None when none runs."""
        self._gardener = gardener
        self._app = app
        self._figures = figures
        self._watcher = SettingsWatcher(good_settings(gardener))
        self.database = HealthDatabase(gardener.paths.health_db, begins_anew=True)
        self._lock = monitor_lock(gardener.paths)
        self._stop = threading.Event()
        self._rounds = Rounds()
        self._gauge = Gauge()
        self._projects: list[ProjectContext] = []
        self._sinks: tuple[Settings, Mapping[str, Sink | GardenerError]] | None = None
        self.delivery = Delivery(self.database, self._configured_sinks)
        self._inspections = Inspections(gardener.paths)

    def run(self, rounds: int = 0) -> None:
        """Until `stop`, or for so many rounds. Raises LockedError when the home has a monitor already."""
        ensure_directory(self._gardener.paths.run)
        self._lock.acquire()
        over = threading.Event()
        # A thread of its own, so that a round that takes long leaves no gap.
        sampler = sampler_of(self._gardener, self._figures)
        sampling = threading.Thread(target=keep_sampling, args=(sampler, over), name="samples", daemon=True)
        try:
            sampling.start()
            # A daemon, as one that is told to end must not wait for a check that hangs.
            thread = threading.Thread(target=self._make_rounds, args=(rounds,), name="rounds", daemon=True)
            thread.start()
            # A daemon, and its process is killed: whoever keeps the schedule next makes the backup anew.
            self._inspections.start()
            threading.Thread(target=self._keep_backups, name="backups", daemon=True).start()
            self._stop.wait()
            thread.join(GRACE_S)
        finally:
            over.set()
            sampling.join(SAMPLING_ENDS_S)
            self._inspections.close()
            self._lock.release()

    def stop(self) -> None:
        self._stop.set()

    def look(self) -> Round:
        """One round, taken into the books and its alerts sent. Raises GardenerError when health.db cannot be had."""
        self._watcher.poll()
        settings = self._watcher.current
        with self.database.read():
            pass  # one that cannot be used is put aside before a check, too, stumbles over it
        made = self._rounds.make(self._checks())
        rule = Rule(settings.integer("health.open_after"), settings.integer("health.close_after"))
        least = settings.text("health.alerts")

        def worth(issue: Issue) -> bool:
            return least != "none" and (least == "warning" or "error" in (issue.severity, issue.told))

        self.delivery.send(record(self.database, made, rule, pid=os.getpid(), worth=worth))
        return made

    def _make_rounds(self, rounds: int) -> None:
        try:
            self.delivery.resume(time.time())
        except GardenerError as error:
            _log.error("health.not_resumed", extra={"fields": {"code": error.code, "reason": error.message}})
        except Exception:  # whatever it is, the rounds are made
            _log.exception("health.not_resumed")
        made = 0
        while not self._stop.is_set():
            begun = time.monotonic()
            self._round()
            made += 1
            if made == rounds:
                self._stop.set()
            every = self._watcher.current.integer("health.every_seconds")
            self._stop.wait(max(1.0, every - (time.monotonic() - begun)))

    def _round(self) -> None:
        try:
            made = self.look()
            _log.debug("health.round", extra={"fields": {"took_s": made.took_s, "checks": len(made.made)}})
        except GardenerError as error:  # a full disk: the next round tries again, and the log says so if it can
            _log.error("health.round_failed", extra={"fields": {"code": error.code, "reason": error.message}})
        except Exception:
            _log.exception("health.round_failed")

    def _checks(self) -> list[Check]:
        with suppress(GardenerError):  # a check of its own says so; what is known of projects stays
            self._projects = listed_projects(self._gardener)
        return [
            *(
                check
                for check in all_checks(
                    self._gardener,
                    self._app,
                    gauge=self._gauge,
                    settings=lambda: self._watcher.current,
                    projects=self._projects,
                )
                if not check.heavy
            ),
            Check("inspection", self._inspections.newest),
            Check("alerts", self.delivery.check),
        ]

    def _configured_sinks(self) -> Mapping[str, Sink | GardenerError]:
        """Made anew when the settings have changed: a key is not read from the keyring in every round."""
        settings = self._watcher.current
        if self._sinks is None or self._sinks[0] is not settings:
            self._sinks = (settings, configured(settings))
        return self._sinks[1]

    def _keep_backups(self) -> None:
        """Looks every minute whether a backup or a drill is due and nobody, such as the app, keeps the schedule."""
        service = BackupService(self._gardener)
        schedule = service.schedule()
        wait_s: float = LOOK_S
        while not self._stop.wait(wait_s):
            wait_s = LOOK_S
            try:
                if not schedule.kept_elsewhere and any(service.is_due()):
                    self._inspections.backups()
                    wait_s = RETRY_S if any(service.is_due()) else wait_s  # the log says why it is still due
            except GardenerError as error:
                _log.error("health.backups_failed", extra={"fields": {"code": error.code, "reason": error.message}})
            except Exception:
                _log.exception("health.backups_failed")
