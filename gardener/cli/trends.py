"""`gardener health trends`: the course of what was measured, when the disk will be full, how many projects fit."""

from __future__ import annotations

from gardener.cli.console import Console, duration
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.health.trends import Course, Trends

LONGEST_DAYS = 400
_BARS = "▁▂▃▄▅▆▇█"
_NARROW = 76
"""Columns below which a chart stands in a line of its own."""
_NAME_WIDTH = 22
_STALE_S = 300.0


def trends(args: argparse.Namespace, console: Console) -> int:
    from gardener.app import INDEXES_IN_MEMORY
    from gardener.backup.whole import whole
    from gardener.health.trend_text import capacity_lines, disk_lines, signed_size
    from gardener.health.trends import trends as read_trends
    from gardener.paths import Paths
    from gardener.service.manager import how_to_start_the_monitor

    if not 1 <= args.days <= LONGEST_DAYS:
        raise UsageError(
            f"--days is between 1 and {LONGEST_DAYS}, not {args.days}.", next_step="gardener health trends --days 30"
        )
    found = read_trends(whole(Paths(console.home)), days=args.days, warm_at_once=INDEXES_IN_MEMORY)
    if console.as_json:
        console.json(found.as_json())
        return 0
    if found.courses:
        _show_courses(console, found)
        console.line()
    else:
        console.note(f"No samples yet: the monitor takes one every 30 seconds: {how_to_start_the_monitor()}")
    if found.lost:
        console.note(f"The samples before could not be read ({found.lost}); they were put aside.")
    for line in disk_lines(found.disk):
        console.line(line)
    for line in capacity_lines(found.capacity):
        console.line(line)
    if found.home_per_day is not None:
        console.line(f"Gardener's own data changes by {signed_size(found.home_per_day.per_day)} a day.")
    return 0


def _show_courses(console: Console, found: Trends) -> None:
    import shutil

    from gardener.health.trend_text import shown

    columns = shutil.get_terminal_size().columns if console.stdout.isatty() else 0
    width = columns - _NAME_WIDTH - 4 * 11 - 2
    narrow = bool(columns) and columns < _NARROW
    head = f"{'':<{_NAME_WIDTH}}{'now':>11}{'least':>11}{'mean':>11}{'most':>11}"
    if narrow:
        head = f"{'':<{_NAME_WIDTH}}{'now':>11}{'most':>11}"
        width = columns - 4
    console.line(console.bold(head))
    for course in found.courses:
        name = course.metric.name.replace("_", " ")
        cells = [course.now, course.most] if narrow else [course.now, course.least, course.mean, course.most]
        line = f"{name:<{_NAME_WIDTH}}" + "".join(f"{shown(cell, course.metric.unit):>11}" for cell in cells)
        bars = chart(course, found.until, found.days, min(width, 60)) if columns and width >= 8 else ""
        if narrow and bars:
            console.line(line)
            console.line(console.dim("  " + bars))
        else:
            console.line((line + "  " + console.dim(bars)).rstrip())
    newest = found.newest_at
    if newest is not None and found.until - newest > _STALE_S:
        console.note(f"The newest sample is {duration(found.until - newest)} old: does the monitor run?")
    if columns:
        console.line(console.dim(f"Charts: the last {found.days} days, from 0 up; a gap is a time without samples."))


def chart(course: Course, until: float, days: int, width: int) -> str:
    """The course as a line of `width` blocks, oldest first, from 0 to the most that can be or was.

    Blank where nothing was measured.
    """
    from gardener.health.trend_text import ceiling

    begin, each = until - days * 86_400, days * 86_400 / width
    columns: list[list[float]] = [[] for _ in range(width)]
    for bucket in course.buckets:
        columns[min(width - 1, max(0, int((bucket.at - begin) / each)))].append(bucket.mean)
    means = [sum(values) / len(values) if values else None for values in columns]
    top = ceiling(course.metric.unit) or max((mean for mean in means if mean is not None), default=0.0)
    return "".join(
        " " if mean is None else _BARS[min(7, int(8 * mean / top))] if top > 0 else _BARS[0] for mean in means
    )
