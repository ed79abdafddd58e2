"""What a health check is: a named question with one answer, which never raises and never blocks the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from gardener.errors import GardenerError

Severity = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's answer. `fix` is the command that helps, "" when nothing needs fixing."""

    id: str
    severity: Severity
    detail: str
    fix: str = ""
    took_ms: float = 0.0

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "severity": self.severity,
            "detail": self.detail,
            "fix": self.fix,
            "took_ms": round(self.took_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """`run` gives one finding or several (one per project, say)."""

    id: str
    run: Callable[[], Finding | list[Finding]]


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Every check's findings in order. A check that fails is itself a finding of severity error."""
    from dataclasses import replace

    findings: list[Finding] = []
    for check in checks:
        begun = time.perf_counter()
        try:
            found = check.run()
        except GardenerError as error:
            found = Finding(check.id, "error", error.message, error.next_step)
        except Exception as error:
            found = Finding(check.id, "error", f"The check itself failed: {type(error).__name__}: {error}")
        took = (time.perf_counter() - begun) * 1000
        findings += [replace(item, took_ms=took) for item in ([found] if isinstance(found, Finding) else found)]
    return findings
