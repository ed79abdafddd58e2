"""When to make a backup and when to try one, in whichever process of the home keeps the schedule.

APScheduler looks every minute whether something is due, which is told from the backups themselves. A machine that slept
through ten dates therefore makes one backup when it wakes, and two processes never make the same one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener.backup.store import Store
from gardener.errors import GardenerError, LockedError
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

_log = logging.getLogger("gardener.backup")

LOOK_S = 60
"""Seconds between two looks."""
RETRY_S = 900.0
"""Seconds before something that failed is tried again."""


def backup_due(store: Store, every_s: float, now: float) -> bool:
    """Whether the newest good backup of this home is too old, or from a time that has not come yet.

    `every_s` is in seconds, 0 for never; `now` is Unix time.
    """
    newest = next((entry.manifest for entry in store.entries() if entry.protects), None)
    return every_s > 0 and (newest is None or not 0 <= now - newest.created_at < every_s)


def drill_due(store: Store, every_s: float, now: float) -> bool:
    """The same for the last successful drill of any backup that is still there; false while there is no backup."""
    entries = [entry for entry in store.entries() if entry.protects]
    drilled = [entry.proof["at"] for entry in entries if entry.proof and entry.proof.get("depth") == "drill"]
    return every_s > 0 and bool(entries) and not any(0 <= now - at < every_s for at in drilled)


class Schedule:
    """Looks and acts while it runs. `work` does what is due; it may raise GardenerError, which is logged."""

    def __init__(self, paths: Paths, work: Callable[[], None], *, look_s: float = LOOK_S) -> None:
        self._lock = ProcessLock(os.path.join(paths.run, "backup-schedule.lock"), "the schedule of backups")
        self._paths = paths
        self._work = work
        self._look_s = look_s
        self._not_before = 0.0
        self._scheduler: BackgroundScheduler | None = None

    @property
    def kept_elsewhere(self) -> bool:
        """Whether another process keeps the schedule."""
        return not self._lock.held and os.path.isdir(self._paths.run) and self._lock.holder() is not None

    def start(self) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        ensure_directory(self._paths.run)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        self._scheduler.add_job(
            self.look, "interval", seconds=self._look_s, coalesce=True, max_instances=1, misfire_grace_time=None
        )
        self._scheduler.start()

    def look(self) -> None:
        """Does what is due, if this process keeps the schedule or nobody does. Never raises."""
        if time.monotonic() < self._not_before:
            return
        try:
            if not self._lock.held:
                self._lock.acquire()
            self._work()
        except LockedError as error:
            _log.debug("%s", error.message)  # another process keeps the schedule, or works on the backups: next time
        except GardenerError as error:
            self._not_before = time.monotonic() + RETRY_S
            _log.error("The scheduled backup failed: %s Next: %s", error.message, error.next_step)
        except Exception:
            self._not_before = time.monotonic() + RETRY_S
            _log.exception("The scheduled backup failed.")

    def stop(self) -> None:
        """Returns when what is being done is done."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
            self._scheduler = None
        self._lock.release()
