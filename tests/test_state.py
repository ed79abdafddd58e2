"""state.db with real files and processes: migrations, damage, a full disk, several writers, kill -9."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import gardener.state as state_module
from gardener.errors import (
    DiskFull,
    GardenerError,
    LockedError,
    PermissionProblem,
    SchemaTooNew,
    StateDamaged,
)
from gardener.state import State, record_event
from gardener.state_connection import StateConnection, translate_sqlite_error
from gardener.state_schema import APPLICATION_ID, MIGRATIONS

WRITE_FOR_EVER = """
import sys
from gardener.state import State, record_event
with State(sys.argv[1]) as state:
    for number in range(int(sys.argv[2])):
        with state.write() as connection:
            record_event(connection, "test", None, number=number)
        print(number, flush=True)
"""

FILL = """
import resource, sys
from gardener.errors import DiskFull
from gardener.state import State, record_event
with State(sys.argv[1]) as state:
    with state.write() as connection:
        record_event(connection, "before", None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for _ in range(100):
            with state.write() as connection:
                record_event(connection, "big", None, text="x" * 50_000)
    except DiskFull as error:
        print("refused:", error.message)
    kept = state.read().execute("SELECT count(*) FROM events WHERE kind = 'before'").fetchone()[0]
    print("still read:", kept)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "home" / "state.db")


def events(state: State) -> list[str]:
    return [row["kind"] for row in state.read().execute("SELECT kind FROM events ORDER BY id")]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)


def test_what_was_written_is_there_after_reopening(path: str) -> None:
    with State(path) as state, state.write() as connection:
        record_event(connection, "kind", None, count=3, name="it's")
    with State(path) as state:
        row = state.read().execute("SELECT kind, data FROM events").fetchone()
        assert (row["kind"], row["data"]) == ("kind", '{"count":3,"name":"it\'s"}')
        assert state.check() == []


def test_an_exception_rolls_everything_back(path: str) -> None:
    with State(path) as state:
        with pytest.raises(KeyboardInterrupt), state.write() as connection:
            record_event(connection, "lost", None)
            raise KeyboardInterrupt
        assert events(state) == []
        with state.write() as connection:  # and the connection is usable
            record_event(connection, "kept", None)
        assert events(state) == ["kept"]


def test_a_restored_file_takes_the_place_of_the_one_that_is_open(path: str) -> None:
    """The monitor is not ended by a restore; it told of what was in the old file, which had no name any more."""
    with State(path + ".backup") as backup, backup.write() as connection:
        record_event(connection, "restored", None)
    with State(path) as state:
        with state.write() as connection:
            record_event(connection, "lost", None)
            for end in ("", "-wal", "-shm"):
                os.rename(path + end, path + end + ".before")
            os.rename(path + ".backup", path)
            record_event(connection, "in the same transaction", None)
        assert [row["kind"] for row in state.read().execute("SELECT kind FROM events")] == ["restored"]
        with state.write() as connection:
            record_event(connection, "after", None)
    with State(path) as state:
        assert [row["kind"] for row in state.read().execute("SELECT kind FROM events")] == ["restored", "after"]


