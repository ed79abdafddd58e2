"""`health.db`: issues, alerts, maintenance windows and the last round, apart from state.db.

Apart, because this is what has to work when state.db does not. Nothing in it is irreplaceable: a damaged one is put
aside and a new one begun. Each call opens its own connection, so it serves every thread and process.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, get_args

from gardener.errors import NotFoundError, SchemaTooNew, StateDamaged
from gardener.health.check import Check, Finding, fine
from gardener.health.issues import Change, Issue, State, silent
from gardener.paths import ensure_directory, open_private, translate_os_error
from gardener.state_connection import connect

_log = logging.getLogger("gardener.health")

DAMAGED = ".damaged-"
"""Follows the name of a file that was put aside; then comes the time."""
NEWER_AGAIN_S = 86_400.0
"""So soon after the last time, one of a newer schema is the work of a newer version that runs: two must not take turns
in putting it aside."""
APPLICATION_ID = 0x47524E48
"""ASCII "GRNH" in the file's header."""
BUSY_S = 5.0
KEPT_S = 90 * 86_400.0
"""Alerts, and issues that are over, are kept so long."""


def _first(connection: sqlite3.Connection) -> None:
    """Version 1."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("""
        CREATE TABLE issues (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, subject TEXT NOT NULL,
            check_name TEXT NOT NULL, check_subject TEXT NOT NULL,
            severity TEXT NOT NULL CHECK (severity IN ('warning', 'error')),
            detail TEXT NOT NULL, fix TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('pending', 'open', 'resolved')),
            bad INTEGER NOT NULL, good INTEGER NOT NULL, other INTEGER NOT NULL,
            first_seen REAL NOT NULL, last_seen REAL NOT NULL, opened_at REAL NOT NULL, resolved_at REAL NOT NULL,
            told TEXT NOT NULL, reminds INTEGER NOT NULL,
            acknowledged_at REAL NOT NULL, acknowledged TEXT NOT NULL, snoozed_until REAL NOT NULL
        )""")
    connection.execute("CREATE UNIQUE INDEX issues_unresolved ON issues (kind, subject) WHERE state != 'resolved'")
    connection.execute("""
        CREATE TABLE alerts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL, issue INTEGER NOT NULL, change TEXT NOT NULL,
            kind TEXT NOT NULL, subject TEXT NOT NULL, severity TEXT NOT NULL, detail TEXT NOT NULL,
            delivered TEXT NOT NULL DEFAULT '{}'  -- by sink: "" or what went wrong
        )""")
    connection.execute("CREATE INDEX alerts_by_time ON alerts (at)")
    connection.execute("""
        CREATE TABLE maintenance (
            id INTEGER PRIMARY KEY AUTOINCREMENT, begins REAL NOT NULL, ends REAL NOT NULL, reason TEXT NOT NULL
        )""")
    connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first,)
"""Number N (from 1) brings schema N-1 to N. A released one is never edited."""

_COLUMNS = (
    "id", "kind", "subject", "check_name", "check_subject", "severity", "detail", "fix", "state", "bad", "good",
    "other", "first_seen", "last_seen", "opened_at", "resolved_at", "told", "reminds", "acknowledged_at",
    "acknowledged", "snoozed_until", "snoozed_at",
)  # fmt: skip
_ADDED = {"snoozed_at": "REAL NOT NULL DEFAULT 0.0"}
"""Columns of issues that came later. No new schema, as a version before them has only to leave them alone."""


class Alert(NamedTuple):
    """One thing that was told. `delivered` has, by sink, "" or what went wrong; a sink that is not in it is at it."""

    id: int
    at: float
    issue: int
    change: Change
    kind: str
    subject: str
    severity: str
    detail: str
    delivered: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return self._asdict()


class Window(NamedTuple):
    """No alerts between the two Unix times; issues are recorded all the same."""

    id: int
    begins: float
    ends: float
    reason: str

    def as_json(self) -> dict[str, object]:
        return self._asdict()


class HealthDatabase:
    """Raises what State raises, but for damage: then the file is put aside."""

    def __init__(self, path: str, *, begins_anew: bool = False) -> None:
        """With `begins_anew`, for the one process that must not be blind, also one of a newer schema is put aside.

        A flipped bit may say so, or a version that was rolled back has left it.
        """
        self.path = path
        self._newer_from = time.monotonic() if begins_anew else float("inf")
        self._lock = threading.Lock()
        self._ready = False

    def exists(self) -> bool:
        return os.path.exists(self.path)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    # ---- issues --------------------------------------------------------------------------------------

    def unresolved(self, connection: sqlite3.Connection) -> list[Issue]:
        """Pending and open ones, and those that are over and not yet told."""
        rows = connection.execute("SELECT * FROM issues WHERE state != 'resolved' OR told != '' OR reminds ORDER BY id")
        return [_issue(row) for row in rows.fetchall()]

    def open_issues(self) -> list[Issue]:
        """The worst first, then the oldest."""
        if not self.exists():
            return []
        with self.read() as connection:
            rows = connection.execute(
                "SELECT * FROM issues WHERE state = 'open' ORDER BY severity = 'error' DESC, opened_at, id"
            ).fetchall()
            return [_issue(row) for row in rows]

    def issues_since(self, since: float) -> list[Issue]:
        """Those that are open, and those that were over after this Unix time; the newest first."""
        if not self.exists():
            return []
        with self.read() as connection:
            rows = connection.execute(
                "SELECT * FROM issues WHERE state = 'open' OR (state = 'resolved' AND resolved_at >= ?) "
                "ORDER BY opened_at DESC, id DESC LIMIT 1000",
                (since,),
            ).fetchall()
            return [_issue(row) for row in rows]

    def change(self, number: int, edit: Callable[[Issue], Issue]) -> Issue:
        """Edits an open issue. Raises NotFoundError."""
        if self.exists():
            with self.write() as connection:
                row = connection.execute("SELECT * FROM issues WHERE id = ? AND state = 'open'", (number,)).fetchone()
                if row is not None:
                    return self.store(connection, edit(_issue(row)))
        raise NotFoundError(f"There is no open issue {number}.", next_step="gardener health")

    def store(self, connection: sqlite3.Connection, issue: Issue) -> Issue:
        """Inserts or updates; returns it with its number."""
        from dataclasses import replace

        values = {column: getattr(issue, column) for column in _COLUMNS[1:] if not column.startswith("check_")}
        values |= {"check_name": issue.source[0], "check_subject": issue.source[1]}
        if issue.id:
            places = ", ".join(f"{column} = ?" for column in values)
            connection.execute(f"UPDATE issues SET {places} WHERE id = ?", (*values.values(), issue.id))
            return issue
        cursor = connection.execute(
            f"INSERT INTO issues ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
        )
        assert cursor.lastrowid is not None
        return replace(issue, id=cursor.lastrowid)

    # ---- alerts and silence --------------------------------------------------------------------------

    def add_alert(self, connection: sqlite3.Connection, issue: Issue, change: Change, now: float) -> Alert:
        cursor = connection.execute(
            "INSERT INTO alerts (at, issue, change, kind, subject, severity, detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (now, issue.id, change, issue.kind, issue.subject, issue.severity, issue.detail),
        )
        assert cursor.lastrowid is not None
        return Alert(
            cursor.lastrowid, now, issue.id, change, issue.kind, issue.subject, issue.severity, issue.detail, {}
        )

    def delivered(self, alert: int, sink: str, problem: str) -> None:
        """Records how a delivery ended; `problem` is "" when it went well."""
        with self.write() as connection:
            row = connection.execute("SELECT delivered FROM alerts WHERE id = ?", (alert,)).fetchone()
            if row is not None:
                outcome = json.dumps(_loaded(row[0], dict) | {sink: problem})
                connection.execute("UPDATE alerts SET delivered = ? WHERE id = ?", (outcome, alert))

    def alerts(self, limit: int = 200) -> list[Alert]:
        """The newest first."""
        if not self.exists():
            return []
        with self.read() as connection:
            rows = connection.execute("SELECT * FROM alerts ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
            return [_alert(row) for row in rows]

    def windows(self, now: float) -> list[Window]:
        """Maintenance that is under way."""
        if not self.exists():
            return []
        with self.read() as connection:
            return _windows(connection, now)

    def in_maintenance(self, connection: sqlite3.Connection, now: float) -> bool:
        return bool(_windows(connection, now))

    def add_window(self, begins: float, ends: float, reason: str) -> Window:
        with self.write() as connection:
            cursor = connection.execute(
                "INSERT INTO maintenance (begins, ends, reason) VALUES (?, ?, ?)", (begins, ends, reason)
            )
            assert cursor.lastrowid is not None
            return Window(cursor.lastrowid, begins, ends, reason)

    def end_windows(self, now: float) -> int:
        """Ends what is under way. Returns how many."""
        if not self.exists():
            return 0
        with self.write() as connection:
            windows = _windows(connection, now)
            connection.execute("DELETE FROM maintenance WHERE ends > ?", (now,))
            return len(windows)

    # ---- facts ---------------------------------------------------------------------------------------

    def fact(self, key: str) -> Any:
        """What was kept under the key, None without it."""
        if not self.exists():
            return None
        with self.read() as connection:
            return self.fact_in(connection, key)

    def fact_in(self, connection: sqlite3.Connection, key: str) -> Any:
        row = connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return _loaded(row[0], object) if row else None

    def keep(self, connection: sqlite3.Connection, key: str, value: object) -> None:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def prune(self, connection: sqlite3.Connection, now: float) -> None:
        """Forgets what is older than KEPT_S."""
        connection.execute("DELETE FROM alerts WHERE at < ?", (now - KEPT_S,))
        connection.execute("DELETE FROM maintenance WHERE ends < ?", (now - KEPT_S,))
        connection.execute("DELETE FROM issues WHERE state = 'resolved' AND resolved_at < ?", (now - KEPT_S,))

    # ---- the file ------------------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        inode = self._inode()
        try:
            connection = self._open()
        except (StateDamaged, SchemaTooNew, sqlite3.OperationalError) as error:
            if isinstance(error, SchemaTooNew):
                if time.monotonic() < self._newer_from:
                    raise
                self._newer_from = time.monotonic() + NEWER_AGAIN_S
            self._put_aside(error, inode)
            inode = self._inode()
            connection = self._open()
        with closing(connection):
            try:
                yield connection
            except StateDamaged as error:
                self._put_aside(error, inode)  # for the next one; what this one wanted is lost
                raise
            except (sqlite3.OperationalError, sqlite3.IntegrityError, _Unreadable) as error:
                # SQLite has no checksums: of a flipped bit in a row or in the schema it may know nothing.
                self._put_aside(error, inode)
                raise StateDamaged(
                    f"{self.path} is damaged: {error}. It was put aside.", next_step="gardener health"
                ) from error

    def _open(self) -> sqlite3.Connection:
        with self._lock:
            if not (self._ready and os.path.exists(self.path)):
                self._create()
        connection = connect(self.path, BUSY_S)
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(MIGRATIONS):
                raise SchemaTooNew(
                    f"{self.path} was written by a newer Gardener (schema {version}; this one knows "
                    f"{len(MIGRATIONS)}). It is left as it is until a monitor of this version begins a new one.",
                    next_step="gardener monitor --rounds 1",
                )
            if version < len(MIGRATIONS):
                self._migrate(connection)
            if (version < len(MIGRATIONS) or not self._ready) and not connection.makeshift:
                self._add_columns(connection)
        except BaseException:
            connection.close()
            raise
        self._ready = not connection.makeshift
        return connection

    def _create(self) -> None:
        """With mode 0600, whatever the umask; never by opening an existing one, see gardener.state."""
        ensure_directory(os.path.dirname(self.path))
        try:
            os.close(open_private(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW))
        except FileExistsError:
            return
        except OSError as error:
            raise translate_os_error(error, self.path) from error

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
                migration(connection)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _add_columns(self, connection: sqlite3.Connection) -> None:
        def missing() -> list[str]:
            there = {row["name"] for row in connection.execute("PRAGMA table_info(issues)").fetchall()}
            return [name for name in _ADDED if there and name not in there]

        if missing():
            connection.execute("BEGIN IMMEDIATE")
            try:
                for name in missing():  # another process may have been first
                    connection.execute(f"ALTER TABLE issues ADD COLUMN {name} {_ADDED[name]}")
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _put_aside(self, error: Exception, inode: int) -> None:
        """`inode` is that of the file when it was opened: another process may have put it aside since."""
        aside = f"{self.path}{DAMAGED}{time.strftime('%Y%m%d-%H%M%S')}"
        self._ready = False
        if inode and self._inode() != inode:
            return
        _log.error("health.db_damaged", extra={"fields": {"reason": str(error), "aside": aside}})
        try:
            for end in ("", "-journal"):
                if os.path.exists(self.path + end):
                    os.replace(self.path + end, aside + end)
        except OSError as problem:
            raise translate_os_error(problem, self.path) from problem

    def _inode(self) -> int:
        """0 when there is no file."""
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return 0


def asides(path: str) -> list[str]:
    """Files that were put aside, the oldest first, without their journals."""
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name + DAMAGED) + r"[\d-]+")
    found = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(os.path.join(folder, one) for one in found if pattern.fullmatch(one))


def aside_check(path: str) -> Check:
    """Whether the list of issues was begun anew, for as long as what was before lies beside it."""

    def look() -> Finding:
        kept = asides(path)
        if not kept:
            return fine("health.db was never put aside")
        return Finding(
            "health-damaged", "warning",
            f"It was begun anew; older issues, and what you had acknowledged or snoozed, are in {kept[-1]}.",
            "gardener repair health-damaged",
        )  # fmt: skip

    return Check("issues", look)


class _Unreadable(Exception):
    """A row that nobody has written so."""


def _windows(connection: sqlite3.Connection, now: float) -> list[Window]:
    rows = connection.execute("SELECT * FROM maintenance WHERE ends > ? ORDER BY begins", (now,)).fetchall()
    return [window for window in (Window(*row) for row in rows) if silent(window.begins, window.ends, now)]


def _issue(row: sqlite3.Row) -> Issue:
    values = {column: row[column] for column in _COLUMNS if not column.startswith("check_") and column not in _ADDED}
    values["snoozed_at"] = row["snoozed_at"] if "snoozed_at" in row.keys() else 0.0  # noqa: SIM118 - not of its values
    _check(row, "issues", _SEVERITIES, "severity")
    _check(row, "issues", ("", *_SEVERITIES), "told", "acknowledged")
    _check(row, "issues", get_args(State), "state")
    for column in (
        "first_seen",
        "last_seen",
        "opened_at",
        "resolved_at",
        "acknowledged_at",
        "snoozed_until",
        "snoozed_at",
    ):
        if not isinstance(values[column], float):
            raise _Unreadable(f"{column} of row {row['id']} of issues is {row[column]!r:.50}")
    values["reminds"] = bool(values["reminds"])
    return Issue(source=(row["check_name"], row["check_subject"]), **values)


def _alert(row: sqlite3.Row) -> Alert:
    _check(row, "alerts", get_args(Change), "change")
    if not isinstance(row["at"], float):
        raise _Unreadable(f"at of row {row['id']} of alerts is {row['at']!r:.50}")
    return Alert(**(dict(row) | {"delivered": _loaded(row["delivered"], dict)}))


_SEVERITIES = ("warning", "error")


def _check(row: sqlite3.Row, table: str, allowed: Sequence[str], *columns: str) -> None:
    for column in columns:
        if row[column] not in allowed:
            raise _Unreadable(f"{column} of row {row['id']} of {table} is {row[column]!r:.50}")


def _loaded(text: str, kind: type) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, TypeError) as error:
        raise _Unreadable(f"JSON in it cannot be read ({error})") from error
    if not isinstance(found, kind):
        raise _Unreadable(f"{text!r:.50} is not what was written")
    return found
