from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gardener.app import Gardener
from gardener.errors import IndexDamaged
from gardener.index.search import SearchRequest
from gardener.index.snapshot import Snapshot
from gardener.index.table import ChunkRow, IndexTable, arrow_table
from gardener.index.vector_cache import VectorCache
from gardener.types import ProjectContext

Write = Callable[[str, str], Path]
MODEL = "model-a"
DIMENSIONS = 8


def content(path: str, number: int, edition: int) -> str:
    return hashlib.sha256(f"{path} {number} {edition}".encode()).hexdigest()


def rows_of(path: str, count: int, edition: int = 0) -> list[ChunkRow]:
    return [
        (path, 1 + 3 * number, 3 + 3 * number, "python", "function", f"Thing.do_{number}_{edition}", "", "",
         "text", f"word{edition} {path}", content(path, number, edition), "f" * 64)
        for number in range(count)
    ]  # fmt: skip


def vector_of(name: str) -> list[float]:
    values = np.frombuffer(bytes.fromhex(name)[:DIMENSIONS], np.uint8).astype(np.float32) + 1
    return [float(value) for value in values / np.linalg.norm(values)]


def add_vectors(table: IndexTable, rows: list[ChunkRow]) -> None:
    names = list(dict.fromkeys(row[10] for row in rows))
    table.add_vectors(MODEL, names, np.array([vector_of(name) for name in names], np.float16))


def same(one: Snapshot, other: Snapshot) -> None:
    """Everything that a search reads of them is equal."""
    assert one.row_ids.tolist() == other.row_ids.tolist()
    assert one.meta.equals(other.meta)
    assert one.embedded_fraction == other.embedded_fraction
    query = np.arange(DIMENSIONS, dtype=np.float32)
    np.testing.assert_array_equal(one.cosines(query), other.cosines(query))
    names = [name.lower() for name in one.meta["symbol"].to_pylist()[:5]]
    assert one.named(names) == other.named(names)


@pytest.fixture
def table(tmp_path: Path) -> IndexTable:
    made = IndexTable(f"{tmp_path}/index")
    made.create(arrow_table([row for path in "abcdef" for row in rows_of(f"{path}.py", 4)]))
    return made


def test_after_an_edit_only_what_changed_is_read(table: IndexTable, monkeypatch: pytest.MonkeyPatch) -> None:
    add_vectors(table, [row for path in "abcdef" for row in rows_of(f"{path}.py", 4)])
    reader = table.reader()
    before = Snapshot(reader, MODEL)
    edited = rows_of("b.py", 5, edition=1)
    table.replace_files(["b.py"], edited)
    add_vectors(table, edited)
    chunks: list[int | None] = []
    vectors: list[int | None] = []
    meta, batches = IndexTable.meta, IndexTable.vector_batches
    monkeypatch.setattr(
        IndexTable, "meta", lambda self, ids=None: (chunks.append(ids and len(ids)), meta(self, ids))[1]
    )
    monkeypatch.setattr(
        IndexTable,
        "vector_batches",
        lambda self, name, ids=None: (vectors.append(ids and len(ids)), batches(self, name, ids))[1],
    )
    reader.refresh()
    after = Snapshot(reader, MODEL, before)
    assert (chunks, vectors) == ([5], [5])
    same(after, Snapshot(table.reader(), MODEL))
    assert after.size == 25 and after.embedded_fraction == 1


def test_a_snapshot_shows_its_own_version_whatever_is_written(table: IndexTable) -> None:
    reader = table.reader()
    snapshot = Snapshot(reader, MODEL)
    table.replace_files(["b.py", "c.py"], rows_of("b.py", 2, edition=7))
    reader.refresh()  # as another search does
    found = snapshot.table.search_words(["word0"], 100)
    assert (snapshot.positions_of(found.row_ids) >= 0).all() and len(found.row_ids) == 24
    assert snapshot.table.search_words(["word7"], 100).row_ids.size == 0
    paths = [row["path"] for row in snapshot.table.rows(snapshot.row_ids.tolist())]
    assert paths == snapshot.meta["path"].to_pylist()
    table.compact_if_needed(force=True)
    with pytest.raises(IndexDamaged):  # never rows of another version; Searcher then takes a new snapshot
        snapshot.table.rows(snapshot.row_ids.tolist())


@pytest.mark.parametrize("change", ["compact", "rebuild", "all new", "embedder"])
def test_what_renumbers_the_rows_is_noticed(table: IndexTable, change: str) -> None:
    add_vectors(table, rows_of("a.py", 4))
    before = Snapshot(table.reader(), MODEL)
    fingerprint = MODEL
    if change == "compact":
        table.replace_files(["c.py"], [])
        table.compact_if_needed(force=True)
    elif change == "rebuild":
        table.create(arrow_table(rows_of("z.py", 30) + rows_of("a.py", 4)))
    elif change == "all new":
        table.replace_files(list("abcdef"), [])
        table.replace_files(["a.py"], rows_of("a.py", 4, edition=3))
    else:
        fingerprint = ""
    reader = table.reader()
    same(Snapshot(reader, fingerprint, before), Snapshot(reader, fingerprint))


edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abcg"), st.integers(0, 3)),
        st.tuples(st.just("embed"), st.sampled_from("abcg"), st.integers(0, 3)),
        st.tuples(st.just("compact"), st.just(""), st.just(0)),
    ),
    min_size=1,
    max_size=5,
)


