"""Brings alerts to the sinks: one thread each, so that one that hangs or fails holds up no other and no round."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from gardener.errors import GardenerError
from gardener.health.check import Finding, fine, note
from gardener.health.database import Alert, HealthDatabase
from gardener.health.sinks import Message, Sink, message

_log = logging.getLogger("gardener.health")

MOST_WAITING = 100
"""Alerts that wait for one sink; what comes then is counted as not delivered."""
RESUMED_S = 3_600.0
"""An alert that is older would only confuse."""


class Delivery:
    """Thread-safe. `sinks` gives those that are configured now, each time anew, by name; it may raise GardenerError."""

    def __init__(self, database: HealthDatabase, sinks: Callable[[], Mapping[str, Sink | GardenerError]]) -> None:
        self._database = database
        self._sinks = sinks
        self._queues: dict[str, queue.Queue[tuple[Message, Sink]]] = {}
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}

    def send(self, alerts: Sequence[Alert]) -> None:
        """Logs them and hands them to every sink. Returns at once, never raises."""
        for alert in alerts:
            told = message(alert)
            level = logging.INFO if alert.change in ("resolved", "improved") else logging.WARNING
            _log.log(level, "health.alert", extra={"fields": told.as_json()})
        if not alerts:
            return
        for name, sink in self._sinks().items():
            for alert in alerts:
                if isinstance(sink, GardenerError):
                    self._ended(alert, name, sink.message)
                else:
                    self._enqueue(name, sink, alert)

    def resume(self, now: float) -> None:
        """Delivers what a monitor that was killed had recorded in the last hour and not brought to every sink."""
        late = [alert for alert in self._database.alerts() if now - RESUMED_S <= alert.at <= now]
        for name, sink in self._sinks().items():
            for alert in reversed(late):
                if name not in alert.delivered and not isinstance(sink, GardenerError):
                    self._enqueue(name, sink, alert)

    def check(self) -> Finding | list[Finding]:
        """What of the sinks failed last, and has not worked since."""
        with self._lock:
            failed = dict(self._failed)
        names = list(self._sinks())
        for name, sink in self._sinks().items():
            if isinstance(sink, GardenerError):
                failed.setdefault(name, sink.message)
        found = [
            Finding("alert-failed", "warning", why, "gardener health alerts", name)
            for name, why in sorted(failed.items())
            if name in names
        ]
        if found:
            return found
        return fine(f"log, {', '.join(names)}") if names else note("alerts go into the log and onto the pages only")

    def wait(self, seconds: float) -> bool:
        """Until everything that was handed over is delivered or has failed; False when the time is up first."""
        import time

        until = time.monotonic() + seconds
        for waiting in list(self._queues.values()):
            with waiting.all_tasks_done:
                while waiting.unfinished_tasks:
                    if not waiting.all_tasks_done.wait(max(0.0, until - time.monotonic())):
                        return False
        return True

    def _enqueue(self, name: str, sink: Sink, alert: Alert) -> None:
        with self._lock:
            waiting = self._queues.get(name)
            if waiting is None:
                waiting = self._queues[name] = queue.Queue(MOST_WAITING)
                threading.Thread(target=self._run, args=(name, waiting), name=f"alerts-{name}", daemon=True).start()
        try:
            waiting.put_nowait((message(alert), sink))
        except queue.Full:
            self._ended(alert, name, f"{MOST_WAITING} alerts wait for it already.")

    def _run(self, name: str, waiting: queue.Queue[tuple[Message, Sink]]) -> None:
        while True:
            told, sink = waiting.get()
            problem = ""
            try:
                sink.send(told)
            except GardenerError as error:
                problem = error.message
            except Exception as error:
                _log.exception("health.sink_failed", extra={"fields": {"sink": name}})
                problem = f"{type(error).__name__}: {error}"
            try:
                self._ended(told.alert, name, problem)
            finally:
                waiting.task_done()

    def _ended(self, alert: Alert, name: str, problem: str) -> None:
        with self._lock:
            if problem:
                self._failed[name] = problem
            else:
                self._failed.pop(name, None)
        if problem:
            _log.error("health.alert_not_delivered", extra={"fields": {"sink": name, "reason": problem}})
        try:
            self._database.delivered(alert.id, name, problem)
        except GardenerError as error:
            _log.error("health.delivery_not_recorded", extra={"fields": {"sink": name, "reason": error.message}})
