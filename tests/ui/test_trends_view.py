"""Trends on the Health page: charts from 0, a table beside each, and what to do when there is nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

from gardener.health.rollups import roll_up
from gardener.health.samples import Samples
from gardener.paths import Paths
from gardener.service.manager import how_to_start_the_monitor
from ui.markup import text
from ui.trends_view import CHARTS, RANGES, USUAL, days_in, trends_html


def fill(home: Path, days: int) -> Paths:
    paths = Paths(str(home)).ensure()
    samples = Samples(paths.samples_db)
    now = round(time.time())
    with samples.write() as connection:
        connection.executemany(
            "INSERT INTO samples (at, cpu, disk_total, disk_used, disk_free, swap_used, first_token) "
            "VALUES (?, ?, 1e11, 4e10, 6e10, 0, ?)",
            [(now - 1800 * step, 25.0 + step % 50, 800.0 if step % 2 else None) for step in range(days * 48)],
        )
        roll_up(connection)
    samples.close()
    return paths


def test_every_chart_begins_at_0_and_has_a_table(home: Path) -> None:
    shown = trends_html(fill(home, 10), 7)
    titles = re.findall(r"<h3>(.*?)</h3>", shown)
    assert titles == ["Processor", "Swap in use", "Disk in use", "Time to the first token"]
    assert shown.count('<span class="zero">0</span>') == shown.count("<table") == len(titles)
    assert all(f"<caption>{title}, newest first</caption>" in shown for title in titles)
    parts = [float(part) for part in re.findall(r"--part:([\d.]+)", shown)]
    assert len(parts) == 48 * len(titles) and all(0 <= part <= 1 for part in parts)
    disk = shown.split("<h3>Disk in use</h3>")[1]
    assert '<span class="top">100.0 GB</span>' in disk and "--part:0.4000" in disk, "against the whole disk"
    assert '<span class="top">100 %</span>' in shown
    assert re.findall(r'<option value="(\d+)" selected>', shown) == ["7"]
    assert "no date" in shown and "Method: Theil-Sen" in shown
    days = re.findall(r'<th scope="row">(\d{4}-\d\d-\d\d)</th>', disk.split("</article>")[0])
    assert days == sorted(days, reverse=True) and len(days) in (7, 8)


def test_with_nothing_measured_it_says_what_to_do(home: Path) -> None:
    shown = trends_html(Paths(str(home)), 7)
    assert "Nothing was measured yet" in shown and text(how_to_start_the_monitor()) in shown
    assert "0 of 7 days" in shown and "chart" not in shown
    home.mkdir()
    (home / "samples.db").write_bytes(b"<script>" * 900)
    broken = trends_html(Paths(str(home)), 7)
    assert "cannot be read" in broken and "<script>" not in broken


def test_the_time_is_one_of_those_offered() -> None:
    assert [days_in({"days": str(days)}) for days in RANGES] == list(RANGES)
    assert {days_in(fields) for fields in ({}, {"days": "9"}, {"days": "-1"}, {"days": "<x>"}, {"days": "٣"})} == {
        USUAL
    }
    assert set(CHARTS) >= {"cpu", "memory_used", "disk_used"}
