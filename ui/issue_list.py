"""Issues on the page "Health": what is open and since when, what helps, and silence for what is known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gardener.errors import GardenerError, UsageError
from gardener.health.issues import Issue, acknowledge, snooze, snoozed
from gardener.service.manager import how_to_start_the_monitor
from ui.markup import ago, badge, button, notice, section, text

if TYPE_CHECKING:
    from gardener.server.health_view import HealthView
    from ui.pages import Fields

LOOKS = {"error": "bad", "warning": "warn"}
WORDS = {"error": "problem", "warning": "warning"}
SNOOZES = {"1": "1 h", "24": "1 day", "168": "1 week"}
"""Hours, as the buttons say them."""


def issues_html(view: HealthView) -> str:
    """What the monitor has found; says so when none runs."""
    try:
        known = view.as_json()
        issues = view.database.open_issues()
    except GardenerError as error:
        return section("Issues", notice(error.message, error.next_step, bad=True))
    last = known["last_round"]
    if known["monitor"]["pid"] is None:
        watched = (
            "<p>No monitor runs, so nothing is noticed by itself and no alerts are sent. What helps: "
            f"<code>{text(how_to_start_the_monitor())}</code></p>"
        )
    else:
        watched = ""
    looked = f"The monitor's last round was {ago(last['at'])}." if last else "No round has been made yet."
    looked = f'<p class="quiet">{looked}</p>'
    silent = "".join(
        f"<p>{badge('maintenance')} No alerts until {_clock(window['ends'])}. {text(window['reason'])}</p>"
        for window in known["maintenance"]
    )
    items = "".join(_item(issue) for issue in issues)
    body = f'<ul class="findings issues">{items}</ul>' if items else "<p>Nothing is open.</p>"
    return section("Issues", looked + watched + silent + body, name="issues")


def act_on_issue(view: HealthView, what: str, fields: Fields) -> str:
    """Does what a button says; returns the notice. Raises NotFoundError when the issue is over."""
    number = fields.get("issue", "")
    if not number.isdecimal() or len(number) > 15:
        raise UsageError("Which issue?", next_step="gardener health")
    if what == "acknowledge":
        issue = view.database.change(int(number), lambda found: acknowledge(found, time.time()))
        said = f"{issue.label}: acknowledged. Nothing more is told about it until it is worse, or over."
    else:
        hours = fields.get("hours", "")
        if hours not in SNOOZES:
            raise UsageError("For how long?", next_step="gardener health snooze 1 4h")
        now = time.time()
        issue = view.database.change(int(number), lambda found: snooze(found, now, now + int(hours) * 3_600))
        said = f"{issue.label}: silent for {SNOOZES[hours]}."
    view.forget()
    return notice(said)


def step_by_step(kind: str) -> str:
    """The runbook of a kind of finding, folded up; only its name where this installation has none."""
    from gardener import runbooks

    if not kind:
        return ""
    try:
        page = runbooks.read(kind).text
    except GardenerError:
        return f'<p class="fix quiet">Step by step: gardener runbook {text(kind)}</p>'
    return (
        f'<details class="more"><summary>Step by step: gardener runbook {text(kind)}</summary>'
        f'<pre class="runbook">{text(page)}</pre></details>'
    )


def _item(issue: Issue) -> str:
    fix = f'<p class="fix">What helps: <code>{text(issue.fix)}</code></p>' if issue.fix else ""
    return (
        f"<li>{badge(WORDS[issue.severity], LOOKS[issue.severity])}"
        f"<div><h3>{text(issue.label)}</h3><p>{text(issue.detail)}</p>{fix}{step_by_step(issue.kind)}{_silence(issue)}</div>"
        f'<span class="quiet num">since {_clock(issue.first_seen)}</span></li>'
    )


def _silence(issue: Issue) -> str:
    if issue.acknowledged:
        return f'<p class="fix quiet">Acknowledged {ago(issue.acknowledged_at)}.</p>'
    if snoozed(issue, time.time()):
        return f'<p class="fix quiet">Silent until {_clock(issue.snoozed_until)}.</p>'
    about = f"issue {issue.id}: {issue.label}"
    acknowledged = button("I know", "acknowledge", name=f"I know of {about}", issue=issue.id)
    snoozes = "".join(
        button(f"Again in {said}", "snooze", name=f"Say it again in {said}, {about}", issue=issue.id, hours=hours)
        for hours, said in SNOOZES.items()
    )
    return f'<div class="line">{acknowledged}{snoozes}</div>'


def _clock(at: float) -> str:
    local = time.localtime(at)
    same_day = local[:3] == time.localtime()[:3]
    return text(time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", local))
