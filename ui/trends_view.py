"""Trends on the page "Health": a chart from 0 up for each metric, its table beside it, and the forecasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gardener.app import INDEXES_IN_MEMORY
from gardener.errors import IntegrityError
from gardener.health.rollups import Bucket
from gardener.health.trend_text import capacity_lines, ceiling, disk_lines, shown
from gardener.health.trends import FINE_DAYS, Course, Trends, trends
from gardener.service.manager import how_to_start_the_monitor
from ui.markup import ago, empty, section, table, text

if TYPE_CHECKING:
    from gardener.paths import Paths
    from ui.pages import Fields

RANGES = {1: "24 hours", 7: "7 days", 30: "30 days", 90: "90 days"}
USUAL = 7
BARS = 48
_DAY_S = 86_400
CHARTS = {
    "cpu": "Processor",
    "memory_used": "Memory in use",
    "swap_used": "Swap in use",
    "disk_used": "Disk in use",
    "home": "Gardener's data",
    "app_memory": "Memory of the app",
    "searches": "Searches in 30 s",
    "search_time": "Time of a search",
    "first_token": "Time to the first token",
    "tokens_per_s": "Tokens written per second",
}


def days_in(fields: Fields) -> int:
    """The time that the form asks for, in days."""
    typed = fields.get("days", "")
    return int(typed) if typed.isdecimal() and int(typed) in RANGES else USUAL


def trends_html(paths: Paths, days: int) -> str:
    """The whole section. Never raises for a samples.db that cannot be read: it says so."""
    try:
        found = trends(paths, days=days, warm_at_once=INDEXES_IN_MEMORY)
    except IntegrityError as error:
        return section("Trends", f"<p>{text(error.message)}</p>", name="trends")
    parts = [_forecasts(found)]
    shown_courses = [course for course in found.courses if course.metric.name in CHARTS]
    if shown_courses:
        parts.append(_form(days))
        parts.append(f'<div class="trends">{"".join(_course(course, found) for course in shown_courses)}</div>')
    else:
        parts.append(
            empty(
                "Nothing was measured yet",
                "<p>The monitor takes a sample every 30 seconds. Keep it running: "
                f"<code>{text(how_to_start_the_monitor())}</code></p>",
            )
        )
    newest = found.newest_at
    if newest is not None:
        parts.insert(0, f'<p class="quiet">The newest sample: {ago(newest)}.</p>')
    return section("Trends", "".join(parts), name="trends")


def _form(days: int) -> str:
    options = "".join(
        f'<option value="{number}"{" selected" if number == days else ""}>{label}</option>'
        for number, label in RANGES.items()
    )
    return (
        '<form data-do="trends" data-address="" class="line filters"><span class="pair"><label for="days">Time</label>'
        f'<select id="days" name="days" data-submits="">{options}</select></span>'
        '<button type="submit" class="act">Show</button></form>'
    )


def _forecasts(found: Trends) -> str:
    lines = [*disk_lines(found.disk), *capacity_lines(found.capacity)]
    said = "".join(
        f'<p class="quiet">{text(line.strip())}</p>' if line.startswith(" ") else f"<p>{text(line)}</p>"
        for line in lines
    )
    lost = f'<p class="quiet">The samples before could not be read: {text(found.lost)}</p>' if found.lost else ""
    return f'<div class="card">{said}{lost}</div>'


def _course(course: Course, found: Trends) -> str:
    unit, title = course.metric.unit, CHARTS[course.metric.name]
    begin, each = found.until - found.days * _DAY_S, found.days * _DAY_S / BARS
    means = _means(course.buckets, lambda at: min(BARS - 1, max(0, int((at - begin) / each))), BARS)
    top = _top(course, found, means)
    bars = "".join(
        '<span class="bar" style="--part:0"></span>'
        if mean is None
        else f'<span class="bar" style="--part:{min(1.0, mean / top):.4f}"></span>'
        for mean in means
    )
    first, last = (time.strftime("%d %b %H:%M", time.localtime(at)) for at in (begin, found.until))
    chart = (
        f'<div class="chart tall" aria-hidden="true"><span class="top">{text(shown(top, unit))}</span>'
        f'<span class="zero">0</span><div class="bars">{bars}</div>'
        f'<div class="axis"><span>{first}</span><span>{last}</span></div></div>'
    )
    now = f'<p class="quiet">{text(course.metric.about)}. Now {text(shown(course.now, unit))}.</p>'
    listed = _table(course, found.days, title)
    listed = f"<details><summary>Table</summary>{listed}</details>"
    return f'<article class="card"><h3>{text(title)}</h3>{now}{chart}{listed}</article>'


def _top(course: Course, found: Trends, means: Sequence[float | None]) -> float:
    """Where the axis ends: at what there is, else at the most that was."""
    known = {one.metric.name: one.now for one in found.courses}
    whole = {
        "memory_used": (known.get("memory_used") or 0) + (known.get("memory_available") or 0),
        "disk_used": known.get("disk_total") or 0,
    }.get(course.metric.name) or ceiling(course.metric.unit)
    return max([whole, *(mean for mean in means if mean is not None)]) or 1.0


def _means(buckets: Sequence[Bucket], place: Callable[[int], int], count: int) -> list[float | None]:
    sums, samples = [0.0] * count, [0] * count
    for bucket in buckets:
        at = place(bucket.at)
        sums[at] += bucket.mean * bucket.samples
        samples[at] += bucket.samples
    return [total / number if number else None for total, number in zip(sums, samples, strict=True)]


def _table(course: Course, days: int, title: str) -> str:
    """By hours for a short time, else by days of this machine's calendar; newest first."""
    form = "%Y-%m-%d %H:00" if days <= FINE_DAYS else "%Y-%m-%d"
    rows: dict[str, list[Bucket]] = {}
    for bucket in course.buckets:
        rows.setdefault(time.strftime(form, time.localtime(bucket.at)), []).append(bucket)
    unit = course.metric.unit
    cells = [
        [
            when,
            *(
                text(shown(value, unit))
                for value in (
                    min(bucket.least for bucket in buckets),
                    sum(bucket.mean * bucket.samples for bucket in buckets) / sum(bucket.samples for bucket in buckets),
                    max(bucket.most for bucket in buckets),
                )
            ),
        ]
        for when, buckets in sorted(rows.items(), reverse=True)
    ]
    return table(["Time", "Least", "Mean", "Most"], cells, caption=f"{title}, newest first", numeric=(1, 2, 3))
