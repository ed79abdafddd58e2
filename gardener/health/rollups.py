"""Rollups of the samples: least, mean, most and number of those of 5 minutes and of an hour, kept longer than they.

A bucket is always made from all of its samples, never added to: so a second run changes nothing, and a clock that is
set back only has the buckets made again that new samples fall into. Buckets begin at multiples of their length in Unix
time, which knows no daylight saving.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from gardener.health.samples import INTERVAL_S, KEPT_DAYS, NAMES, compact, reading

FIVE_MINUTES, HOUR = 300, 3_600
KEPT: dict[int, int] = {FIVE_MINUTES: 60, HOUR: 400}
"""Days for which the rollups of so many seconds are kept."""
_DAY = 86_400
_A_DAY_OF_SAMPLES = _DAY // int(INTERVAL_S)
KEPT_SAMPLES = KEPT_DAYS * _A_DAY_OF_SAMPLES
_ROLLED = "rolled_id"


class Bucket(NamedTuple):
    """The values of one metric from `at` (Unix seconds) on, for the bucket's length."""

    at: int
    least: float
    mean: float
    most: float
    samples: int


def roll_up(connection: sqlite3.Connection) -> int:
    """Makes the buckets that samples have come into since the last time; returns how many. Inside a transaction."""
    found = connection.execute("SELECT value FROM facts WHERE key = ?", (_ROLLED,)).fetchone()
    since = int(found[0]) if found else 0
    (newest,) = connection.execute("SELECT max(id) FROM samples").fetchone()
    if newest is None or newest <= since:
        return 0
    made = 0
    for seconds in KEPT:
        touched = connection.execute(
            "SELECT DISTINCT at / ? * ? FROM samples WHERE id > ?", (seconds, seconds, since)
        ).fetchall()
        for (begin,) in touched:
            made += _bucket(connection, seconds, begin)
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_ROLLED, str(newest)))
    return made


def _bucket(connection: sqlite3.Connection, seconds: int, begin: int) -> int:
    figures = ", ".join(f"min({name}), avg({name}), max({name}), count({name})" for name in NAMES)
    row = connection.execute(
        f"SELECT {figures} FROM samples WHERE at >= ? AND at < ?", (begin, begin + seconds)
    ).fetchone()
    made = [
        (seconds, name, begin, least, compact(mean), most, count)
        for name, (least, mean, most, count) in zip(NAMES, zip(*[iter(row)] * 4, strict=True), strict=True)
        if count
    ]
    connection.executemany("INSERT OR REPLACE INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?)", made)
    return len(made)


def prune(connection: sqlite3.Connection) -> None:
    """Deletes what is more than was to be kept. Inside a transaction.

    It counts and looks at no clock: one that is years ahead or behind for a minute would otherwise empty the file.
    A machine that sleeps has fewer samples a day, and its samples reach back further.
    """
    connection.execute("DELETE FROM samples WHERE id <= (SELECT max(id) FROM samples) - ?", (KEPT_SAMPLES,))
    for seconds, days in KEPT.items():
        for name in NAMES:
            connection.execute(
                "DELETE FROM rollups WHERE seconds = ?1 AND metric = ?2 AND at <= "
                "(SELECT at FROM rollups WHERE seconds = ?1 AND metric = ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3)",
                (seconds, name, days * _DAY // seconds),
            )


def latest(path: str) -> dict[str, tuple[int, float]]:
    """The newest value of each metric with its Unix time, among a day's samples: sizes are read more seldom.

    Empty without samples. Raises IntegrityError when the file cannot be read.
    """
    found: dict[str, tuple[int, float]] = {}
    with reading(path) as database:
        if database is None:
            return {}
        known = {row[1] for row in database.execute("PRAGMA table_info(samples)")}
        (newest,) = database.execute("SELECT coalesce(max(id), 0) FROM samples").fetchone()
        for name in NAMES:
            if name in known:
                row = database.execute(
                    f"SELECT at, {name} FROM samples WHERE {name} IS NOT NULL AND id > ? ORDER BY id DESC LIMIT 1",
                    (newest - _A_DAY_OF_SAMPLES,),
                ).fetchone()
                if row is not None:
                    found[name] = (row[0], row[1])
    return found


def series(path: str, metric: str, since: float, until: float, seconds: int) -> list[Bucket]:
    """A metric's buckets of `seconds` (FIVE_MINUTES or HOUR) that begin in [since, until), in their order.

    Times without samples have no bucket. Raises IntegrityError when the file cannot be read.
    """
    with reading(path) as database:
        if database is None:
            return []
        rows = database.execute(
            "SELECT at, least, mean, most, count FROM rollups WHERE seconds = ? AND metric = ? AND at >= ? AND at < ? "
            "ORDER BY at",
            (seconds, metric, since, until),
        ).fetchall()
    return [Bucket(*row) for row in rows]


def facts(path: str) -> dict[str, str]:
    """begun_at (Unix seconds), and `lost`: why the file before it could not be used. Empty without a file."""
    with reading(path) as database:
        return {} if database is None else dict(database.execute("SELECT key, value FROM facts").fetchall())
