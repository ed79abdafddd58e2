from __future__ import annotations

import json as json_package
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import Interrupted, LockedError, PathNotFound
from gardener.index.indexer import Indexer
from gardener.index.search import SearchRequest
from gardener.locks import ProcessLock
from gardener.paths import index_directory, project_lock
from gardener.types import ProjectContext

Write = Callable[[str, str], Path]


def paths_found(gardener: Gardener, context: ProjectContext, query: str) -> list[str]:
    return [hit.path for hit in gardener.search(context, SearchRequest(query, 5)).hits]


def check_whole(gardener: Gardener, context: ProjectContext) -> None:
    """The law of an index at rest: the rows are those of the manifest's files, and these are the disk's."""
    indexer = gardener.index(context).indexer
    records = indexer.manifest.files()
    table = indexer.table
    table.refresh()
    assert table.file_hashes() == {p: r.sha256 for p, r in records.items() if not r.skipped and r.chunks}
    assert table.count() == sum(r.chunks for r in records.values())
    on_disk = {entry.path for entry in indexer.walk().files}
    assert set(records) == on_disk


def test_the_first_index_makes_everything_searchable(gardener: Gardener, indexed: ProjectContext) -> None:
    assert paths_found(gardener, indexed, "decode a JSON document")[0].startswith("json/")
    check_whole(gardener, indexed)


def test_nothing_changed_means_nothing_done(gardener: Gardener, indexed: ProjectContext) -> None:
    version = gardener.index(indexed).indexer.table.version()
    time.sleep(0.05)
    gardener.update_index(indexed)  # the first one after a write still re-reads what was written in the same tick
    report = gardener.update_index(indexed)
    assert (report.added, report.changed, report.removed) == (0, 0, 0)
    assert report.unchanged > 5
    assert gardener.index(indexed).indexer.table.version() == version


