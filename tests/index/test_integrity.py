"""Bit rot and what is done about it, with real tables and real flipped bits."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import DiskFull, IndexDamaged, NotFoundError
from gardener.index.integrity import FileHashes, Verdict
from gardener.index.lance_tables import CHUNKS
from gardener.index.repository_map import repository_map
from gardener.index.search import SearchRequest
from gardener.index.vector_tables import VECTORS
from gardener.index.vectors import check_store
from gardener.types import ProjectContext
from gardener.upkeep import Sweep, repair_index, repair_store

Write = Callable[[str, str], Path]


def index_folder(context: ProjectContext) -> Path:
    return Path(context.home) / "index"


def table_files(context: ProjectContext) -> list[Path]:
    found = index_folder(context).glob("*.lance/**/*")
    return [path for path in found if path.is_file() and path.name != "latest_version_hint.json"]


def verify(gardener: Gardener, context: ProjectContext) -> Verdict:
    return gardener.index(context).indexer.hashes.verify(context)


def flip(path: Path, at: int | None = None) -> None:
    """Turns one bit around: never a no-op."""
    data = bytearray(path.read_bytes())
    at = len(data) // 2 if at is None else at
    data[at] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def top(gardener: Gardener, context: ProjectContext, query: str) -> str:
    hits = gardener.search(context, SearchRequest(query)).hits
    return hits[0].path if hits else ""


@pytest.fixture
def embedded(gardener: Gardener, indexed: ProjectContext, json_embeddings: None) -> ProjectContext:
    assert gardener.embed(indexed).remaining == 0
    return indexed


def test_a_whole_index_is_whole(gardener: Gardener, embedded: ProjectContext) -> None:
    verdict = verify(gardener, embedded)
    assert verdict.damaged == ()
    assert verdict.bytes_read == verdict.bytes > 0
    assert verdict.files == len(table_files(embedded))


def test_one_flipped_bit_in_any_file_is_found_and_the_file_named(
    gardener: Gardener, embedded: ProjectContext, write: Write
) -> None:
    write("json/more.py", "def more():\n    return 1\n")
    gardener.update_index(embedded)
    files = table_files(embedded)
    assert {"data", "_versions", "_transactions"} <= {path.parent.name for path in files}
    for path in files:
        whole = path.read_bytes()
        flip(path, random.randrange(len(whole)))
        damaged = verify(gardener, embedded).damaged
        assert [(damage.path, damage.what) for damage in damaged] == [(str(path), "changed")]
        path.write_bytes(whole[: len(whole) // 2])
        assert [damage.path for damage in verify(gardener, embedded).damaged] == [str(path)]
        path.unlink()
        assert [(d.path, d.what) for d in verify(gardener, embedded).damaged] == [(str(path), "missing")]
        path.write_bytes(whole)
    assert verify(gardener, embedded).damaged == ()


def test_edits_compactions_and_rebuilds_raise_no_alarm(
    gardener: Gardener, embedded: ProjectContext, write: Write
) -> None:
    indexer = gardener.index(embedded).indexer
    for number in range(3):
        write("json/more.py", f"def more():\n    return {number}\n")
        gardener.update_index(embedded)
        gardener.embed(embedded)
        assert verify(gardener, embedded).damaged == ()
    indexer.table.compact_if_needed(force=True)
    indexer.hashes.record([CHUNKS], pruned=True)
    assert verify(gardener, embedded).damaged == ()
    gardener.update_index(embedded, rebuild=True)
    assert verify(gardener, embedded).damaged == ()


def test_a_later_commit_does_not_take_damage_for_the_truth(
    gardener: Gardener, indexed: ProjectContext, write: Write
) -> None:
    data = next((index_folder(indexed) / "chunks.lance" / "data").iterdir())
    flip(data)
    write("json/more.py", "def more():\n    return 1\n")
    gardener.index(indexed).indexer.hashes.record([CHUNKS])
    assert [damage.path for damage in verify(gardener, indexed).damaged] == [str(data)]


def test_a_quick_check_reads_little_and_still_sees_every_size(gardener: Gardener, indexed: ProjectContext) -> None:
    hashes = gardener.index(indexed).indexer.hashes
    verdict = hashes.verify(indexed, sample_bytes=1)
    assert verdict.damaged == () and verdict.bytes_read < verdict.bytes
    data = next((index_folder(indexed) / "chunks.lance" / "data").iterdir())
    with data.open("ab") as handle:
        handle.write(b"x")
    assert [damage.path for damage in hashes.verify(indexed, sample_bytes=1).damaged] == [str(data)]


def test_a_damaged_list_of_hashes_is_made_anew(gardener: Gardener, indexed: ProjectContext, tmp_path: Path) -> None:
    hashes = FileHashes(str(index_folder(indexed)))
    Path(hashes.path).write_bytes(b"no database at all " * 100)
    assert hashes.record([CHUNKS]) > 0
    assert verify(gardener, indexed).damaged == ()


# ---- repair ------------------------------------------------------------------------------------------


def test_damaged_chunks_are_made_again_beside_those_that_serve(
    gardener: Gardener, embedded: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = gardener.index(embedded)
    before = top(gardener, embedded, "scan a json string")
    flip(next((index_folder(embedded) / "chunks.lance" / "_transactions").iterdir()))
    prepare = index.indexer._prepare
    asked: list[str] = []

    def prepare_and_ask(files: object) -> object:
        yield from prepare(files)  # type: ignore[arg-type]
        with Gardener(str(gardener.paths.home)) as other:
            asked.append(top(other, embedded, "scan a json string"))

    monkeypatch.setattr(index.indexer, "_prepare", prepare_and_ask)
    done = repair_index(gardener, embedded, verify(gardener, embedded))
    assert asked == [before] != [""]
    assert "built anew" in done[0]
    assert index.indexer.table.chunks_table == "chunks-2"
    assert verify(gardener, embedded).damaged == ()
    assert top(gardener, embedded, "scan a json string") == before


def test_damaged_symbols_are_found_never_a_fault_and_made_again(gardener: Gardener, indexed: ProjectContext) -> None:
    indexer = gardener.index(indexed).indexer
    graph = gardener.symbols(indexed)
    indexer.complete_symbols()
    expected = [one.as_json() for one in indexer.symbols.definitions()]
    name = expected[0]["symbol"]
    indexer.symbols.close()
    for side in ("-wal", "-shm"):
        assert not Path(indexer.symbols.path + side).exists()
    place = Path(indexer.symbols.path)
    whole = place.read_bytes()
    random.seed(7)
    for round_ in range(60):
        place.write_bytes(whole if round_ % 6 else whole[: random.randrange(1, len(whole))])
        if round_ % 6:
            # After the first page: what stands there tells SQLite, and so everybody, that it is no database.
            flip(place, random.randrange(4096, len(whole)))
        changed = place.read_bytes()
        for ask in (graph.find, graph.callers, graph.callees):
            with contextlib.suppress(IndexDamaged, NotFoundError):
                ask(str(name))
        with contextlib.suppress(IndexDamaged):
            repository_map(graph, len, 500)
        same = False
        with contextlib.suppress(IndexDamaged):
            same = [one.as_json() for one in indexer.symbols.definitions()] == expected
        assert same or indexer.symbols.problem(), f"round {round_}: other symbols, and nobody says so"
        indexer.symbols.close()
        assert place.read_bytes() == changed
    signature = str(expected[0]["signature"]).encode()
    place.write_bytes(whole.replace(signature, bytes([signature[0] ^ 1]) + signature[1:]))
    assert "definitions" in indexer.symbols.problem()
    done = repair_index(gardener, indexed, verify(gardener, indexed))
    assert len(done) == 1 and "symbols" in done[0]
    assert indexer.symbols.problem() == ""
    assert [one.as_json() for one in indexer.symbols.definitions()] == expected
    assert repair_index(gardener, indexed, verify(gardener, indexed)) == []


def test_damaged_vectors_come_back_from_the_shared_store(gardener: Gardener, embedded: ProjectContext) -> None:
    table = next(index_folder(embedded).glob(f"{VECTORS}*.lance"))
    flip(next((table / "data").iterdir()))
    verdict = verify(gardener, embedded)
    assert verdict.tables == [table.name.removesuffix(".lance")]
    repair_index(gardener, embedded, verdict)
    report = gardener.embed(embedded)
    assert (report.embedded, report.remaining) == (0, 0) and report.reused > 0
    assert verify(gardener, embedded).damaged == ()


def test_a_damaged_vector_of_the_shared_store_is_dropped_and_made_again(
    gardener: Gardener, embedded: ProjectContext
) -> None:
    store = gardener.embedding.store()
    with sqlite3.connect(os.path.join(store.folder, "vectors-1.db")) as database:
        key, vector = database.execute("SELECT hash, vector FROM vectors LIMIT 1").fetchone()
        bad = bytes([vector[0] ^ 1]) + vector[1:]
        database.execute("UPDATE vectors SET vector = ? WHERE hash = ?", (bad, key))
    database.close()
    assert check_store(store.folder).damaged == 1
    assert repair_store(gardener) == ["1 damaged vectors were dropped from the shared store"]
    assert check_store(store.folder).damaged == 0
    assert store.known([key.hex()]) == set()
    gardener.index(embedded).indexer.table.destroy_vectors(store.fingerprint)
    assert gardener.embed(embedded).embedded == 1
    assert store.known([key.hex()]) == {key.hex()}


def test_the_app_finds_and_mends_damage_by_itself(gardener: Gardener, embedded: ProjectContext) -> None:
    asked: list[str] = []
    sweep = Sweep(gardener, make_vectors=lambda context: asked.append(context.name))
    assert sweep.look_at(embedded) == []
    flip(next((index_folder(embedded) / "chunks.lance" / "data").iterdir()))
    assert sweep.look_at(embedded) == [], "not again before a day has passed"
    gardener.index(embedded).indexer.manifest.commit(facts={"hashes_checked_at": "1"})
    assert "built anew" in sweep.look_at(embedded)[0]
    assert asked == ["json"]
    assert verify(gardener, embedded).damaged == ()


# ---- rebuild beside ------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import gardener.index.indexer as indexer
from gardener.app import Gardener
from gardener.index.manifest import Manifest
from gardener.index.table import IndexTable

indexer.ROWS_PER_COMMIT, indexer.BATCH_BYTES = 20, 10_000  # several portions

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with Gardener(sys.argv[1]) as gardener:
        context = gardener.context("json")
        if sys.argv[2] == "after the table":
            commit = Manifest.commit
            Manifest.commit = lambda self, **options: kill() if options.get("replace_all") else commit(self, **options)
        elif sys.argv[2] == "before the index of words":
            IndexTable.build_words_index = kill
        else:
            commit = Manifest.commit
            def commit_and_die(self, **options):
                commit(self, **options)
                if options.get("replace_all"):
                    kill()
            Manifest.commit = commit_and_die
        gardener.update_index(context, rebuild=True)
"""


