"""The monitor's books as the app shows them: the figure on every page, the Health page, the API, /metrics."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.health.check import Runner
from gardener.health.database import HealthDatabase
from gardener.health.issues import snoozed
from gardener.health.ledger import last_round, outdated_monitor, running_monitor
from gardener.server.events import JsonObject

if TYPE_CHECKING:
    from gardener.paths import Paths

log = logging.getLogger("gardener.server")

LOOK_S = 2.0
"""The pulse of every open tab asks twice a second; the monitor writes once a minute."""


class HealthView:
    """Thread-safe."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.database = HealthDatabase(paths.health_db)
        self.runner = Runner()
        """Of every check that this process makes."""
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._counts: Counter[str] = Counter()

    def counts(self) -> Counter[str]:
        """Open issues by severity, those left out that somebody has taken note of or put off. Never raises."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at < LOOK_S:
                return self._counts
            self._looked_at = now
            stamp = self._file_stamp()
            if stamp != self._stamp or self._counts:  # a snooze ends without anybody writing
                self._stamp = stamp
                self._counts = self._count()
            return self._counts

    def forget(self) -> None:
        """Somebody has just changed an issue here: the next look is a new one."""
        with self._lock:
            self._looked_at, self._stamp = float("-inf"), None

    def as_json(self, days: int = 0) -> JsonObject:
        """Open issues, and those that were over in the last `days`; the last round, the monitor, maintenance."""
        now = time.time()
        issues = self.database.issues_since(now - days * 86_400) if days else self.database.open_issues()
        last = last_round(self.database)
        at, pid = last.get("at") if last else None, running_monitor(self.paths)
        return {
            "issues": [issue.as_json() for issue in issues],
            "last_round": last,
            "monitor": {
                "pid": pid or None,
                "last_round_age_s": round(now - at, 1) if isinstance(at, float | int) else None,
                "other_version": outdated_monitor(pid, last) or None,
            },
            "maintenance": [window.as_json() for window in self.database.windows(now)],
        }

    def _count(self) -> Counter[str]:
        now = time.time()
        try:
            issues = self.database.open_issues()
        except GardenerError as error:
            log.warning("health.no_issues", extra={"fields": {"code": error.code, "reason": error.message}})
            return Counter()
        return Counter(issue.severity for issue in issues if not issue.acknowledged and not snoozed(issue, now))

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.paths.health_db)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
