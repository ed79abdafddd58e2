"""What a health check is: a named question with one answer or several, which never raises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import NamedTuple

from gardener.errors import GardenerError
from gardener.health.kinds import KINDS, Severity, kind_of_error

BAD = ("warning", "error")
_log = logging.getLogger("gardener.health")


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a check. Warnings and errors have a kind; together with the subject it says what is meant."""

    id: str
    """A row of KINDS; "" where there is nothing to do."""
    severity: Severity
    detail: str
    fix: str = ""
    """The command that helps, "" when nothing needs fixing."""
    subject: str = ""
    """The project, file, port, … that it is about; "" for what there is one of."""
    check: str = ""
    """The name of the check that found it; filled in when it runs."""
    took_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.severity in BAD and self.severity not in KINDS[self.id].severities:
            raise ValueError(f"{self.id} cannot be of severity {self.severity}")

    @property
    def label(self) -> str:
        """What it is about, for people: "index flask"."""
        return f"{self.check} {self.subject}".strip()

    @property
    def runbook(self) -> str:
        return KINDS[self.id].runbook if self.id else ""

    def as_json(self) -> dict[str, object]:
        return {
            "check": self.check,
            "id": self.id or None,
            "subject": self.subject,
            "severity": self.severity,
            "detail": self.detail,
            "fix": self.fix,
            "runbook": self.runbook or None,
            "took_ms": round(self.took_ms, 2),
        }


def fine(detail: str, subject: str = "") -> Finding:
    return Finding("", "ok", detail, subject=subject)


def note(detail: str, fix: str = "", subject: str = "") -> Finding:
    """Good to know; nothing that an alert would be about."""
    return Finding("", "info", detail, fix, subject)


@dataclass(frozen=True, slots=True)
class Check:
    """`run` gives one finding or several (one per project, say); None when there is nothing new since the last time."""

    name: str
    run: Callable[[], Finding | list[Finding] | None]
    subject: str = ""
    """Tells apart checks of one name, such as one for each project."""
    every_s: float = 0.0
    """The monitor makes it so many seconds after the last time; 0 in every round."""
    limit_s: float = 5.0
    """After so many seconds it is a finding that the check does not end, and nobody waits for it any more."""
    heavy: bool = False
    """It loads what takes much memory: the monitor has it made by a process that ends."""

    @property
    def key(self) -> tuple[str, str]:
        return (self.name, self.subject)


def run_checks(checks: Iterable[Check], runner: Runner | None = None) -> list[Finding]:
    """Every check's findings in order, now. A check that fails or takes too long is itself a finding.

    A process that does this again and again keeps its `runner`, so that what hangs is not started again.
    """
    own = runner or Runner()
    try:
        return [finding for check in checks for finding in own.ask(check).findings]
    finally:
        if runner is None:
            own.close()


class Asked(NamedTuple):
    findings: tuple[Finding, ...]
    whole: bool
    """The check ended by itself: what it did not find is not there."""

    @property
    def nothing_new(self) -> bool:
        return not self.findings and not self.whole


class Runner:
    """Runs each check on a thread that is given up when the check does not end in time. Thread-safe.

    The check that hangs keeps the abandoned thread, and is not started again before that has ended: however often it
    is asked, it costs one thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._hung: dict[tuple[str, str], tuple[_Worker, float]] = {}

    def ask(self, check: Check) -> Asked:
        """The check's findings. Never raises."""
        begun = time.monotonic()
        asked = self._ask(check)
        took = (time.monotonic() - begun) * 1000
        return Asked(
            tuple(
                replace(
                    item,
                    check=item.check or check.name,
                    took_ms=item.took_ms or took,
                    detail=_text(item.detail),
                    subject=_text(item.subject),
                    fix=_text(item.fix),
                )
                for item in asked.findings
            ),
            asked.whole,
        )

    def close(self) -> None:
        """Lets the threads go that wait for work. It may be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.let_go()

    def _ask(self, check: Check) -> Asked:
        now = time.monotonic()
        with self._lock:
            if check.key in self._hung:
                hung, since = self._hung[check.key]
                if hung.busy:
                    return _does_not_end(check, now - since)
                del self._hung[check.key]
            worker = self._idle.pop() if self._idle else _Worker()
        asked = worker.do(lambda: run_check(check), check.limit_s)
        with self._lock:
            if asked is not None:
                self._idle.append(worker)
                return asked
            self._hung[check.key] = (worker, now)
        worker.let_go()
        return _does_not_end(check, check.limit_s)


class _Worker:
    """A daemon thread, as a process that ends must not wait for a check that hangs."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Asked], Future[Asked]] | None] = SimpleQueue()
        self._last: Future[Asked] | None = None
        threading.Thread(target=self._run, name="health-check", daemon=True).start()

    @property
    def busy(self) -> bool:
        return self._last is not None and not self._last.done()

    def do(self, work: Callable[[], Asked], limit_s: float) -> Asked | None:
        """None when it has not ended within so many seconds."""
        self._last = Future()
        self._work.put((work, self._last))
        try:
            return self._last.result(limit_s)
        except TimeoutError:
            return None

    def let_go(self) -> None:
        """The thread ends, after what it is at."""
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, result = item
            result.set_result(work())  # run_check never raises


def _text(text: str) -> str:
    """A file may have a name that is no UTF-8; neither health.db nor a terminal takes what Python makes of that."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _does_not_end(check: Check, seconds: float) -> Asked:
    detail = f"The check has not ended after {seconds:.0f} s; something that it reads does not answer."
    subject = f"{check.name} {check.subject}".strip()
    return Asked((Finding("check-failed", "warning", detail, "gardener doctor", subject),), whole=False)


def run_check(check: Check) -> Asked:
    """Its findings; the failure when it fails."""
    try:
        found = check.run()
    except GardenerError as error:
        kind = kind_of_error(error.code)
        subject = check.name if kind == "check-failed" else check.subject
        return Asked((Finding(kind, "error", error.message, error.next_step, subject),), whole=False)
    except Exception as error:
        _log.exception("health.check_failed", extra={"fields": {"check": check.name}})
        detail = f"The check itself failed: {type(error).__name__}: {error}"
        return Asked((Finding("check-failed", "error", detail, subject=check.name),), whole=False)
    if found is None:
        return Asked((), whole=False)
    return Asked((found,) if isinstance(found, Finding) else tuple(found), whole=True)