@pytest.mark.parametrize("when", ["before the index of words", "after the table", "after the swap"])
def test_a_rebuild_that_is_killed_leaves_the_old_index_or_the_new(
    gardener: Gardener, indexed: ProjectContext, write: Write, when: str
) -> None:
    before = top(gardener, indexed, "scan a json string")
    count = gardener.index(indexed).indexer.table.count()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, gardener.paths.home, when], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Gardener(gardener.paths.home) as other:
        table = other.index(indexed).indexer.table
        assert table.chunks_table == ("chunks-2" if when == "after the swap" else "chunks")
        assert table.count() == count
        assert top(other, indexed, "scan a json string") == before
        write("json/more.py", "def zebra_crossing():\n    return 1\n")
        assert top(other, indexed, "zebra_crossing") == "json/more.py"
        if when != "after the swap":
            assert table.chunk_tables() == [table.chunks_table], "what was never finished is gone"
            assert [path.name for path in index_folder(indexed).glob("symbols*.db")] == ["symbols.db"]
        assert verify(other, indexed).damaged == ()


def test_a_search_goes_on_while_another_process_rebuilds_and_compacts(
    gardener: Gardener, indexed: ProjectContext
) -> None:
    before = top(gardener, indexed, "scan a json string")
    with Gardener(gardener.paths.home) as other:
        other.update_index(indexed, rebuild=True)
        assert top(gardener, indexed, "scan a json string") == before
        other.index(indexed).indexer.table.compact_if_needed(force=True)
        searcher = gardener.index(indexed).searcher
        snapshot = searcher.snapshot()
        other.index(indexed).indexer.table.compact_if_needed(force=True)
        assert searcher._snapshot is snapshot
        assert top(gardener, indexed, "scan a json string") == before


