"""The project's LanceDB tables, and the only module that imports lancedb.

`chunks` holds one row per chunk with its text and words (full-text index over `words`); `vectors` holds one row per
distinct chunk content with its embedding. They are apart so that an arriving vector does not rewrite text rows and
so un-index their words (docs/decisions/0002-vectors-beside-chunks.md).

One writer at a time (the project's lock); readers refresh with `refresh`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gardener.errors import DiskFull, GardenerError, IndexDamaged, StorageUnreachable
from gardener.index.facts import summary
from gardener.index.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNKS = "chunks"
VECTORS = "vectors-"
"""Prefix of the vector tables' names; the embedder's fingerprint follows."""

FRAGMENT_LIMIT = 40
"""Fragments before a compaction."""
UNINDEXED_LIMIT = 400
"""Rows that the full-text index does not cover before a compaction: each query reads them all, about 3 ms for 1,000
(benchmarks/growth.py)."""
VERSION_LIMIT = 200
"""Versions before a compaction: each edit of one file leaves about 50 kB that nobody needs any more."""
URGENT = 2
"""Times the limits: from there on even a search that catches up compacts first."""
RETENTION = timedelta(milliseconds=1)
"""Age from which versions go in a compaction: every one but the newest. A reader that meets a version which is gone
reads the newest and asks again (Searcher.search); keeping versions would keep a whole copy of the table each."""


COLUMNS = (
    "path",
    "start_line",
    "end_line",
    "language",
    "kind",
    "symbol",
    "signature",
    "docstring",
    "text",
    "words",
    "hash",
    "file_sha256",
)
"""Columns of `chunks`. `hash` is the content address of the embedding text."""

ChunkRow = tuple[str, int, int, str, str, str, str, str, str, str, str, str]
"""One row, in the order of COLUMNS. A plain tuple: a named one takes six times as long to receive from a worker."""

PATHS_PER_COMMIT = 500
"""Bounds the length of a filter; a larger change is several commits, each of whole files."""

IDENTITY = "gardener.identity"
"""Key of the chunks table's schema metadata."""

SCAN_ROWS = 65_536
"""Rows per batch of a scan. LanceDB's own 1,024 costs seven times as much for a narrow column: each batch is a trip
between threads (48,000 row ids: 17 ms against 2.3 ms)."""
VECTOR_ROWS = 4_096
"""The same for vectors: 3 MB at a time."""

META_COLUMNS = ("path", "start_line", "end_line", "language", "kind", "symbol", "signature", "hash")
HIT_COLUMNS = (*META_COLUMNS, "docstring", "text", "file_sha256")


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Row ids (uint64) and BM25 scores (float32), best first; both of shape (n,)."""

    row_ids: NDArray[np.uint64]
    scores: NDArray[np.float32]


def quote(value: str) -> str:
    """A string literal for a LanceDB filter (DataFusion SQL): quotes doubled, so that no path can end it."""
    return "'" + value.replace("'", "''") + "'"


def _lancedb() -> Any:
    if "lancedb" not in sys.modules:
        # LanceDB writes its own warnings to stderr, where they would look like ours; its errors we report ourselves.
        os.environ.setdefault("LANCEDB_LOG", "error")
        _defer_rest_client()
    import lancedb

    return lancedb


def _defer_rest_client() -> None:
    """Half of LanceDB's import is a generated client for its cloud catalogue, which a local table never calls.

    Its package is entered here without running its __init__, which runs after all if anything asks for a name in it.
    Import of lancedb: 1.55 s before, 0.80 s with this (docs/decisions/0004-lancedb-import.md).
    """
    name = "lance_namespace_urllib3_client"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return
    package = importlib.util.module_from_spec(spec)

    def load_on_demand(attribute: str) -> Any:
        del package.__dict__["__getattr__"]
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = load_on_demand
    sys.modules[name] = package


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.string()),
            ("start_line", pa.int32()),
            ("end_line", pa.int32()),
            ("language", pa.string()),
            ("kind", pa.string()),
            ("symbol", pa.string()),
            ("signature", pa.string()),
            ("docstring", pa.string()),
            ("text", pa.string()),
            ("words", pa.string()),
            ("hash", pa.string()),
            ("file_sha256", pa.string()),
        ]
    )


def arrow_table(rows: Sequence[ChunkRow]) -> Any:
    """The rows as an Arrow table with the schema of `chunks`."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    schema = _schema()
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


