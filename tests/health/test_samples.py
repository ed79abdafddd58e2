"""samples.db: what is measured, kept, rolled up and thinned out, whatever happens to the file and to the clock."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gardener.health import rollups
from gardener.health.home_sizes import home_sizes
from gardener.health.readings import AnswerFigures, AppFigures, pressure_of
from gardener.health.rollups import FIVE_MINUTES, HOUR, KEPT, facts, latest, prune, roll_up, series
from gardener.health.sampler import SIZES_EVERY_S, Sampler
from gardener.health.samples import BY_NAME, NAMES, Sample, Samples
from gardener.paths import Paths

BEGIN = 1_760_000_400
"""On a full hour, in Unix seconds."""
GONE = 99_999_990
"""No system has a process of this number."""


class Clock:
    """Unix time and the monotonic one, which nobody can set."""

    def __init__(self) -> None:
        self.unix, self.moment = float(BEGIN), 1_000.0

    def pass_(self, seconds: float) -> None:
        self.unix += seconds
        self.moment += seconds


@pytest.fixture
def paths(home: Path) -> Paths:
    return Paths(str(home)).ensure()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sampler(paths: Paths, clock: Clock, **more: object) -> Sampler:
    return Sampler(paths, clock=lambda: clock.unix, monotonic=lambda: clock.moment, **more)  # type: ignore[arg-type]


def rows(paths: Paths, what: str = "*") -> list[tuple[float | None, ...]]:
    with closing(sqlite3.connect(paths.samples_db)) as database:
        return database.execute(f"SELECT {what} FROM samples ORDER BY id").fetchall()


def test_a_sample_says_what_the_machine_says_and_leaves_out_what_it_does_not(paths: Paths, clock: Clock) -> None:
    import psutil

    with_app = sampler(paths, clock, app=lambda: AppFigures(os.getpid(), 3, 0.5, 0.25))
    first = with_app.sample().values
    assert first["memory_used"] + first["memory_available"] == psutil.virtual_memory().total
    assert first["disk_total"] == pytest.approx(shutil.disk_usage(paths.home).total)
    assert 0 < first["disk_free"] <= first["disk_total"]
    assert first["app_memory"] > 10_000_000 and first["embedded"] == 0.25
    assert "cpu" not in first and "searches" not in first, "both need a look before"
    assert "answers" not in first and "project_median" not in first
    clock.pass_(30)
    second = with_app.sample().values
    assert 0 <= second["cpu"] <= 100 and second["searches"] == 0 and "search_time" not in second
    assert "home" not in second, "sizes are on a slower clock"
    clock.pass_(SIZES_EVERY_S)
    assert "home" in with_app.sample().values
    assert set(first) | set(second) <= set(BY_NAME)
    assert [row[1] for row in rows(paths)] == [BEGIN, BEGIN + 30, BEGIN + 1830]
    assert rows(paths, "cpu")[0] == (None,), "missing is missing and not 0"
    with_app.close()


def test_it_is_due_by_a_clock_that_nobody_can_set(paths: Paths, clock: Clock) -> None:
    one = sampler(paths, clock)
    assert one.due()
    one.sample()
    assert not one.due() and one.wait_s() == 30
    clock.unix -= 7_200
    clock.moment += 29
    assert not one.due()
    clock.moment += 1
    assert one.due()
    one.close()


def test_searches_and_answers_are_those_since_the_sample_before(paths: Paths, clock: Clock) -> None:
    figures = [
        AppFigures(pid, *counted, None) for pid, *counted in ((GONE, 10, 1.0), (GONE, 14, 1.2), (GONE + 1, 2, 0.1))
    ]
    asked: list[tuple[float, float]] = []

    def answers(since: float, until: float) -> AnswerFigures:
        asked.append((since, until))
        return AnswerFigures(2, 31.5, None)

    one = sampler(paths, clock, app=lambda: figures.pop(0), answers=answers)
    one.sample()
    clock.pass_(30)
    second = one.sample().values
    assert second["searches"] == 4 and second["search_time"] == pytest.approx(50)
    assert second["answers"] == 2 and second["tokens_per_s"] == 31.5 and "first_token" not in second
    assert "app_memory" not in second, "there is no such process"
    clock.pass_(30)
    assert "searches" not in one.sample().values, "another process counts from 0"
    assert asked == [(BEGIN, BEGIN + 30), (BEGIN + 30, BEGIN + 60)]
    one.close()


def test_rates_over_a_gap_and_a_clock_set_back_are_left_out(paths: Paths, clock: Clock) -> None:
    one = sampler(paths, clock, answers=lambda since, until: AnswerFigures(5, 9.0, 8.0))
    one.sample()
    clock.pass_(8 * 3600)  # it slept
    slept = one.sample().values
    assert not {"cpu", "answers", "tokens_per_s"} & set(slept) and "memory_used" in slept
    clock.moment += 30
    clock.unix -= 3600
    assert "answers" not in one.sample().values
    clock.pass_(30)
    assert one.sample().values["answers"] == 5
    assert [row[0] for row in rows(paths, "at")] == [BEGIN, BEGIN + 28800, BEGIN + 25200, BEGIN + 25230]
    one.close()


def test_a_reading_that_fails_costs_only_itself_and_is_said_once(
    paths: Paths, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> AppFigures:
        raise RuntimeError("no")

    one = sampler(paths, clock, app=broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert "memory_used" in one.sample().values
            clock.pass_(30)
    assert [record.message for record in caplog.records] == ["samples.not_read"]
    assert one.problem == ""
    one.close()


def test_rollups_are_the_same_however_often_and_whenever_they_are_made(paths: Paths) -> None:
    """Against figures counted here from the same samples, with a clock that is set back in the middle."""
    chance = random.Random(6)
    times = [BEGIN + 30 * step for step in range(150)] + [BEGIN + 1800 + 30 * step for step in range(60)]
    kept: dict[int, dict[int, list[float]]] = {seconds: {} for seconds in KEPT}
    samples = Samples(paths.samples_db)
    for number, at in enumerate(times):
        value = chance.uniform(0, 100)
        for seconds, buckets in kept.items():
            buckets.setdefault(at // seconds * seconds, []).append(float(f"{value:.7g}"))
        samples.add(Sample(at, {"cpu": value}))
        if number % 7 == 0:
            with samples.write() as connection:
                roll_up(connection)
    with samples.write() as connection:
        roll_up(connection)
    with samples.write() as connection:
        assert roll_up(connection) == 0
    samples.close()
    for seconds, buckets in kept.items():
        found = series(paths.samples_db, "cpu", 0, BEGIN * 2, seconds)
        assert [bucket.at for bucket in found] == sorted(buckets)
        for bucket in found:
            values = buckets[bucket.at]
            assert (bucket.least, bucket.most, bucket.samples) == (min(values), max(values), len(values))
            assert bucket.mean == pytest.approx(sum(values) / len(values), rel=1e-5)
    assert series(paths.samples_db, "swap_used", 0, BEGIN * 2, HOUR) == []


def test_pruning_counts_and_does_not_believe_the_clock(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "KEPT_SAMPLES", 100)
    monkeypatch.setattr(rollups, "KEPT", {FIVE_MINUTES: 1, HOUR: 1})
    samples = Samples(paths.samples_db)
    for number in range(150):
        samples.add(Sample(BEGIN + 30 * number, {"cpu": number}))
    samples.add(Sample(BEGIN + 20 * 365 * 86_400, {"cpu": 1.0}))  # for one moment it was 2045
    with samples.write() as connection:
        roll_up(connection)
        connection.executemany(
            "INSERT INTO rollups VALUES (3600, 'cpu', ?, 0, 0, 0, 1)", [(BEGIN - 3600 * back,) for back in range(1, 40)]
        )
        prune(connection)
    samples.close()
    left = [row[0] for row in rows(paths, "cpu")]
    assert left == [*map(float, range(51, 150)), 1.0]
    assert len(series(paths.samples_db, "cpu", 0, 1e11, HOUR)) == 24
    assert latest(paths.samples_db)["cpu"] == (BEGIN + 20 * 365 * 86_400, 1.0)


def test_the_file_is_private_and_comes_back_when_it_is_deleted(paths: Paths, clock: Clock) -> None:
    before = os.umask(0)
    try:
        one = sampler(paths, clock)
        one.sample()
        modes = {name: stat.S_IMODE(os.stat(os.path.join(paths.home, name)).st_mode) for name in os.listdir(paths.home)}
        assert modes and set(modes.values()) == {0o600}, modes
        for name in os.listdir(paths.home):
            os.unlink(os.path.join(paths.home, name))
        clock.pass_(30)
        one.sample()
        assert one.problem == ""
        one.close()
    finally:
        os.umask(before)
    assert [row[0] for row in rows(paths, "at")] == [BEGIN + 30]


@pytest.mark.parametrize("harm", ["text", "flipped", "foreign", "newer", "empty"])
def test_a_file_that_cannot_be_used_is_put_aside_and_said_once(
    paths: Paths, clock: Clock, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = Path(paths.samples_db)
    one = sampler(paths, clock)
    for _ in range(200):
        one.sample()
        clock.pass_(30)
    one.close()
    match harm:
        case "text":
            file.write_text("these are no samples " * 99)
        case "flipped":
            data = bytearray(file.read_bytes())
            for at in range(4096, len(data)):
                data[at] ^= 0xFF
            file.write_bytes(data)
        case "foreign":
            file.unlink()
            with closing(sqlite3.connect(file)) as database:
                database.execute("CREATE TABLE holidays (day)")
                database.commit()
        case "newer":
            with closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA user_version = 9")
        case "empty":
            file.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        again = sampler(paths, clock)
        for _ in range(3):
            again.sample()
            clock.pass_(30)
        again.close()
    assert again.problem == ""
    assert len(rows(paths)) >= 2
    said = [record.message for record in caplog.records]
    aside = [name for name in os.listdir(paths.home) if ".aside-" in name and not name.endswith(("-wal", "-shm"))]
    if harm == "empty":
        assert said == [] and aside == []
    else:
        assert said.count("samples.begun_anew") == 1 and len(aside) == 1
        assert facts(paths.samples_db)["lost"]


def test_a_full_disk_costs_the_sample_and_is_said_once(
    paths: Paths, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    one = sampler(paths, clock)
    one.sample()
    connection = one._samples._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLITE_FULL, as on a disk without room
    with caplog.at_level(logging.WARNING):
        for _ in range(300):
            clock.pass_(30)
            one.sample()
    assert "disk is full" in one.problem
    assert [record.message for record in caplog.records] == ["samples.not_kept"]
    connection.execute("PRAGMA max_page_count = 1000000")
    clock.pass_(30)
    one.sample()
    assert one.problem == ""
    one.close()


def test_sizes_count_shared_files_once_and_follow_no_link(paths: Paths) -> None:
    for project, kilobytes in (("a" * 12, 8), ("b" * 12, 24), ("c" * 12, 64), ("d" * 12, 200)):
        folder = Path(paths.projects, project, "index")
        folder.mkdir(parents=True)
        (folder / "manifest.db").write_bytes(b"m" * 4096)
        (folder / "chunks").write_bytes(b"x" * 1024 * kilobytes)
    Path(paths.projects, "e" * 12).mkdir()  # added, and without an index yet
    backup = Path(paths.backups, "1")
    backup.mkdir(parents=True)
    os.link(Path(paths.projects, "a" * 12, "index", "chunks"), backup / "chunks")
    (backup / "manifest.json").write_bytes(b"{}")
    os.symlink("/usr", Path(paths.home, "elsewhere"))
    found = home_sizes(paths)
    assert sorted(found.indexed) == ["a" * 12, "b" * 12, "c" * 12, "d" * 12] and len(found.projects) == 5
    assert found.median_project == pytest.approx(1024 * (24 + 64) / 2 + 4096, abs=2048)
    assert found.backups < 8192 < found.projects["a" * 12]
    assert found.total < 500_000
    values = found.as_values()
    assert set(values) <= set(NAMES) and values["projects"] == 5


def test_pressure_is_read_from_the_kernels_text_or_not_at_all() -> None:
    text = "some avg10=1.50 avg60=0.25 avg300=0.10 total=1\nfull avg10=0.00 avg60=9.00 avg300=0.00 total=0\n"
    assert pressure_of(text) == 0.25
    assert pressure_of("") is None and pressure_of("some avg60=oops\n") is None
