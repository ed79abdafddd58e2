"""The page "Health": every check of `gardener doctor`, worst first, each with the command that helps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gardener.checks import all_checks
from gardener.errors import UsageError
from gardener.health.check import Check, Finding, run_checks
from gardener.server.app_state import own_state
from gardener.sizes import counted
from ui.issue_list import act_on_issue, issues_html, step_by_step
from ui.markup import ago, badge, bar, button, count, seconds, section, text
from ui.pages import Fields, Shown
from ui.trends_view import USUAL, days_in, trends_html

if TYPE_CHECKING:
    from gardener.server.edge import Edge

ORDER = {"error": 0, "warning": 1, "info": 2, "ok": 3}
LOOKS = {"error": "bad", "warning": "warn", "info": "", "ok": "good"}
WORDS = {"error": "problem", "warning": "warning", "info": "note", "ok": "fine"}
HEADINGS = {"error": "To mend", "warning": "To look at", "info": "Good to know", "ok": "Fine"}


class HealthPage:
    path = "health"
    name = "Health"
    lead = "What a support thread would ask first. The checks read and change nothing."

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._lock = threading.Lock()
        self._findings: list[Finding] = []
        self._checked_at = 0.0

    def open(self, query: Fields) -> Shown:
        self._check(all_checks(self._edge.gardener, lambda: own_state(self._edge)))
        return Shown("", self._form(), self._main(days_in(query)))

    def refresh(self, worked: bool) -> Shown:
        return Shown()

    def live(self) -> str:
        return ""

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        if what == "trends":
            yield Shown("", None, self._main(days_in(fields)))
            return
        if what in ("acknowledge", "snooze"):
            said = act_on_issue(self._edge.health, what, fields)
            yield Shown(said, None, self._main())
            return
        if what not in ("check", "deep"):
            raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help doctor")
        deep = what == "deep"
        checks = all_checks(self._edge.gardener, lambda: own_state(self._edge), deep=deep)
        found: list[Finding] = []
        for number, check in enumerate(checks):
            label = f"Checking {check.name}: {number + 1} of {len(checks)}"
            progress = bar(number, len(checks), "Checks done")
            yield Shown(notice=f'<div class="notice" role="status">{progress}<span>{text(label)}</span></div>')
            found += run_checks([check], self._edge.health.runner)
        self._keep(found)
        yield Shown("", self._form(), self._main())

    def _check(self, checks: Sequence[Check]) -> None:
        self._keep(run_checks(checks, self._edge.health.runner))

    def _keep(self, findings: list[Finding]) -> None:
        with self._lock:
            self._findings, self._checked_at = findings, time.time()

    # ---- parts ---------------------------------------------------------------------------------------

    def _form(self) -> str:
        return (
            f'<div class="line checks">{button("Check again", "check", look="primary")}'
            f"{button('Check deeply', 'deep', name='Check deeply: read every index file and compare the hashes')}"
            f'<span class="quiet">Checked {ago(self._checked_at)}. Deeply reads every index file and compares hashes.'
            f"</span></div>"
        )

    def _main(self, days: int = USUAL) -> str:
        with self._lock:
            findings = sorted(self._findings, key=lambda finding: ORDER[finding.severity])
        parts = [issues_html(self._edge.health), _verdict(findings)]
        for severity, heading in HEADINGS.items():
            these = [finding for finding in findings if finding.severity == severity]
            if these:
                items = "".join(_finding_html(finding) for finding in these)
                parts.append(section(heading, f'<ul class="findings">{items}</ul>'))
        parts.append(trends_html(self._edge.gardener.paths, days))
        refusals = self._edge.refusals
        if refusals:
            listed = ", ".join(f"{text(reason)} {count(number)}" for reason, number in refusals.most_common())
            parts.append(section("Refused requests", f"<p>{listed}</p>", note="Since this app was started."))
        return "".join(parts)


def _verdict(findings: Sequence[Finding]) -> str:
    problems = sum(finding.severity == "error" for finding in findings)
    warnings = sum(finding.severity == "warning" for finding in findings)
    if not problems and not warnings:
        every = counted(len(findings), "check")
        return f'<p class="sum">{badge("all fine", "good")} {every}, nothing to do.</p>'
    marks = []
    if problems:
        marks.append(badge(counted(problems, "problem"), "bad"))
    if warnings:
        marks.append(badge(counted(warnings, "warning"), "warn"))
    return f'<p class="sum">{" ".join(marks)} in {counted(len(findings), "check")}.</p>'


def _finding_html(finding: Finding) -> str:
    fix = ""
    if finding.fix and finding.severity != "ok":
        fix = f'<p class="fix">What helps: <code>{text(finding.fix)}</code></p>'
    return (
        f"<li>{badge(WORDS[finding.severity], LOOKS[finding.severity])}"
        f"<div><h3>{text(finding.label)}</h3><p>{text(finding.detail)}</p>{fix}{step_by_step(finding.id)}</div>"
        f'<span class="quiet num">{seconds(finding.took_ms / 1000)}</span></li>'
    )