class IndexTable:
    """The tables of one project's index, in `directory`. Thread-safe: one lock around the handles."""

    def __init__(
        self,
        directory: str,
        *,
        repair: str = "gardener index --rebuild",
        storage: Storage | None = None,
        current: Callable[[], str] | None = None,
    ) -> None:
        """`repair` is the command that errors name. `storage` is where the tables lie, if not in `directory`.

        `current` names the table of chunks that counts; the manifest says which, so that a new one can be built
        beside it and take its place in the manifest's transaction.
        """
        self.directory = directory
        self.repair = repair
        self.storage = storage or Storage(directory)
        self._current = current or (lambda: summary(directory).get("chunks_table", ""))
        self._lock = threading.RLock()
        self._database: Any = None
        self._tables: dict[str, Any] = {}
        self._opened = ""
        """Name under which the handle at CHUNKS was opened."""

    # ---- opening -------------------------------------------------------------------------------------

    def reader(self) -> IndexTable:
        """The same tables through handles and a lock of their own: it never waits for what this one writes."""
        with self._lock:
            other = IndexTable(self.directory, repair=self.repair, storage=self.storage, current=self._current)
            other._database = self._connect()  # shared, because the caches hang on it
            return other

    def view(self) -> IndexTable:
        """A reader of the chunks as they are now, whatever is committed later; the vectors it shows are the newest.

        Never call `refresh` on it. A compaction may take away what it reads: the caller then takes a new view.
        """
        with self._lock:
            other = self.reader()
            other._open(CHUNKS)
            return other

    @property
    def chunks_table(self) -> str:
        """Name of the table of chunks that counts."""
        return self._current() or CHUNKS

    def exists(self) -> bool:
        with self._lock:
            return bool(self._call(self.storage.exists, self.chunks_table, self._connect))

    def chunk_tables(self) -> list[str]:
        """Names of all tables of chunks: the one that counts, a former one, one that was never finished."""
        with self._lock:
            names = self._call(self.storage.names, self._connect)
        return [name for name in names if name == CHUNKS or name.startswith(CHUNKS + "-")]

    def free_name(self) -> str:
        """A name for a table of chunks that no table has or had."""
        taken = {*self.chunk_tables(), self._current()}
        if CHUNKS not in taken and not self._current():
            return CHUNKS
        numbers = [int(name.rpartition("-")[2]) for name in taken if name.rpartition("-")[2].isdecimal()]
        return f"{CHUNKS}-{max(numbers, default=1) + 1}"

    def remove_table(self, name: str) -> None:
        """Deletes a table by name, readable or not."""
        with self._lock:
            self._tables.pop(name, None)
            self._call(self.storage.remove, name, self._connect)

    def warm_up(self) -> None:
        """Imports LanceDB, for a caller that has idle time before it needs the table."""
        _lancedb()

    def _connect(self) -> Any:
        if self._database is None:
            options = self.storage.options()
            self._database = self._call(_lancedb().connect, self.storage.location, storage_options=options or None)
        return self._database

    def _open(self, name: str) -> Any:
        with self._lock:
            if name not in self._tables:
                real = name
                if name == CHUNKS:
                    real = self._opened = self.chunks_table
                self._tables[name] = self._call(self._connect().open_table, real)
            return self._tables[name]

    def _damaged(self, error: Exception) -> IndexDamaged | DiskFull | StorageUnreachable:
        text = str(error)
        unreachable = self.storage.unreachable(error)
        if unreachable is not None:
            return unreachable
        if "No space left on device" in text or "os error 28" in text:
            return DiskFull(
                f"The disk is full: the index in {self.directory} could not be written. The last good one stays.",
                next_step=f'df -h "{self.directory}"',
            )
        # LanceDB appends the place in its own source where the error arose.
        reason = text.splitlines()[0].split(", /")[0][:300] if text else type(error).__name__
        return IndexDamaged(
            f"The index in {self.storage.location} cannot be read: {reason}",
            next_step=self.repair,
        )

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Runs a LanceDB call; its errors, which have no common class, become IndexDamaged or DiskFull."""
        try:
            return function(*arguments, **options)
        except GardenerError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def refresh(self) -> None:
        """Shows what another handle or process has committed since."""
        with self._lock:
            known = self._call(self.storage.names, self._connect) if self._tables else []
            for name in list(self._tables):
                if name == CHUNKS and self._opened != self.chunks_table:
                    del self._tables[name]  # another one counts now
                elif (self._opened if name == CHUNKS else name) in known:
                    self._call(self._tables[name].checkout_latest)
                else:
                    del self._tables[name]

    def version(self) -> int:
        with self._lock:
            return int(self._call(lambda: self._open(CHUNKS).version))

    def identity(self) -> str:
        """Given when the table was made, and kept through every change: row ids of one identity are never used again.

        "" for a table that an older Gardener made.
        """
        with self._lock:
            metadata = self._call(lambda: self._open(CHUNKS).schema.metadata) or {}
        return str(metadata.get(IDENTITY.encode(), b"").decode())

    def count(self) -> int:
        with self._lock:
            return int(self._call(self._open(CHUNKS).count_rows))

    def close(self) -> None:
        with self._lock:
            self._tables.clear()
            self._database = None

    # ---- writing chunks ------------------------------------------------------------------------------

    def create(self, rows: Any, *, index_words: bool = True, name: str = CHUNKS) -> None:
        """Makes a table of chunks with the rows of an `arrow_table` and, unless told otherwise, an index of words.

        Under another `name` than that of the table that counts it is built beside it: nobody sees it yet.
        """
        with self._lock:
            if name == CHUNKS:
                self._opened = name
            rows = rows.replace_schema_metadata({IDENTITY: uuid.uuid4().hex})
            self._tables[name] = self._call(self._connect().create_table, name, rows, mode="overwrite")
            if index_words:
                self.build_words_index(name)

    def append(self, rows: Any, *, name: str = CHUNKS) -> None:
        """Adds an `arrow_table` of files that have no rows yet; `build_words_index` makes them searchable."""
        with self._lock:
            if rows.num_rows:
                self._call(self._open(name).add, rows)

    def ensure_words_index(self) -> None:
        """Builds the full-text index if a crash kept it from being built."""
        with self._lock:
            if not self._call(self._open(CHUNKS).list_indices):
                self.build_words_index()

    def build_words_index(self, name: str = CHUNKS) -> None:
        """Builds the full-text index over all rows; does nothing while there are none."""
        from lancedb.index import FTS

        table = self._open(name)
        if not self._call(table.count_rows):
            return
        config = FTS(
            # words.py has done the rest already, once per distinct identifier.
            base_tokenizer="whitespace",
            stem=False,
            remove_stop_words=False,
            with_position=False,
            ascii_folding=False,
            lower_case=False,
            max_token_length=64,
        )
        self._call(table.create_index, "words", config=config, replace=True)
        self._call(table.wait_for_index, ["words_idx"], timeout=timedelta(minutes=10))

    def replace_files(self, paths: Iterable[str], rows: Sequence[ChunkRow]) -> None:
        """Makes `rows` the only rows of `paths`.

        All rows of one file change in one Lance commit, so no reader and no crash sees half a file. New rows are
        searched at once: LanceDB scans rows that its full-text index does not cover yet.
        """
        with self._lock:
            table = self._open(CHUNKS)
            by_path: dict[str, list[ChunkRow]] = {path: [] for path in paths}
            for row in rows:
                by_path[row[0]].append(row)
            names = list(by_path)
            for start in range(0, len(names), PATHS_PER_COMMIT):
                batch = names[start : start + PATHS_PER_COMMIT]
                gone = f"path IN ({', '.join(map(quote, batch))})"
                added = [row for path in batch for row in by_path[path]]
                if not added:
                    self._call(table.delete, gone)
                    continue
                merge = (
                    table.merge_insert(["path", "start_line"])
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .when_not_matched_by_source_delete(gone)
                )
                self._call(merge.execute, arrow_table(added))
            if rows and not self._call(table.list_indices):
                self.build_words_index()

    def file_hashes(self) -> dict[str, str]:
        """What the rows say was indexed: path to SHA-256 of the file's bytes."""
        with self._lock:
            found = self._scan(CHUNKS, ["path", "file_sha256"])
        return dict(zip(found["path"].to_pylist(), found["file_sha256"].to_pylist(), strict=True))

    def compact_if_needed(
        self, *, force: bool = False, vectors_only: bool = False, patient: bool = False, alone: bool = False
    ) -> bool:
        """Merges small fragments, folds new rows into the full-text index, drops old versions.

        `vectors_only` leaves the chunks alone: the caller holds the lock on vectors and not the one on chunks.
        `patient` is for somebody who waits: nothing is done before it is urgent. `alone` says that the caller holds
        both locks: what a killed writer left behind is then removed too.
        """
        with self._lock:
            done = False
            for name in self.vector_tables() if vectors_only else [CHUNKS]:
                table = self._open(name)
                if force or self._burden(name, table) > (URGENT if patient else 1):
                    self._call(table.optimize, cleanup_older_than=RETENTION, delete_unverified=alone)
                    self._call(table.checkout_latest)
                    done = True
            return done

    def live_bytes(self) -> int:
        """Bytes of the chunks as LanceDB counts those that are not deleted or replaced."""
        with self._lock:
            return int(self._call(self._open(CHUNKS).stats)["total_bytes"])

    def _burden(self, name: str, table: Any) -> float:
        """How near a table is to its compaction; above 1 it is due."""
        fragments = int(self._call(table.stats)["fragment_stats"]["num_fragments"])
        versions = int(self._call(self.storage.versions, self._opened if name == CHUNKS else name, table))
        unindexed = 0
        if name == CHUNKS and self._call(table.list_indices):
            unindexed = int(self._call(table.index_stats, "words_idx").num_unindexed_rows)
        return max(fragments / FRAGMENT_LIMIT, versions / VERSION_LIMIT, unindexed / UNINDEXED_LIMIT)

    # ---- reading chunks ------------------------------------------------------------------------------

    def _scan(self, name: str, columns: Sequence[str]) -> Any:
        """All rows' values of these columns as an Arrow table, in no set order."""
        query = self._open(name).search().select(list(columns)).limit(2**31 - 1)
        return self._call(lambda: query.to_batches(batch_size=SCAN_ROWS).read_all())

    def hashes(self) -> set[str]:
        """The content addresses of all rows."""
        with self._lock:
            return set(self._scan(CHUNKS, ["hash"])["hash"].to_pylist())

    def meta(self, row_ids: Sequence[int] | None = None) -> Any:
        """`META_COLUMNS` and `_rowid` of all rows, or of those with these ids, as one Arrow table in no set order."""
        with self._lock:
            if row_ids is not None:
                taken = self._open(CHUNKS).take_row_ids(list(row_ids)).select(list(META_COLUMNS))
                return self._call(taken.with_row_id().to_arrow)
            return self._scan(CHUNKS, [*META_COLUMNS, "_rowid"]).combine_chunks()

    def row_ids(self) -> NDArray[np.uint64]:
        """The ids of all rows, ascending. An updated row has a new id, and so has every row after a compaction."""
        import numpy as np

        with self._lock:
            found = self._scan(CHUNKS, ["_rowid"])["_rowid"].to_numpy()
        return np.sort(found.astype(np.uint64, copy=False))

    def texts(self, paths: Sequence[str]) -> dict[str, str]:
        """The indexed text of these files, put together from their chunks; files without rows are left out."""
        if not paths:
            return {}
        with self._lock:
            listed = ", ".join(quote(path) for path in paths)
            query = self._open(CHUNKS).search().where(f"path IN ({listed})").select(["path", "start_line", "text"])
            rows = self._call(query.limit(2**31 - 1).to_arrow).to_pylist()
        found: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: (row["path"], row["start_line"])):
            found[row["path"]] = f"{found[row['path']]}\n{row['text']}" if row["path"] in found else row["text"]
        return found

    def search_words(self, words: Sequence[str], limit: int) -> LexicalHits:
        """BM25 over the words column. `words` are stems, as `words.index_words` stores them."""
        import numpy as np

        empty = LexicalHits(np.empty(0, np.uint64), np.empty(0, np.float32))
        if not words:
            return empty
        from lancedb.query import MatchQuery

        with self._lock:
            query = self._open(CHUNKS).search(MatchQuery(" ".join(words), "words"), query_type="fts")
            found = self._call(query.select(["start_line", "_score"]).with_row_id(True).limit(limit).to_arrow)
        if found.num_rows == 0:
            return empty
        return LexicalHits(
            found["_rowid"].to_numpy().astype(np.uint64, copy=False),
            found["_score"].to_numpy().astype(np.float32, copy=False),
        )

    def rows(self, row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """The rows with these ids, in this order, `HIT_COLUMNS` each. Ids of rows that are gone are left out."""
        if not row_ids:
            return []
        with self._lock:
            query = self._open(CHUNKS).take_row_ids([int(row_id) for row_id in row_ids])
            found = self._call(query.select(list(HIT_COLUMNS)).with_row_id().to_arrow).to_pylist()
        by_id = {row["_rowid"]: row for row in found}
        return [by_id[int(row_id)] for row_id in row_ids if int(row_id) in by_id]

    # ---- vectors -------------------------------------------------------------------------------------

    def vector_tables(self) -> list[str]:
        """Names of the tables of embeddings, one for each embedder."""
        return [name for name in self._call(self.storage.names, self._connect) if name.startswith(VECTORS)]

    def add_vectors(self, fingerprint: str, hashes: Sequence[str], vectors: NDArray[np.float16]) -> None:
        """Appends embeddings, float16 of shape (len(hashes), dimensions), as one commit.

        Each embedder has a table of its own, so vectors of two models can never be compared.
        """
        import pyarrow as pa

        if not hashes:
            return
        flat = pa.array(vectors.astype("float16", copy=False).reshape(-1))
        data = pa.table(
            {
                "hash": pa.array(list(hashes), pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }
        )
        name = VECTORS + fingerprint
        with self._lock:
            if name in self.vector_tables():
                self._call(self._open(name).add, data)
            else:
                self._tables[name] = self._call(self._connect().create_table, name, data)

    def has_vectors(self, fingerprint: str) -> bool:
        """Whether there is a table of this embedder's vectors."""
        return VECTORS + fingerprint in self.vector_tables()

    def vectors_version(self, fingerprint: str) -> str:
        """Changes with every commit to the embedder's table, and when the table is made anew; "" without one."""
        name = VECTORS + fingerprint
        with self._lock:
            if name not in self.vector_tables():
                return ""
            return f"{self.storage.made(name)}:{self._call(lambda: self._open(name).version)}"

    def vector_hashes(self, fingerprint: str) -> Any:
        """The content hashes that have an embedding, as an Arrow array of strings.

        The embeddings are read too, a batch at a time, and thrown away: who asks wants to know whether they are there.
        """
        import pyarrow as pa

        name = VECTORS + fingerprint
        with self._lock:
            if name not in self.vector_tables():
                return pa.array([], pa.string())
            query = self._open(name).search().select(["hash", "vector"]).limit(2**31 - 1)
            batches = self._call(lambda: [batch["hash"] for batch in query.to_batches(batch_size=VECTOR_ROWS)])
        return pa.concat_arrays(batches) if batches else pa.array([], pa.string())

    def vector_row_ids(self, fingerprint: str) -> NDArray[np.uint64]:
        """The ids of all rows of the embedder's table, ascending; none without a table."""
        import numpy as np

        name = VECTORS + fingerprint
        with self._lock:
            if name not in self.vector_tables():
                return np.empty(0, np.uint64)
            found = self._scan(name, ["_rowid"])["_rowid"].to_numpy()
        return np.sort(found.astype(np.uint64, copy=False))

    def vector_batches(
        self, fingerprint: str, row_ids: Sequence[int] | None = None
    ) -> Iterator[tuple[list[str], NDArray[np.float16]]]:
        """The stored embeddings, or those with these row ids, portion by portion: content hashes and a float16 array
        of shape (n, dimensions)."""
        import numpy as np

        name = VECTORS + fingerprint
        with self._lock:
            if name not in self.vector_tables():
                return
            table = self._open(name)
        columns = ["hash", "vector"]
        if row_ids is not None:
            batches = iter(self._call(table.take_row_ids(list(row_ids)).select(columns).to_arrow).to_batches())
        else:
            query = table.search().select(columns).limit(2**31 - 1)
            batches = self._call(lambda: iter(query.to_batches(batch_size=VECTOR_ROWS)))
        while (batch := self._call(next, batches, None)) is not None:
            column = batch["vector"]
            matrix = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float16)
            yield batch["hash"].to_pylist(), matrix.reshape(-1, column.type.list_size)

    def vectors(self, fingerprint: str) -> tuple[list[str], NDArray[np.float16]] | None:
        """Every stored embedding at once; None without any."""
        import numpy as np

        batches = [batch for batch in self.vector_batches(fingerprint) if batch[0]]
        if not batches:
            return None
        return [name for names, _ in batches for name in names], np.concatenate([matrix for _, matrix in batches])

    def drop_vectors(self, *, keep: str = "") -> None:
        """Forgets the embeddings of all embedders but `keep`; they come back from the shared store or the model."""
        with self._lock:
            for name in self.vector_tables():
                if name != VECTORS + keep:
                    self._tables.pop(name, None)
                    self._call(self._connect().drop_table, name)

    def destroy_vectors(self, fingerprint: str) -> None:
        """Removes the embedder's table from the disk, readable or not."""
        with self._lock:
            self.remove_table(VECTORS + fingerprint)

    def retain_vectors(self, fingerprint: str, hashes: Iterable[str]) -> int:
        """Rewrites the embedder's table with those of `hashes` only, each once. Returns how many rows went."""
        import numpy as np

        stored = self.vectors(fingerprint)
        if stored is None:
            return 0
        names, matrix = stored
        wanted = set(hashes)
        position = {name: row for row, name in enumerate(names) if name in wanted}
        keep = np.fromiter(position.values(), np.int64, len(position))
        with self._lock:
            self._tables.pop(VECTORS + fingerprint, None)
            self._call(self._connect().drop_table, VECTORS + fingerprint)
            self.add_vectors(fingerprint, list(position), matrix[keep])
        return len(names) - len(position)

    # ---- the whole -----------------------------------------------------------------------------------

    def destroy(self) -> None:
        """Removes all tables from where they lie."""
        with self._lock:
            for name in [*self.chunk_tables(), *self.vector_tables()]:
                self.remove_table(name)
            self.close()
