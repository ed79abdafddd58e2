"""Forecasts: against SciPy's slope, with outliers, gaps, another disk, clocks that jump and days of 25 hours."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from gardener.cli.trends import chart
from gardener.health.forecast import MIN_DAYS, Capacity, capacity, forecast_disk, theil_sen
from gardener.health.rollups import HOUR, Bucket, roll_up
from gardener.health.samples import BY_NAME, Sample, Samples
from gardener.health.trend_text import capacity_lines, disk_lines, shown
from gardener.health.trends import Course, by_day, disk_forecast, trends
from gardener.paths import Paths
from tests.cli.conftest import Gardener
from tests.cli.conftest import gardener as gardener

GB = 1e9
MONDAY = date(2026, 3, 2)


def days(free: list[float], *, gaps: tuple[int, ...] = ()) -> list[tuple[date, float]]:
    return [(MONDAY + timedelta(days=n), value) for n, value in enumerate(free) if n not in gaps]


@given(
    st.lists(st.floats(0, 1e12), min_size=2, max_size=40).flatmap(
        lambda values: st.tuples(
            st.just(values), st.lists(st.integers(1, 9), min_size=len(values), max_size=len(values))
        )
    )
)
def test_the_slope_is_that_of_scipy(drawn: tuple[list[float], list[int]]) -> None:
    values, steps = drawn
    place, points = 0, []
    for step, value in zip(steps, values, strict=True):
        place += step
        points.append((place, value))
    found = theil_sen(points)
    expected = theilslopes(values, [place for place, _ in points], alpha=0.90)
    assert found.per_day == pytest.approx(expected.slope, rel=1e-9, abs=1e-3)
    assert found.low <= found.per_day <= found.high
    if len(set(values)) == len(values):  # SciPy narrows the interval for ties, which bytes hardly have
        assert found.low == pytest.approx(expected.low_slope, rel=1e-9, abs=1e-3)
        assert found.high == pytest.approx(expected.high_slope, rel=1e-9, abs=1e-3)


def test_a_disk_that_fills_gets_a_date_that_a_film_does_not_move() -> None:
    chance = random.Random(4)
    free = [100 * GB - 2 * GB * n + chance.uniform(-0.3, 0.3) * GB for n in range(20)]
    free[7] -= 40 * GB  # copied onto the disk, and away again
    found = forecast_disk(days(free, gaps=(3, 11, 12)))
    assert found.verdict == "full" and found.days == 17
    assert found.slope is not None and found.slope.per_day == pytest.approx(-2 * GB, rel=0.05)
    assert found.on is not None and found.early is not None and found.late is not None
    assert abs((found.on - (MONDAY + timedelta(days=50))).days) <= 2
    assert found.early <= found.on <= found.late
    said = disk_lines(found)
    assert said[0].startswith(f"Disk: full on about {found.on} (90 %: between {found.early} and {found.late})")
    assert "Theil-Sen" in said[1]


@pytest.mark.parametrize(
    "free",
    [
        [100 * GB] * 20,
        [100 * GB + GB * n for n in range(20)],
        [100 * GB + random.Random(n).uniform(-5, 5) * GB for n in range(20)],
    ],
    ids=["flat", "getting emptier", "noise"],
)
def test_a_disk_that_does_not_fill_gets_no_date(free: list[float]) -> None:
    found = forecast_disk(days(free))
    assert found.verdict == "no trend" and found.on is None and found.early is None and found.late is None
    assert "no date" in disk_lines(found)[0]


def test_too_little_history_and_far_dates_are_said_to_be_that() -> None:
    few = forecast_disk(days([100 * GB - n * GB for n in range(MIN_DAYS - 1)]))
    assert (few.verdict, few.days, few.slope) == ("too little history", 6, None)
    assert "6 of 7 days" in disk_lines(few)[0]
    assert forecast_disk([]).days == 0
    enough = forecast_disk(days([100 * GB - n * GB for n in range(MIN_DAYS)]))
    assert enough.verdict == "full" and enough.on == MONDAY + timedelta(days=100)
    slow = forecast_disk(days([100 * GB - n * 0.01 * GB for n in range(30)]))
    assert slow.verdict == "not within five years" and slow.on is None
    json = few.as_json()
    assert json["full_on"] is None and json["per_day_bytes"] is None and json["days_needed"] == 7


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_days_are_those_of_the_calendar_when_the_clocks_go_forward(berlin: None) -> None:
    midnight = int(time.mktime((2026, 3, 28, 0, 0, 0, 0, 0, -1)))
    hours = [Bucket(midnight + 3600 * hour, 0, float(hour), 0, 120) for hour in range(24 + 23 + 24)]
    found = by_day(hours)
    assert [day for day, _ in found] == [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30)]
    assert [value for _, value in found] == [11.5, 35.0, 58.5], "the middle day has 23 hours"


def keep(paths: Paths, samples: list[Sample]) -> None:
    store = Samples(paths.ensure().samples_db)
    with store.write() as connection:
        for sample in samples:
            names = ", ".join(["at", *sample.values])
            places = ", ".join("?" * (1 + len(sample.values)))
            connection.execute(f"INSERT INTO samples ({names}) VALUES ({places})", (sample.at, *sample.values.values()))
        roll_up(connection)
    store.close()


def filling(now: float, days_back: int, total: float = 500 * GB, gb_a_day: float = 2.0) -> list[Sample]:
    """A sample an hour of a disk that fills."""
    return [
        Sample(
            round(now - hour * 3600),
            {"disk_total": total, "disk_free": 60 * GB + gb_a_day * GB * hour / 24, "cpu": 40.0, "home": 1e8 - hour},
        )
        for hour in range(days_back * 24, -1, -1)
    ]


def test_samples_of_an_exchanged_disk_and_of_the_future_do_not_count(home: Path) -> None:
    now = time.time()
    paths = Paths(str(home))
    later = [Sample(round(now + 40 * 86_400 + n * 3600), {"disk_total": 500 * GB, "disk_free": 1.0}) for n in range(48)]
    keep(paths, [*filling(now - 12 * 86_400, 20, total=250 * GB, gb_a_day=9.0), *filling(now, 11), *later])
    found = disk_forecast(paths, now)
    assert found.days == 12 and found.slope is not None
    assert found.slope.per_day == pytest.approx(-2 * GB, rel=0.02)
    assert found.on is not None and abs((found.on - date.fromtimestamp(now)).days - 30) <= 1


def test_courses_are_over_the_time_asked_for(home: Path) -> None:
    now = time.time()
    paths = Paths(str(home))
    keep(paths, filling(now, 10))
    week = trends(paths, days=7, warm_at_once=4, now=now)
    by_name = {course.metric.name: course for course in week.courses}
    assert sorted(by_name) == ["cpu", "disk_free", "disk_total", "home"], "what was never measured has no course"
    free = by_name["disk_free"]
    assert free.now == 60 * GB and free.least == 60 * GB
    assert free.most == pytest.approx(74 * GB, rel=0.01) and free.mean == pytest.approx(67 * GB, rel=0.01)
    assert week.home_per_day is not None and week.home_per_day.per_day == pytest.approx(24, abs=1.5)
    day = trends(paths, days=1, warm_at_once=4, now=now)
    assert len({c.metric.name: c for c in day.courses}["cpu"].buckets) in (24, 25)
    empty = trends(Paths(str(home / "none")), days=7, warm_at_once=4, now=now)
    assert empty.courses == () and empty.begun_at is None and empty.disk.days == 0 and empty.capacity.more is None


def test_capacity_is_counted_with_the_median_and_what_everybody_shares() -> None:
    found = capacity(
        project_bytes=[0.1 * GB, 0.3 * GB, 4 * GB],
        vector_store_bytes=0.6 * GB,
        chunks=[1_000, 30_000, 400_000],
        disk_free=30 * GB,
        disk_total=100 * GB,
        memory_available=0.15 * GB,
        warm_at_once=4,
    )
    assert found.room == 25 * GB and found.per_project == pytest.approx(0.5 * GB) and found.more == 50
    assert found.per_warm_index == 60e6 and found.warm_that_fit == 2
    said = "\n".join(capacity_lines(found))
    assert "about 50 more fit" in said and "2 of the 4" in said and "median size of 3 indexed projects" in said
    full = capacity(
        project_bytes=[1e9], vector_store_bytes=0, chunks=[], disk_free=1e9, disk_total=1e12, memory_available=None,
        warm_at_once=4,
    )  # fmt: skip
    assert full.more == 0 and full.warm_that_fit is None
    none = Capacity(None, 0, None, 1e9, 4, None, None, None)
    assert "not known before one is indexed" in capacity_lines(none)[0]


def test_a_chart_begins_at_0_and_leaves_gaps() -> None:
    buckets = tuple(Bucket(at, 0, value, 0, 1) for at, value in ((0, 0.0), (86_400 - 3600, 8.0), (43_200, 4.0)))
    course = Course(BY_NAME["answers"], 1, 1, 0, 1, 8, buckets, HOUR)
    assert chart(course, 86_400, 1, 24) == "▁" + " " * 11 + "▅" + " " * 10 + "█"
    assert chart(course._replace(buckets=()), 86_400, 1, 5) == "     "
    half = Course(BY_NAME["cpu"], 1, 1, 0, 1, 8, (Bucket(0, 0, 50.0, 0, 1),), HOUR)
    assert chart(half, 86_400, 1, 1) == "▅", "a percentage is drawn against 100"


def test_values_are_shown_with_their_unit_and_missing_ones_as_missing() -> None:
    assert (shown(None, "bytes"), shown(0.0, "count"), shown(0.125, "ratio")) == ("-", "0", "12 %")
    assert (shown(12_000, "milliseconds"), shown(31.25, "tokens/s")) == ("12.0 s", "31.2 /s")


def test_the_command_says_what_there_is_and_what_is_missing(gardener: Gardener, home: Path) -> None:
    said = gardener("health", "trends")
    assert said.code == 0
    assert "0 of 7 days" in said.out and "No samples yet" in said.err
    keep(Paths(str(home)), filling(time.time() - 3600, 20))
    said = gardener("health", "trends")
    assert "full on about" in said.out and "60.0 GB" in said.out
    assert "old: does the monitor run?" in said.err
    told = gardener("health", "trends", "--days", "30", "--json").json
    assert told["disk"]["verdict"] == "full" and told["disk"]["days"] >= 20
    assert {metric["name"] for metric in told["metrics"]} == {"cpu", "disk_free", "disk_total", "home"}
    assert gardener("health", "trends", "--days", "0").code == 2
    (home / "samples.db").write_bytes(b"no database" * 500)
    broken = gardener("health", "trends")
    assert broken.code == 8 and "measurements only" in broken.err
