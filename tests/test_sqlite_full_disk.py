"""Reading on a full disk. A limit of zero bytes on the size of files keeps SQLite from making its shared index, with
the error that a disk without a free byte gives. By hand, on a full tmpfs, `list`, `status`, `search`, `callers`,
`show`, `history`, `disk` and `doctor` worked too, and what writes said that the disk is full.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import DiskFull
from gardener.index.facts import summary
from gardener.index.manifest import FileRecord, Manifest
from gardener.index.search import SearchRequest
from gardener.state import State

Full = Callable[[], AbstractContextManager[None]]
MODULES = ("gardener.sqlite_full_disk", "gardener.state", "gardener.state_connection", "gardener.index.manifest",
           "gardener.index.symbol_store", "gardener.index.facts")  # fmt: skip


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Full:
    """Fills the disk for as long as the context lasts: pytest itself writes its report before fixtures end."""

    @contextmanager
    def full() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        with monkeypatch.context() as patched:
            for module in MODULES:
                patched.setattr(f"{module}.is_full", lambda path: True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


def record(path: str) -> FileRecord:
    return FileRecord(path, 1, 1, "0" * 64, "python", 1, 1)


def test_what_is_stored_can_be_read_and_not_written_until_there_is_room(tmp_path: Path, full_disk: Full) -> None:
    with State(str(tmp_path / "state.db")) as state, state.write() as connection:
        connection.execute("INSERT INTO pointers (key, value, updated_at) VALUES ('x', 'kept', 0)")
    with full_disk():
        state = State(str(tmp_path / "state.db"))
        assert state.read().execute("SELECT value FROM pointers WHERE key = 'x'").fetchone()[0] == "kept"
        with pytest.raises(DiskFull), state.write() as connection:
            connection.execute("DELETE FROM pointers")
    with state:
        with state.write() as connection:
            connection.execute("UPDATE pointers SET value = 'changed' WHERE key = 'x'")
        assert state.read().execute("SELECT value FROM pointers WHERE key = 'x'").fetchone()[0] == "changed"


def test_the_manifest_goes_on_by_itself_when_there_is_room_again(tmp_path: Path, full_disk: Full) -> None:
    manifest = Manifest(str(tmp_path))
    manifest.commit(changed=[record("a.py")], facts={"table_version": "3"})
    manifest.close()
    with full_disk():
        assert summary(str(tmp_path)) == {"table_version": "3"}
        manifest = Manifest(str(tmp_path))
        assert set(manifest.files()) == {"a.py"}
        with pytest.raises(DiskFull):
            manifest.commit(changed=[record("b.py")])
        assert set(manifest.files()) == {"a.py"}
    manifest.commit(changed=[record("b.py")])
    assert set(manifest.files()) == {"a.py", "b.py"}
    manifest.close()


def test_what_a_killed_process_committed_is_read_too(tmp_path: Path, full_disk: Full) -> None:
    script = (
        "import os, signal, sys\n"
        "from gardener.index.manifest import Manifest\n"
        "Manifest(sys.argv[1]).commit(facts={'table_version': '7'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert os.path.getsize(tmp_path / "manifest.db-wal") > 0
    (tmp_path / "manifest.db-shm").unlink()
    with full_disk():
        assert summary(str(tmp_path)) == {"table_version": "7"}


def test_search_answers_on_a_full_disk_and_says_what_is_missing(
    home: Path, embedder: None, json_project: Path, full_disk: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARDENER_SEARCH_ON_DEMAND_VECTORS", "false")
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(json_project), "json")
        gardener.update_index(context)
    (json_project / "json" / "more.py").write_text("def more():\n    return 1\n")
    with full_disk(), Gardener(str(home)) as gardener:
        result = gardener.search(gardener.context("json"), SearchRequest("scan a json string", words_only=True))
        assert result.hits
        assert "the disk is full" in " ".join(result.notes)
        assert gardener.status()["files"]


def test_the_stand_in_is_faithful(tmp_path: Path, full_disk: Full) -> None:
    """SQLite really cannot read such a database in the ordinary way."""
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (x)")
    database.close()
    again = sqlite3.connect(tmp_path / "x.db")
    with full_disk(), closing(again), pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        again.execute("SELECT * FROM t")
