"""The shared vector store: several processes, kills, bit rot, and what it refuses."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gardener.errors import DiskFull, LockedError, ModelError, SchemaTooNew
from gardener.index import vectors as vectors_module
from gardener.index import vectors_database
from gardener.index.vectors import VectorStore, check_store

ROOT = Path(vectors_module.__file__).parents[2]
DIMENSIONS = 8

# Each vector can be told from its hash, so a test sees when they get mixed up.
COMMON = """
import hashlib, sys
import numpy as np
from gardener.index.vectors import VectorStore

def name(number):
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()

def vectors_of(names):
    made = np.array([list(bytes.fromhex(n)[:8]) for n in names], np.float32) + 1
    return made / np.linalg.norm(made, axis=1, keepdims=True)
"""

PUT = (
    COMMON
    + """
store = VectorStore(sys.argv[1], "test", 8)
first, last = int(sys.argv[2]), int(sys.argv[3])
for start in range(first, last, 50):
    names = [name(n) for n in range(start, min(start + 50, last))]
    store.put(names, vectors_of(names))
    print(start + len(names), flush=True)
store.close()
"""
)


def name(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def names(numbers: Sequence[int] | range) -> list[str]:
    return [name(number) for number in numbers]


def vectors_of(wanted: Sequence[str]) -> NDArray[np.float32]:
    made = np.array([list(bytes.fromhex(n)[:8]) for n in wanted], np.float32).reshape(-1, DIMENSIONS) + 1
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def start_putting(directory: Path, first: int, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PUT, str(directory), str(first), str(last)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def expect(store: VectorStore, wanted: list[str]) -> None:
    """Every one of `wanted` is there with its own vector, in order."""
    found, vectors = store.get(wanted)
    assert found == wanted
    assert vectors.dtype == np.float16
    np.testing.assert_array_equal(vectors, vectors_of(wanted).astype(np.float16))


def database(directory: Path) -> Path:
    (path,) = (directory / "test").glob("vectors-*.db")
    return path


def rows_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
    finally:
        connection.close()


def change(path: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            assert connection.execute(statement, parameters).rowcount != 0
    finally:
        connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    opened = VectorStore(str(tmp_path), "test", DIMENSIONS)
    yield opened
    opened.close()


# ---- what it keeps ---------------------------------------------------------------------------------------


def test_what_was_put_is_found_after_reopening(tmp_path: Path, store: VectorStore) -> None:
    kept = names(range(5_000))
    store.put(kept, vectors_of(kept))
    store.close()
    again = VectorStore(str(tmp_path), "test", DIMENSIONS)
    assert again.count() == 5_000
    expect(again, kept[::-1])
    expect(again, kept[7:9])
    again.close()


def test_an_empty_store(store: VectorStore) -> None:
    assert store.known([]) == store.known([name(1)]) == set()
    for asked in ([], [name(1)]):
        found, vectors = store.get(asked)
        assert found == []
        assert vectors.shape == (0, DIMENSIONS)
        assert vectors.dtype == np.float16
    store.put([], vectors_of([]))
    assert store.count() == 0
    assert store.retain([]) == 0


@pytest.mark.parametrize("asked", [4, 2_000], ids=["looked up", "read in sequence"])
def test_get_gives_those_found_in_the_order_asked_each_once(store: VectorStore, asked: int) -> None:
    stored = names(range(0, asked, 2))
    store.put(stored, vectors_of(stored))
    wanted = names(range(asked - 1, -1, -1))
    found, vectors = store.get([*wanted, *wanted])
    assert found == stored[::-1]
    np.testing.assert_array_equal(vectors, vectors_of(found).astype(np.float16))
    assert store.known(wanted) == set(found)


@settings(max_examples=30, deadline=None)
@given(puts=st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=6), kept=st.sets(st.integers(0, 40)))
def test_it_is_a_set_of_hashes_with_their_vectors(
    tmp_path_factory: pytest.TempPathFactory, puts: list[list[int]], kept: set[int]
) -> None:
    store = VectorStore(str(tmp_path_factory.mktemp("store")), "test", DIMENSIONS)
    for put in puts:
        store.put(names(put), vectors_of(names(put)))
    stored = {number for put in puts for number in put}
    assert store.count() == len(stored)
    assert store.known(names(range(41))) == set(names(sorted(stored)))
    expect(store, names(sorted(stored)))
    assert store.retain(names(sorted(kept))) == len(stored - kept)
    expect(store, names(sorted(stored & kept)))
    assert store.count() == len(stored & kept)
    store.close()


def test_the_first_vector_of_a_hash_stays(store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    store.put([name(1), name(2)], vectors_of([name(2), name(2)]))
    expect(store, [name(1), name(2)])


def test_the_array_is_the_callers_own(store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    _, vectors = store.get([name(1)])
    vectors[:] = 0
    expect(store, [name(1)])


def test_embedders_do_not_share(tmp_path: Path, store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    other = VectorStore(str(tmp_path), "other", DIMENSIONS)
    assert other.known([name(1)]) == set()
    other.close()


def test_deleting_gives_the_disk_back(store: VectorStore) -> None:
    kept = names(range(30_000))
    store.put(kept, vectors_of(kept))
    before = store.bytes_on_disk()
    assert store.retain(kept[:100]) == 29_900
    assert store.bytes_on_disk() < before / 5
    expect(store, kept[:100])


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = VectorStore(str(tmp_path / "embeddings"), "test", DIMENSIONS)
        store.put([name(1)], vectors_of([name(1)]))
        files = [path for path in (tmp_path / "embeddings").rglob("*") if path.is_file()]
        assert len(files) >= 3
        for path in files:
            assert path.stat().st_mode & 0o777 == 0o600, path
        assert (tmp_path / "embeddings" / "test").stat().st_mode & 0o777 == 0o700
        store.close()
    finally:
        os.umask(before)


# ---- what it refuses -------------------------------------------------------------------------------------


def broken(kind: str) -> NDArray[np.float32]:
    vectors = vectors_of(names(range(3)))
    if kind == "NaN":
        vectors[1, 2] = np.nan
    elif kind == "infinite":
        vectors[1, 2] = np.inf
    elif kind == "not of length 1":
        vectors[1] *= 1.1
    elif kind == "zero":
        vectors[1] = 0
    elif kind == "too few":
        vectors = vectors[:2]
    elif kind == "other dimensions":
        vectors = vectors[:, :4]
    else:
        vectors = vectors[0]
    return vectors


@pytest.mark.parametrize(
    "kind", ["NaN", "infinite", "not of length 1", "zero", "too few", "other dimensions", "one axis"]
)
def test_bad_vectors_are_refused_whole(store: VectorStore, kind: str) -> None:
    with pytest.raises(ModelError, match="embedder test gave"):
        store.put(names(range(3)), broken(kind))
    assert store.count() == 0


def test_a_store_of_other_dimensions_is_refused(tmp_path: Path, store: VectorStore) -> None:
    with pytest.raises(ModelError, match="8 dimensions; the embedder makes 16"):
        VectorStore(str(tmp_path), "test", 16)
    assert store.count() == 0


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path, store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    store.close()
    change(database(tmp_path), "PRAGMA user_version = 99")
    with pytest.raises(SchemaTooNew, match="99"):
        VectorStore(str(tmp_path), "test", DIMENSIONS)
    assert rows_of(database(tmp_path)) == 1


@pytest.mark.parametrize("fingerprint", ["", "..", ".hidden", "a/b", "a\nb"])
def test_a_fingerprint_that_is_no_folder_name_is_refused(tmp_path: Path, fingerprint: str) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        VectorStore(str(tmp_path / "inside"), fingerprint, DIMENSIONS)
    assert list(tmp_path.iterdir()) == []


def test_a_hash_must_be_hexadecimal(store: VectorStore) -> None:
    for call in (store.known, store.get, store.retain):
        with pytest.raises(ValueError, match="hexadecimal"):
            call(["no hash"])


def test_a_closed_store_says_so(store: VectorStore) -> None:
    store.close()
    store.close()
    with pytest.raises(RuntimeError, match="closed"):
        store.count()


# ---- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [20, 1_500], ids=["looked up", "read in sequence"])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = zeroblob(16) WHERE hash = ?",
        "UPDATE vectors SET vector = substr(vector, 1, 15) || x'ff' WHERE hash = ?",
        "UPDATE vectors SET vector = x'' WHERE hash = ?",
        "UPDATE vectors SET vector = 17 WHERE hash = ?",
        "UPDATE vectors SET vector = CAST(x'ff80' AS TEXT) WHERE hash = ?",
        "UPDATE vectors SET checksum = checksum + 1 WHERE hash = ?",
        "UPDATE vectors SET (vector, checksum) = (SELECT vector, checksum FROM vectors WHERE rowid = 3) WHERE hash = ?",
    ],
)
def test_a_damaged_row_is_dropped_and_counted_and_can_be_put_again(
    tmp_path: Path, store: VectorStore, caplog: pytest.LogCaptureFixture, asked: int, damage: str
) -> None:
    kept = names(range(asked))
    store.put(kept, vectors_of(kept))
    change(database(tmp_path), damage, bytes.fromhex(kept[11]))
    whole = [n for n in kept if n != kept[11]]
    with caplog.at_level(logging.WARNING):
        found, vectors = store.get(kept)
    assert found == whole
    np.testing.assert_array_equal(vectors, vectors_of(whole).astype(np.float16))
    assert store.damaged_rows == 1
    assert "1 stored vectors were damaged" in caplog.text
    assert store.known(kept) == set(whole)
    store.put([kept[11]], vectors_of([kept[11]]))
    expect(store, kept)
    assert store.damaged_rows == 1


@pytest.mark.parametrize("seed", range(6))
def test_no_flipped_bit_ever_gives_a_wrong_vector(tmp_path: Path, store: VectorStore, seed: int) -> None:
    kept = names(range(400))
    store.put(kept, vectors_of(kept))
    store.close()
    path = database(tmp_path)
    before = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for position in random.integers(0, len(before), 60):
        before[position] ^= 1 << int(random.integers(8))
    path.write_bytes(before)
    rotten = VectorStore(str(tmp_path), "test", DIMENSIONS)
    found, vectors = rotten.get(kept)
    np.testing.assert_array_equal(vectors, vectors_of(found).astype(np.float16))
    assert len(found) < len(kept)
    rotten.put(kept, vectors_of(kept))
    rotten.close()


@pytest.mark.parametrize("damage", ["no database", "cut short", "zeros in the middle"])
def test_an_unreadable_database_is_moved_aside(
    tmp_path: Path, store: VectorStore, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    kept = names(range(3_000))
    store.put(kept, vectors_of(kept))
    store.close()
    path = database(tmp_path)
    if damage == "no database":
        path.write_bytes(b"this was a database once\n" * 1000)
    elif damage == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    else:
        with path.open("r+b") as handle:
            handle.seek(8192)
            handle.write(bytes(path.stat().st_size - 8192))
    with caplog.at_level(logging.WARNING):
        fresh = VectorStore(str(tmp_path), "test", DIMENSIONS)
        fresh.get(kept)
    fresh.put(kept, vectors_of(kept))
    expect(fresh, kept)
    assert fresh.moved_aside.startswith(f"{path}.damaged-")
    assert Path(fresh.moved_aside).exists()
    assert str(path) in caplog.text
    assert "computed again" in caplog.text
    assert database(tmp_path).name == "vectors-2.db"
    fresh.close()


def test_only_the_latest_damaged_database_is_kept(tmp_path: Path, store: VectorStore) -> None:
    store.close()
    for _ in range(3):
        database(tmp_path).write_bytes(b"broken" * 5000)
        VectorStore(str(tmp_path), "test", DIMENSIONS).close()
    left = sorted(path.name.split(".damaged")[0] for path in (tmp_path / "test").glob("vectors-*"))
    assert left == ["vectors-3.db", "vectors-4.db"]


def test_others_follow_when_one_has_moved_the_database_aside(tmp_path: Path, store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    other = VectorStore(str(tmp_path), "test", DIMENSIONS)
    other._database.run(lambda connection: None)
    other._database._move_aside("broken for the test.")
    other.put([name(2)], vectors_of([name(2)]))
    assert store.known(names([1, 2])) == {name(2)}
    store.put([name(3)], vectors_of([name(3)]))
    other.close()
    store.put([name(4)], vectors_of([name(4)]))
    store.close()
    assert rows_of(database(tmp_path)) == 3


def test_an_emptied_folder_is_begun_anew(tmp_path: Path, store: VectorStore) -> None:
    store.put([name(1)], vectors_of([name(1)]))
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    (tmp_path / "test").rmdir()
    store.put([name(2)], vectors_of([name(2)]))
    expect(store, [name(2)])


# ---- several at once -------------------------------------------------------------------------------------


def test_processes_that_put_at_once_lose_nothing(tmp_path: Path) -> None:
    # Overlapping on purpose, and the store does not exist when they start.
    ranges = [(0, 600), (300, 900), (600, 1200), (0, 1200)]
    processes = [start_putting(tmp_path, *bounds) for bounds in ranges]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * len(ranges)
    store = VectorStore(str(tmp_path), "test", DIMENSIONS)
    assert store.count() == 1200
    expect(store, names(range(1200)))
    store.close()


@pytest.mark.parametrize("kill_after", [0, 200, 1_000])
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path, kill_after: int) -> None:
    process = start_putting(tmp_path, 0, 10_000_000)
    assert process.stdout is not None
    acknowledged = 0
    while acknowledged < kill_after:
        acknowledged = int(process.stdout.readline())
    while not (tmp_path / "test").exists():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    acknowledged = max([acknowledged, *(int(line) for line in rest.splitlines())])
    store = VectorStore(str(tmp_path), "test", DIMENSIONS)
    expect(store, names(range(acknowledged)))
    assert store.count() % 50 == 0
    store.put([name(-1)], vectors_of([name(-1)]))
    store.close()
    assert rows_of(database(tmp_path)) >= acknowledged


def test_threads_share_a_store(store: VectorStore) -> None:
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for start in range(part * 1_000, part * 1_000 + 1_000, 100):
                mine = names(range(start, start + 100))
                store.put(mine, vectors_of(mine))
                expect(store, mine)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.count() == 4_000


def test_a_writer_that_never_ends_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_database, "_BUSY_TIMEOUT_S", 0.1)
    store = VectorStore(str(tmp_path), "test", DIMENSIONS)
    other = sqlite3.connect(database(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError, match="busy"):
        store.put([name(1)], vectors_of([name(1)]))
    assert store.known([name(1)]) == set()
    other.execute("ROLLBACK")
    other.close()
    store.put([name(1)], vectors_of([name(1)]))
    store.close()


def test_a_store_that_could_not_be_begun_is_not_damaged(tmp_path: Path) -> None:
    store = VectorStore(str(tmp_path), "test", DIMENSIONS)
    begun = database(tmp_path)
    store.close()
    for path in begun.parent.glob("*.db*"):
        path.unlink()
    begun.touch(0o600)
    assert check_store(str(begun.parent)) == (0, 0, "")
    store = VectorStore(str(tmp_path), "test", DIMENSIONS)
    store.put([name(1)], vectors_of([name(1)]))
    assert check_store(str(begun.parent)) == (1, 0, "")
    store.close()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, store: VectorStore) -> None:
    kept = names(range(100))
    store.put(kept, vectors_of(kept))
    pages = store._rows("PRAGMA page_count")[0][0]
    store._rows(f"PRAGMA max_page_count = {pages}")
    more = names(range(100, 4_000))
    with pytest.raises(DiskFull, match=r"vectors-1\.db"):
        store.put(more, vectors_of(more))
    expect(store, kept)
    store._rows("PRAGMA max_page_count = 1000000")
    store.put(more, vectors_of(more))
    expect(store, more)
