"""What a health check is: a named question with one answer or several, which never raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gardener.errors import GardenerError
from gardener.health.kinds import KINDS, Severity, kind_of_error

BAD = ("warning", "error")


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
    """`run` gives one finding or several (one per project, say)."""

    name: str
    run: Callable[[], Finding | list[Finding]]


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Every check's findings in order. A check that fails is itself a finding."""
    findings: list[Finding] = []
    for check in checks:
        begun = time.perf_counter()
        found = run_check(check)
        took = (time.perf_counter() - begun) * 1000
        findings += [replace(item, check=check.name, took_ms=took) for item in found]
    return findings


def run_check(check: Check) -> list[Finding]:
    """Its findings; the failure when it fails."""
    try:
        found = check.run()
    except GardenerError as error:
        kind = kind_of_error(error.code)
        subject = check.name if kind == "check-failed" else ""
        return [Finding(kind, "error", error.message, error.next_step, subject)]
    except Exception as error:
        detail = f"The check itself failed: {type(error).__name__}: {error}"
        return [Finding("check-failed", "error", detail, subject=check.name)]
    return [found] if isinstance(found, Finding) else found