def test_a_write_inside_a_write_is_refused(path: str) -> None:
    with State(path) as state, state.write() as connection:
        record_event(connection, "outer", None)
        with pytest.raises(RuntimeError), state.write():
            pass


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_every_file_is_private_whatever_the_umask(path: str, umask: int) -> None:
    Path(path).parent.mkdir(mode=0o700)
    old = os.umask(umask)
    try:
        with State(path) as state, state.write() as connection:
            record_event(connection, "x", None)
            modes = {file.name: file.stat().st_mode & 0o777 for file in Path(path).parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_loose_modes_are_tightened(path: str) -> None:
    State(path).close()
    os.chmod(path, 0o644)
    with State(path):
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(path + "-wal").st_mode & 0o777 == 0o600


def test_commits_are_durable_and_deletions_thorough(path: str) -> None:
    with State(path) as state:
        pragmas = {
            name: state.read().execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


# ---- Threads and processes ----------------------------------------------------------------------------


def test_threads_have_their_own_connections_and_lose_no_write(path: str) -> None:
    with State(path) as state:

        def work() -> None:
            for _ in range(20):
                with state.write() as connection:
                    record_event(connection, "thread", None)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(events(state)) == 80
        del threads, thread
        gc.collect()
        # The connections of the threads that have ended are closed: only this thread's is left.
        assert len(state._connections) == 1


def test_a_snapshot_does_not_see_what_others_commit_meanwhile(path: str) -> None:
    with State(path) as state, State(path) as other:
        with state.snapshot() as connection:
            before = connection.execute("SELECT count(*) FROM events").fetchone()[0]
            with other.write() as writing:
                record_event(writing, "x", None)
            with state.snapshot() as inner:
                assert inner.execute("SELECT count(*) FROM events").fetchone()[0] == before
        assert events(state) == ["x"]


def test_a_busy_database_is_named_and_never_raw(path: str) -> None:
    with State(path) as holder, State(path, busy_timeout_s=0.05) as state:
        with holder.write() as connection:
            record_event(connection, "x", None)
            with pytest.raises(LockedError, match=r"state\.db is busy: another") as caught, state.write():
                pass
            assert caught.value.exit_code == 7 and caught.value.next_step
            assert events(state) == []  # reading goes on
        with state.write() as connection:
            record_event(connection, "y", None)


def test_many_processes_create_and_write_without_loss(path: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, path, "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    # All are waited for before anything is asserted: an unread pipe would be another test's error.
    ended = [(writer.communicate()[1], writer.returncode) for writer in writers]
    assert ended == [(b"", 0)] * 4
    with State(path) as state:
        assert len(events(state)) == 120
        assert state.check() == []


def test_a_schema_that_another_process_finishes_meanwhile_is_no_damage(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(path).parent.mkdir()
    with closing(sqlite3.connect(path)) as empty:
        empty.execute("PRAGMA journal_mode = WAL")  # in which a reader keeps no writer waiting
    others: list[State] = []
    connect = state_module.connect

    def watched(*arguments: Any) -> StateConnection:
        connection = connect(*arguments)

        def on_statement(statement: str) -> None:
            if statement == "PRAGMA application_id" and not others:
                monkeypatch.undo()
                others.append(State(path))

        connection.set_trace_callback(on_statement)
        return connection

    monkeypatch.setattr(state_module, "connect", watched)
    with State(path) as state:
        assert events(state) == []
    assert len(others) == 1
    others[0].close()


def test_a_database_that_another_process_is_just_creating_is_waited_for(path: str) -> None:
    Path(path).parent.mkdir()
    creator = sqlite3.connect(path, isolation_level=None)  # not in WAL mode yet
    creator.execute("BEGIN IMMEDIATE")
    opened: list[str] = []
    opening = threading.Thread(target=lambda: opened.extend(events(State(path))) or opened.append("opened"))
    opening.start()
    opening.join(0.3)
    assert opening.is_alive()
    creator.execute("ROLLBACK")
    creator.close()
    opening.join()
    assert opened == ["opened"]


def test_nothing_acknowledged_is_lost_by_kill_9(path: str) -> None:
    for _ in range(5):
        with State(path) as state:
            before = len(events(state))
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, path, "100000"], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(7):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        acknowledged = 7 + writer.communicate()[0].count("\n")
        with State(path) as state:
            assert len(events(state)) - before in (acknowledged, acknowledged + 1)
            assert state.check() == []


def test_a_forked_child_opens_its_own_connection(path: str) -> None:
    script = """
import os, sys
from gardener.state import State, record_event
state = State(sys.argv[1])
mine = state.read()
if os.fork() == 0:
    assert state.read() is not mine
    with state.write() as connection:
        record_event(connection, "child", None)
    state.close()
    os._exit(0)
assert os.wait()[1] == 0
assert state.read() is mine
with state.write() as connection:
    record_event(connection, "parent", None)
state.close()
"""
    run(script, path)
    with State(path) as state:
        assert events(state) == ["child", "parent"]
        assert state.check() == []


def test_a_closed_state_refuses(path: str) -> None:
    state = State(path)
    state.close()
    state.close()
    with pytest.raises(RuntimeError):
        state.read()


# ---- Damage -------------------------------------------------------------------------------------------


def assert_damaged(path: str, wanted: str = "") -> None:
    before = Path(path).read_bytes()
    with pytest.raises(StateDamaged, match=r"state\.db is damaged") as caught, State(path) as state:
        events(state)
        for table in ("projects", "conversations", "messages"):
            state.read().execute(f"SELECT * FROM {table}").fetchall()
        raise AssertionError("the damage was not noticed")
    assert path in caught.value.message and wanted in caught.value.message
    assert (caught.value.exit_code, caught.value.next_step) == (8, "gardener runbook state-damaged")
    assert Path(path).read_bytes() == before  # never deleted, never changed


def fill(path: str, count: int = 200) -> None:
    with State(path) as state, state.write() as connection:
        for number in range(count):
            record_event(connection, "filler", None, text="y" * 200, number=number)


def test_a_file_that_is_no_database(path: str) -> None:
    State(path).close()
    Path(path).write_bytes(b"not a database, but long enough to be looked at\n" * 200)
    assert_damaged(path)


@pytest.mark.parametrize("left", [50, 4096, 20000])
def test_a_truncated_database(path: str, left: int) -> None:
    fill(path)
    with open(path, "r+b") as handle:
        handle.truncate(left)
    assert_damaged(path)


def test_an_emptied_database_is_not_taken_for_a_new_one(path: str) -> None:
    fill(path)
    (Path(path).parent / "projects" / "0123456789ab").mkdir(parents=True)
    os.truncate(path, 0)
    assert_damaged(path, "it is empty")


def test_an_empty_file_without_projects_is_a_first_start(path: str) -> None:
    Path(path).parent.mkdir()
    Path(path).touch()
    with State(path) as state:
        assert events(state) == []


def test_flipped_bits_in_the_pages(path: str) -> None:
    fill(path)
    data = bytearray(Path(path).read_bytes())
    # Every page header after the first, so that whatever is read is hit.
    for page in range(4096, len(data), 4096):
        for position in range(page, page + 8):
            data[position] ^= 0xFF
    Path(path).write_bytes(bytes(data))
    assert_damaged(path)


def test_check_reports_damage_that_opening_does_not_meet(path: str) -> None:
    fill(path, 2000)
    data = bytearray(Path(path).read_bytes())
    page = len(data) // 4096 // 2 * 4096
    data[page : page + 8] = bytes(byte ^ 0xFF for byte in data[page : page + 8])
    Path(path).write_bytes(bytes(data))
    with State(path) as state:
        assert state.check() != []


def test_somebody_elses_database_is_left_alone(path: str) -> None:
    Path(path).parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert_damaged(path, "not one of Gardener's")


def test_a_damaged_version_number(path: str) -> None:
    State(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1000000")
    connection.close()
    assert_damaged(path)


# ---- Migrations ---------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused_and_untouched(path: str) -> None:
    State(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = Path(path).read_bytes()
    with pytest.raises(SchemaTooNew, match="newer Gardener") as caught:
        State(path)
    assert caught.value.exit_code == 8 and "upgrade" in caught.value.next_step and path in caught.value.message
    assert Path(path).read_bytes() == before


def test_migrating_keeps_the_old_file_beside_the_new(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 3)

    def add_colour(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE events ADD COLUMN colour TEXT")

    version = len(MIGRATIONS)
    monkeypatch.setattr(state_module, "MIGRATIONS", [*MIGRATIONS, add_colour])
    with State(path) as state:
        assert "colour" in state.read().execute("SELECT * FROM events").fetchone().keys()  # noqa: SIM118
        assert state.old_copies() == [f"{path}.before-{version}"]
    copy = Path(f"{path}.before-{version}")
    assert copy.stat().st_mode & 0o777 == 0o600
    old = sqlite3.connect(copy)
    assert old.execute("PRAGMA user_version").fetchone()[0] == version
    assert old.execute("SELECT count(*) FROM events").fetchone()[0] == 3
    old.close()
    assert sorted(os.listdir(Path(path).parent)) == ["logs", "state.db", f"state.db.before-{version}"]


def test_a_migration_that_fails_changes_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path, 3)

    def half_done(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE events ADD COLUMN colour TEXT")
        connection.execute("DELETE FROM events")
        raise ValueError("bug")

    with monkeypatch.context() as patched:
        patched.setattr(state_module, "MIGRATIONS", [*MIGRATIONS, half_done])
        with pytest.raises(ValueError, match="bug"):
            State(path)
    with State(path) as state:
        assert events(state) == ["filler"] * 3
        assert "colour" not in state.read().execute("SELECT * FROM events").fetchone().keys()  # noqa: SIM118


def test_the_file_says_whose_it_is(path: str) -> None:
    with State(path) as state:
        assert state.read().execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        assert state.read().execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


def test_a_message_cannot_be_stored_in_a_conversation_of_another_project(path: str) -> None:
    with State(path) as state:
        with state.write() as connection:
            for project in ("a" * 12, "b" * 12):
                connection.execute(
                    "INSERT INTO projects (id, name, name_key, root, created_at, last_used_at) "
                    "VALUES (?1, ?1, ?1, ?1, 0, 0)",
                    (project,),
                )
            connection.execute("INSERT INTO conversations VALUES ('12345678', ?, 't', 0, 0, NULL, '', 0)", ("a" * 12,))
        with pytest.raises(sqlite3.IntegrityError), state.write() as connection:
            connection.execute(
                "INSERT INTO messages (conversation_id, project_id, role, content, created_at) "
                "VALUES ('12345678', ?, 'user', 'x', 0)",
                ("b" * 12,),
            )


# ---- The disk -----------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_and_costs_nothing_that_was_there(path: str) -> None:
    result = run(FILL, path)
    assert "refused:" in result.stdout and "state.db could not be written" in result.stdout
    assert "still read: 1" in result.stdout
    with State(path) as state:
        assert events(state)[0] == "before"
        assert state.check() == []


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionProblem, match="file"):
        State(str(tmp_path / "file" / "state.db"))


def test_a_folder_in_the_place_of_the_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(PermissionProblem, match=r"state\.db"):
        State(str(tmp_path / "state.db"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, LockedError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LockedError),
        (sqlite3.SQLITE_LOCKED, LockedError),
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFull),
        (sqlite3.SQLITE_IOERR_FSYNC, DiskFull),
        (sqlite3.SQLITE_IOERR_SHMSIZE, DiskFull),
        (sqlite3.SQLITE_IOERR_READ, StateDamaged),
        (sqlite3.SQLITE_IOERR_SHORT_READ, StateDamaged),
        (sqlite3.SQLITE_CORRUPT, StateDamaged),
        (sqlite3.SQLITE_NOTADB, StateDamaged),
        (sqlite3.SQLITE_READONLY, PermissionProblem),
        (sqlite3.SQLITE_CANTOPEN, PermissionProblem),
    ],
)
def test_every_error_about_the_file_is_translated(code: int, expected: type[GardenerError]) -> None:
    error = sqlite3.OperationalError("raw words")
    error.sqlite_errorcode = code
    translated = translate_sqlite_error(error, "/home/x/state.db")
    assert type(translated) is expected
    assert isinstance(translated, GardenerError)
    assert "/home/x/state.db" in translated.message and translated.next_step


def test_our_own_mistakes_stay_what_they_are(path: str) -> None:
    with State(path) as state, pytest.raises(sqlite3.OperationalError, match="no such table"):
        state.read().execute("SELECT * FROM missing")


def test_scrubbing_leaves_nothing_of_deleted_rows(path: str) -> None:
    secret = "quetzalcoatl-7731"
    with State(path) as state:
        with state.write() as connection:
            for _ in range(50):
                record_event(connection, "x", None, text=secret * 20)
        with state.write() as connection:
            connection.execute("DELETE FROM events")
        assert state.read().execute("PRAGMA freelist_count").fetchone()[0] > 0
        assert state.scrub() is True
        assert state.read().execute("PRAGMA freelist_count").fetchone()[0] == 0  # the file has shrunk
        for file in Path(path).parent.glob("state*"):
            assert secret.encode() not in file.read_bytes()


def test_scrubbing_says_when_a_reader_keeps_the_log_busy(path: str) -> None:
    with State(path) as reader, State(path, busy_timeout_s=0.05) as state:
        with state.write() as connection:
            record_event(connection, "x", None)
        with reader.snapshot() as connection:
            connection.execute("SELECT * FROM events").fetchall()
            assert state.scrub() is False
        assert state.scrub() is True


def test_the_generation_of_the_active_project_starts_at_zero(path: str) -> None:
    with State(path) as state:
        assert state.generation() == 0