def test_changes_additions_and_removals(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    write("json/fresh.py", "def zebra_crossing():\n    return 'stripes'\n")
    write("json/scanner.py", "def giraffe():\n    return 'neck'\n")
    (Path(indexed.root) / "json" / "tool.py").unlink()
    report = gardener.update_index(indexed)
    assert (report.added, report.changed, report.removed) == (1, 1, 1)
    assert paths_found(gardener, indexed, "zebra_crossing")[0] == "json/fresh.py"
    assert paths_found(gardener, indexed, "giraffe")[0] == "json/scanner.py"
    assert "json/tool.py" not in paths_found(gardener, indexed, "tool main argparse")
    check_whole(gardener, indexed)


def test_a_touched_file_is_read_but_not_written(gardener: Gardener, indexed: ProjectContext) -> None:
    version = gardener.index(indexed).indexer.table.version()
    os.utime(Path(indexed.root) / "json" / "decoder.py", ns=(1, 1))
    report = gardener.update_index(indexed)
    assert (report.added, report.changed, report.removed) == (0, 0, 0)
    assert gardener.index(indexed).indexer.table.version() == version
    assert gardener.index(indexed).indexer.manifest.files()["json/decoder.py"].mtime_ns == 1


def test_an_edit_within_the_clock_tick_is_seen(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    """Same size, same modification time, other bytes: only re-reading recent files can notice."""
    target = write("json/tick.py", "def aardvark(): pass\n")
    gardener.update_index(indexed)
    stamp = target.stat().st_mtime_ns
    target.write_text("def antelope(): pass\n")
    os.utime(target, ns=(stamp, stamp))
    gardener.update_index(indexed)
    assert paths_found(gardener, indexed, "antelope")[0] == "json/tick.py"


def test_binary_and_empty_files(gardener: Gardener, indexed: ProjectContext) -> None:
    root = Path(indexed.root)
    (root / "blob.dat").write_bytes(b"\0\1\2" * 100)
    (root / "empty.py").write_text("")
    gardener.update_index(indexed)
    skipped = {entry["path"]: entry["reason"] for entry in gardener.index(indexed).skipped()}
    assert "blob.dat" in skipped
    check_whole(gardener, indexed)


def test_an_empty_folder_is_fine(gardener: Gardener, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    context = gardener.registry.add(str(tmp_path / "empty"))
    report = gardener.update_index(context)
    assert report.files == 0
    assert gardener.search(context, SearchRequest("anything")).hits == ()
    (tmp_path / "empty" / "a.py").write_text("def walrus(): pass\n")
    assert paths_found(gardener, context, "walrus") == ["a.py"]


def test_a_vanished_folder_is_named(gardener: Gardener, indexed: ProjectContext) -> None:
    Path(indexed.root).rename(Path(indexed.root).with_name("elsewhere"))
    with pytest.raises(PathNotFound) as caught:
        gardener.update_index(indexed)
    assert indexed.root in caught.value.message
    assert "move" in caught.value.next_step


def test_a_second_indexer_is_told_who_is_at_work(gardener: Gardener, indexed: ProjectContext) -> None:
    lock = ProcessLock(project_lock(indexed.home), "gardener index")
    lock.acquire()
    try:
        with pytest.raises(LockedError) as caught:
            gardener.update_index(indexed)
        assert str(os.getpid()) in caught.value.message
        assert paths_found(gardener, indexed, "decode") != []
    finally:
        lock.release()


def test_an_interrupted_update_loses_nothing(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    write("json/fresh.py", "def zebra_crossing(): pass\n")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        gardener.update_index(indexed, cancel=cancel)
    assert gardener.update_index(indexed).added == 1
    assert paths_found(gardener, indexed, "zebra_crossing")[0] == "json/fresh.py"
    check_whole(gardener, indexed)


def test_rows_without_a_manifest_entry_are_found_out(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    """A crash between table and manifest, then the file goes back: its time alone would hide it."""
    target = Path(indexed.root) / "json" / "scanner.py"
    before, stamp = target.read_bytes(), target.stat().st_mtime_ns
    write("json/scanner.py", "def only_in_the_table(): pass\n")
    write("json/extra.py", "def also_only_in_the_table(): pass\n")
    indexer = gardener.index(indexed).indexer
    known = indexer.manifest.files()
    facts = indexer.manifest.facts()
    gardener.update_index(indexed)
    indexer.manifest.commit(changed=list(known.values()), removed=["json/extra.py"], facts=facts)  # as it was before
    target.write_bytes(before)
    os.utime(target, ns=(stamp, stamp))
    (Path(indexed.root) / "json" / "extra.py").unlink()
    gardener.update_index(indexed)
    check_whole(gardener, indexed)
    assert "json/extra.py" not in paths_found(gardener, indexed, "also_only_in_the_table")


def test_a_damaged_manifest_and_a_missing_table_are_rebuilt(gardener: Gardener, indexed: ProjectContext) -> None:
    gardener.close()
    Path(index_directory(indexed.home), "manifest.db").write_bytes(b"garbage" * 1000)
    for suffix in ("-wal", "-shm"):
        Path(index_directory(indexed.home), "manifest.db" + suffix).unlink(missing_ok=True)
    report = gardener.update_index(indexed, rebuild=True)
    assert report.rebuilt
    check_whole(gardener, indexed)
    gardener.index(indexed).indexer.table.destroy()
    assert gardener.update_index(indexed).reason == "the table is missing"
    check_whole(gardener, indexed)


def test_worker_processes_and_portions_give_the_same_index(
    gardener: Gardener, json_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = gardener.registry.add(str(json_project))
    gardener.update_index(context)
    alone = gardener.index(context).indexer.table.file_hashes()
    monkeypatch.setattr("gardener.index.indexer.IN_PROCESS_BYTES", 0)
    monkeypatch.setattr("gardener.index.indexer.BATCH_BYTES", 20_000)
    monkeypatch.setattr("gardener.index.indexer.ROWS_PER_COMMIT", 20)
    gardener.update_index(context, rebuild=True)
    assert gardener.index(context).indexer.table.file_hashes() == alone
    check_whole(gardener, context)
    assert paths_found(gardener, context, "decode a JSON document")[0].startswith("json/")


_UPDATE = """
import sys
from gardener.app import Gardener
if __name__ == "__main__":
    gardener = Gardener(sys.argv[1])
    context = gardener.registry.get("json")
    print("ready", flush=True)
    while True:
        gardener.update_index(context, rebuild=sys.argv[2] == "rebuild", lock_timeout_s=60)
"""


@pytest.mark.parametrize("mode", ["rebuild", "edit"])
def test_killed_at_any_moment_the_next_update_mends_it(
    gardener: Gardener, indexed: ProjectContext, home: Path, tmp_path: Path, mode: str
) -> None:
    script = tmp_path / "update.py"
    script.write_text(_UPDATE)
    target = Path(indexed.root) / "json" / "scanner.py"
    for attempt in range(4):
        child = subprocess.Popen([sys.executable, str(script), str(home), mode], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        end = time.monotonic() + 0.35 + 0.17 * attempt
        number = 0
        while time.monotonic() < end:
            number += 1
            target.write_text(f"def version_{attempt}_{number}():\n    return {number}\n")
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        gardener.update_index(indexed)  # the lock of the dead is free at once
        check_whole(gardener, indexed)
        assert paths_found(gardener, indexed, f"version_{attempt}_{number}")[0] == "json/scanner.py"


def test_memory_of_what_was_skipped_is_kept(gardener: Gardener, json_project: Path) -> None:
    (json_project / "big.py").write_text("x = 1\n" * 10_000)
    context = gardener.registry.add(str(json_project))
    indexer = Indexer(context, max_file_bytes=50_000)
    report = indexer.update()
    assert report.skipped.get("too-large") == 1
    indexer.close()


def test_the_fixture_is_real_code() -> None:
    assert Path(json_package.__file__).parent.name == "json"
