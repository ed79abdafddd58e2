from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gardener.errors import IndexDamaged, SchemaTooNew
from gardener.index.facts import summary
from gardener.index.manifest import FileRecord, Manifest
from gardener.index.symbol_store import SymbolStore

RECORD = FileRecord("a.py", 10, 20, "ab", "python", 3, 1)


def test_records_and_facts_come_back(tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path))
    manifest.commit(changed=[RECORD], facts={"head": "abc"})
    manifest.close()
    again = Manifest(str(tmp_path))
    assert again.files() == {"a.py": RECORD}
    assert again.facts() == {"head": "abc"}
    again.commit(removed=["a.py"])
    assert again.files() == {}
    again.close()


def test_summary_creates_nothing(tmp_path: Path) -> None:
    assert summary(str(tmp_path / "none")) == {}
    assert list(tmp_path.iterdir()) == []


def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        manifest = Manifest(str(tmp_path / "index"))
        manifest.commit(changed=[RECORD])
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "index").iterdir()}
        assert set(modes.values()) == {0o600}, modes
        manifest.close()
    finally:
        os.umask(before)


def test_damage_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path))
    manifest.commit(changed=[RECORD])
    manifest.close()
    (tmp_path / "manifest.db").write_bytes(b"not a database at all, by any measure" * 100)
    with pytest.raises(IndexDamaged) as caught:
        Manifest(str(tmp_path))
    assert str(tmp_path / "manifest.db") in caught.value.message
    assert caught.value.next_step == "gardener index --rebuild"
    with pytest.raises(IndexDamaged):
        summary(str(tmp_path))


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    Manifest(str(tmp_path)).close()
    database = sqlite3.connect(tmp_path / "manifest.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SchemaTooNew):
        Manifest(str(tmp_path))


def test_a_failed_commit_changes_nothing(tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path))
    manifest.commit(changed=[RECORD])
    with pytest.raises(IndexDamaged):
        manifest.commit(changed=[RECORD._replace(path=None)], removed=["a.py"])  # type: ignore[arg-type]
    assert manifest.files() == {"a.py": RECORD}
    manifest.close()


def test_what_is_remembered_is_what_is_stored(tmp_path: Path) -> None:
    """After own commits nothing is read again; after another connection's everything is."""
    manifest = Manifest(str(tmp_path))
    other = Manifest(str(tmp_path))
    assert manifest.files() == {}
    seen = manifest.files()
    manifest.commit(changed=[RECORD, RECORD._replace(path="b.py")])
    assert seen == {}, "a mapping that was handed out does not change"
    assert set(manifest.files()) == {"a.py", "b.py"} == set(other.files())
    other.commit(removed=["a.py"])
    manifest.commit(changed=[RECORD._replace(path="c.py")])
    assert set(manifest.files()) == {"b.py", "c.py"} == set(other.files())
    manifest.commit(changed=[RECORD], replace_all=True)
    assert set(manifest.files()) == {"a.py"} == set(other.files())
    manifest.close()
    other.close()


def manifest_in(folder: Path) -> sqlite3.Connection:
    return Manifest(str(folder))._database


def symbols_in(folder: Path) -> sqlite3.Connection:
    return SymbolStore(str(folder))._open()


@pytest.mark.parametrize("opened_in", [manifest_in, symbols_in])
def test_a_second_opening_in_a_process_keeps_the_locks_of_the_first(
    tmp_path: Path, opened_in: Callable[[Path], sqlite3.Connection]
) -> None:
    """Or else the next process to close the file deletes the log under it, and what is written then is lost."""
    with closing(opened_in(tmp_path)), closing(opened_in(tmp_path)):
        (log,) = tmp_path.glob("*-wal")
        before = log.stat().st_ino
        path = str(log).removesuffix("-wal")
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM sqlite_master').fetchall()"
        subprocess.run([sys.executable, "-c", look, path], check=True)
        assert log.stat().st_ino == before