@given(edits, st.booleans())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_step_by_step_is_the_same_as_at_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]], look_often: bool
) -> None:
    table = IndexTable(f"{tmp_path_factory.mktemp('steps')}/index")
    table.create(arrow_table([row for path in "abc" for row in rows_of(f"{path}.py", 2)]))
    reader = table.reader()
    snapshot = Snapshot(reader, MODEL)
    for edition, (kind, path, count) in enumerate(steps, 1):
        rows = rows_of(f"{path}.py", count, edition % 2)
        if kind == "write":
            table.replace_files([f"{path}.py"], rows)
        elif kind == "embed":
            add_vectors(table, rows)
        else:
            table.compact_if_needed(force=True)
            table.compact_if_needed(force=True, vectors_only=True)
        if look_often:
            reader.refresh()
            snapshot = Snapshot(reader, MODEL, snapshot)
    reader.refresh()
    same(Snapshot(reader, MODEL, snapshot), Snapshot(table.reader(), MODEL))


def test_vectors_made_on_demand_are_not_lost_to_the_next_snapshot(table: IndexTable) -> None:
    before = Snapshot(table.reader(), MODEL)
    names = [row[10] for row in rows_of("a.py", 4)]
    before.add_vectors(names, np.array([vector_of(name) for name in names], np.float32))
    table.replace_files(["b.py"], rows_of("b.py", 1, edition=1))
    after = Snapshot(table.reader(), MODEL, before)
    assert (after.vectors.row_of >= 0).sum() == 4
    stale = Snapshot(table.reader(), MODEL, before)
    after.add_vectors([rows_of("b.py", 1, edition=1)[0][10]], np.ones((1, DIMENSIONS), np.float32))
    stale.load_vectors(table.reader())
    assert (stale.vectors.row_of >= 0).sum() == 5, "what one snapshot was given the others have, too"


def test_a_matrix_that_somebody_reads_is_not_written_to(table: IndexTable) -> None:
    cache = VectorCache(MODEL)
    cache.add(["aa", "bb", "aa"], np.eye(DIMENSIONS, dtype=np.float32)[:3])
    seen = cache.matrix
    copy = seen.copy()
    for number in range(50):
        cache.add([f"{number:04x}", "aa"], np.full((2, DIMENSIONS), number, np.float16))
    np.testing.assert_array_equal(seen, copy)
    assert len(cache) == 52 and cache.matrix.shape == (52, DIMENSIONS)
    np.testing.assert_array_equal(cache.matrix[:2], copy)
    assert cache.rows_of(["bb", "0000", "none"]).tolist() == [1, 2, -1]


def test_a_search_does_not_wait_for_a_write(gardener: Gardener, indexed: ProjectContext) -> None:
    index = gardener.index(indexed)
    state = index.state()
    results: list[int] = []
    with index.indexer.table._lock:  # as it is held during a commit or a compaction
        searching = threading.Thread(
            target=lambda: results.append(len(index.searcher.search(SearchRequest("raw_decode"), state).hits))
        )
        searching.start()
        searching.join(120)
        finished = not searching.is_alive()
    searching.join()
    assert finished and results[0] > 0


def test_searches_during_edits_are_never_torn(gardener: Gardener, indexed: ProjectContext, write: Write) -> None:
    """Every hit is text that the file had at some time, at its own lines; and the last edit is found at the end."""
    index = gardener.index(indexed)
    state = index.state()
    stop = threading.Event()
    wrong: list[str] = []
    searches = 0

    def search() -> None:
        nonlocal searches
        while not stop.is_set():
            for hit in index.searcher.search(SearchRequest("moving target number"), state).hits:
                first = hit.text.split("\n")[0]
                if hit.path == "json/moving.py" and hit.symbol not in ("", first.split("(")[0].removeprefix("def ")):
                    wrong.append(f"{hit.symbol}: {hit.text}")
            searches += 1

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for edition in range(12):
            write(
                "json/moving.py",
                "".join(f"def target_{edition}_{n}():\n    return 'moving target number {n}'\n\n\n" for n in range(4)),
            )
            gardener.update_index(indexed)
            if edition % 4 == 3:
                index.indexer.table.compact_if_needed(force=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong and searches > 0
    best = gardener.search(indexed, SearchRequest("target_11_2", 1)).hits[0]
    assert best.symbol == "target_11_2"


def test_an_edit_embeds_the_chunks_that_changed(
    gardener: Gardener, indexed: ProjectContext, json_embeddings: None, write: Write
) -> None:
    gardener.embed(indexed)
    scanner = Path(indexed.root) / "json" / "scanner.py"
    write("json/scanner.py", scanner.read_text() + "\n\ndef zebra():\n    return 1\n")
    before = set(gardener.index(indexed).indexer.table.hashes())
    gardener.update_index(indexed)
    changed = set(gardener.index(indexed).indexer.table.hashes()) - before
    embedded: list[str] = []
    embedder = gardener.embedder()
    embed = embedder.embed
    embedder.embed = lambda texts: (embedded.extend(texts), embed(texts))[1]  # type: ignore[method-assign,misc]
    report = gardener.embed(indexed)
    assert len(embedded) == len(changed) == report.embedded > 0
    assert report.remaining == 0
    # In the embedder's own table: another one would be read by nobody.
    table = gardener.index(indexed).indexer.table
    assert set(table.vector_hashes(gardener.embedding.fingerprint).to_pylist()) >= changed
