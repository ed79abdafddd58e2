"""The page "Activity": what models took, how fast they were, what fell back, and the work of this app."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gardener.errors import UsageError
from gardener.projects.conversations import UNTITLED
from gardener.usage import day_limits
from gardener.usage_report import UsageLine, percentile, usage_report
from ui.job_view import WORDS, job_html
from ui.markup import ago, badge, count, empty, exact, facts, notice, seconds, section, table, text
from ui.pages import Fields, Shown, number

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job

RANGES = (1, 7, 30, 90)
RECENT_JOBS = 20
RECENT_RATINGS = 20
STATES = {"done": "good", "failed": "bad", "cancelled": "warn", "running": "", "queued": ""}


class ActivityPage:
    path = "activity"
    name = "Activity"
    lead = "Counted on this machine, for you. Nothing of it is sent anywhere."

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._gardener = edge.gardener

    def open(self, query: Fields) -> Shown:
        return Shown("", self._form(query), self._main(query))

    def refresh(self, worked: bool) -> Shown:
        return Shown()

    def live(self) -> str:
        return "".join(job_html(job) for job in self._edge.jobs.find() if not job.over)

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        match what:
            case "show":
                yield Shown("", main=self._main(fields))
            case "cancel":
                self._edge.jobs.cancel(fields["job"])
                yield Shown(notice("Asked it to stop; what is finished is kept."))
            case _:
                raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help usage")

    # ---- parts ---------------------------------------------------------------------------------------

    def _form(self, query: Fields) -> str:
        days, wanted = _days(query), query.get("project", "")
        ranges = "".join(
            f'<option value="{number}"{" selected" if number == days else ""}>'
            f"{'today' if number == 1 else f'{number} days'}</option>"
            for number in RANGES
        )
        projects = "".join(
            f'<option value="{exact(context.id)}"{" selected" if context.id == wanted else ""}>'
            f"{text(context.name)}</option>"
            for context in self._gardener.registry.list()
        )
        return (
            f'<form data-do="show" data-address="" class="line filters">'
            f'<span class="pair"><label for="days">Time</label>'
            f'<select id="days" name="days" data-submits="">{ranges}</select></span>'
            f'<span class="pair"><label for="project">Project</label>'
            f'<select id="project" name="project" data-submits="">'
            f'<option value="">all</option>{projects}</select></span>'
            f'<button type="submit" class="act">Show</button></form>'
        )

    def _main(self, query: Fields) -> str:
        days, project = _days(query), query.get("project", "")
        since = day_limits(time.time(), -(days - 1))[0]
        state = self._gardener.state
        by_day = usage_report(state, since, "day", project_id=project)
        if not by_day:
            nothing = empty("No answers in that time", '<p><a href="/">Ask something</a> and it is counted here.</p>')
            return self._today() + nothing + self._jobs()
        parts = [self._today(), _daily(by_day, days)]
        by_model = usage_report(state, since, "model", project_id=project)
        by_project = usage_report(state, since, "project", project_id=project)
        parts.append(section("By model", _usage_table(by_model, "Models, most tokens first")))
        parts.append(section("By project", _usage_table(by_project, "Projects, most tokens first")))
        parts.append(self._fallbacks(by_day))
        parts.append(self._ratings(since, project))
        return "".join(parts) + self._jobs()

    def _today(self) -> str:
        status = self._gardener.status()
        budget = self._gardener.usage.today()
        rows = []
        if status.get("project"):
            level = str(status["level"])
            why = (
                f' <span class="quiet">{text(str(status["level_reason"]).replace("`", ""))}</span>'
                if status["level_reason"]
                else ""
            )
            rows.append(("Answers now", badge(level, "good" if level == "full" else "warn") + why))
        lines = usage_report(self._gardener.state, day_limits(time.time())[0], "day")
        rows.append(("Answers today", count(sum(line.answers for line in lines))))
        if budget.limited:
            rows.append(("Daily budget", f"{text(budget.used())}, {budget.percent:.0f} %"))
        return f'<section class="card">{facts(rows)}</section>'

    def _fallbacks(self, lines: Sequence[UsageLine]) -> str:
        levels, problems, prefixes = (
            _sum(line.levels for line in lines),
            _sum(line.problems for line in lines),
            _sum(line.prefixes for line in lines),
        )
        rows = [("Levels", _counts(levels))]
        if problems:
            rows.append(("Problems", _counts(problems)))
        if prefixes:
            rows.append(("System prompt's state", _counts(prefixes)))
        loads = sum(line.loads for line in lines)
        if loads:
            rows.append(
                ("Model loaded for an answer", f"{count(loads)} × in {seconds(sum(line.load_s for line in lines))}")
            )
        incomplete = sum(line.incomplete for line in lines)
        if incomplete:
            rows.append(("Incomplete answers", count(incomplete)))
        return section("How well it went", f'<div class="card">{facts(rows)}</div>')

    def _ratings(self, since: float, project: str) -> str:
        """How many thumbs up and down, and those with their reasons. A conversation is opened by its title."""
        history = self._gardener.history
        rated = [
            (rating, context)
            for context in self._gardener.registry.list()
            if project in ("", context.id)
            for rating in history.ratings(context.id, since)
        ]
        if not rated:
            return section(
                "Feedback",
                '<p class="quiet">No answer of that time was rated: the buttons stand under each answer.</p>',
            )
        rated.sort(key=lambda pair: -pair[0].answered_at)
        helpful = sum(rating.feedback > 0 for rating, _ in rated)
        rows = []
        for rating, context in rated[:RECENT_RATINGS]:
            address = "/?" + urlencode({"project": context.name, "conversation": rating.conversation_id})
            verdict = badge("helpful", "good") if rating.feedback > 0 else badge("not helpful", "warn")
            rows.append(
                [
                    f'<a href="{text(address)}">{text(rating.title or UNTITLED)}</a>',
                    verdict,
                    text(rating.reason) or '<span class="quiet">no reason given</span>',
                    text(context.name),
                    ago(rating.answered_at),
                ]
            )
        listed = table(
            ["Conversation", "Answer", "Why", "Project", "Answered"], rows, caption="Rated answers, newest first"
        )
        return section("Feedback", listed, note=f"Helpful {count(helpful)}, not helpful {count(len(rated) - helpful)}.")

    def _jobs(self) -> str:
        jobs = [job for job in self._edge.jobs.find() if job.over][:RECENT_JOBS]
        if not jobs:
            return ""
        names = {context.id: context.name for context in self._gardener.registry.list(include_removed=True)}
        rows = [
            [
                text(WORDS.get(job.kind, job.kind)),
                text(job.about[:120]),
                text(names.get(job.project_id, "")),
                _outcome(job),
                seconds(max(0.0, job.finished - job.started)),
                ago(job.finished),
            ]
            for job in jobs
        ]
        headings = ["What", "About", "Project", "Ended", "Took", "When"]
        return section("Recent work", table(headings, rows, caption="Jobs of this app, newest first", numeric=(4,)))


def _days(query: Fields) -> int:
    typed = query.get("days", "")
    return days if (days := number(typed, 30)) in RANGES else 30


def _daily(lines: Sequence[UsageLine], days: int) -> str:
    """Answers of each day as bars from 0, with their table. Days without any are days with 0."""
    by_date = {line.name: line for line in lines}
    today = date.today()
    dates = [(today - timedelta(days=back)).isoformat() for back in range(days - 1, -1, -1)]
    answers = [by_date[day].answers if day in by_date else 0 for day in dates]
    top = max(answers)
    bars = "".join(
        f'<span class="bar" style="--part:{value / top:.4f}" title="{day}: {value}"></span>'
        for day, value in zip(dates, answers, strict=True)
    )
    chart = (
        f'<div class="chart" aria-hidden="true"><span class="top">{count(top)}</span><span class="zero">0</span>'
        f'<div class="bars">{bars}</div><div class="axis"><span>{dates[0]}</span><span>{dates[-1]}</span></div></div>'
    )
    listed = _usage_table(sorted(lines, key=lambda line: line.name, reverse=True), "Days with answers, newest first")
    return section(
        "Answers per day", (chart if days > 1 else "") + f"<details open><summary>Table</summary>{listed}</details>"
    )


def _usage_table(lines: Sequence[UsageLine], caption: str) -> str:
    rows = []
    for line in lines:
        about = "~" if line.estimated else ""
        cached = f"{100 * line.cached_tokens / line.prompt_tokens:.0f} %" if line.prompt_tokens else "—"
        rows.append(
            [
                text(line.name),
                count(line.answers),
                f"{about}{count(line.prompt_tokens)}",
                cached,
                f"{about}{count(line.completion_tokens)}",
                _milliseconds(percentile(line.first_token_ms, 50)),
                _milliseconds(percentile(line.first_token_ms, 95)),
                f"{line.prompt_rate:,.0f}" if line.prompt_rate else "—",
                f"{line.completion_rate:,.1f}" if line.completion_rate else "—",
                count(line.loads),
            ]
        )
    headings = [
        "",
        "Answers",
        "Tokens read",
        "Cached",
        "Written",
        "First token p50",
        "p95",
        "Read/s",
        "Written/s",
        "Loads",
    ]
    return table(headings, rows, caption=caption, numeric=range(1, len(headings)))


def _milliseconds(value: float | None) -> str:
    return "—" if value is None else seconds(value / 1000)


def _sum(many: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in many:
        for name, times in counts.items():
            total[name] = total.get(name, 0) + times
    return total


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{text(name)} {count(number)}" for name, number in ordered)


def _outcome(job: Job) -> str:
    error = (job.last or {}).get("error") if job.state == "failed" else None
    why = f' <span class="quiet">{text(error["message"])}</span>' if error else ""
    return badge(job.state, STATES[job.state]) + why