def test_a_search_whose_version_is_compacted_away_reads_the_newest(
    gardener: Gardener, indexed: ProjectContext, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = gardener.index(indexed).searcher
    rank = searcher._rank
    calls: list[int] = []

    def compact_first(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            with Gardener(gardener.paths.home) as other:
                write("json/more.py", "def more():\n    return 1\n")
                other.update_index(indexed)
                for _ in range(2):  # the first folds the new rows into the index of words, the second joins fragments
                    other.index(indexed).indexer.table.compact_if_needed(force=True)
        return rank(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(searcher, "_rank", compact_first)
    assert top(gardener, indexed, "scan a json string") != ""
    assert len(calls) == 2


def test_a_replaced_table_goes_when_nobody_can_be_reading_it(
    gardener: Gardener, indexed: ProjectContext, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    gardener.update_index(indexed, rebuild=True)
    table = gardener.index(indexed).indexer.table
    assert table.chunk_tables() == ["chunks", "chunks-2"]
    monkeypatch.setattr("gardener.index.indexer.REPLACED_TABLE_S", 0.0)
    Sweep(gardener, make_vectors=lambda context: None).look_at(indexed)
    assert table.chunk_tables() == ["chunks-2"]
    gardener.update_index(indexed, rebuild=True)
    write("json/more.py", "def more():\n    return 1\n")
    gardener.update_index(indexed)
    assert table.chunk_tables() == ["chunks-3"]
    shutil.rmtree(index_folder(indexed) / "chunks-3.lance")
    gardener.update_index(indexed)
    assert table.chunks_table == "chunks-4"


@pytest.mark.parametrize("said", ["database or disk is full", "disk I/O error"])
def test_a_full_disk_keeps_the_hashes_and_says_so(
    gardener: Gardener, indexed: ProjectContext, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    hashes = gardener.index(indexed).indexer.hashes
    listed = len(hashes._rows())

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError(said)

    monkeypatch.setattr("gardener.index.facts.is_full", lambda path: True)
    with monkeypatch.context() as patched:
        patched.setattr("gardener.index.integrity.FileHashes._connect", full)
        with pytest.raises(DiskFull, match=r"hashes\.db"):
            hashes.record(["chunks"])
    assert len(hashes._rows()) == listed > 0


def test_symbols_that_cannot_be_begun_on_a_full_disk_are_said(
    gardener: Gardener, indexed: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("gardener.index.symbol_store.SymbolStore._open", full)
    with pytest.raises(DiskFull, match=r"symbols\.db"):
        gardener.index(indexed).indexer.symbols.replace((), [])
