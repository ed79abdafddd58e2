"""The project's LanceDB tables.

`chunks` holds one row per chunk with its text and words (full-text index over `words`); `vectors` holds one row per
distinct chunk content with its embedding. They are apart so that an arriving vector does not rewrite text rows and
so un-index their words (docs/decisions/0002-vectors-beside-chunks.md).

One writer at a time (the project's lock); readers refresh with `refresh`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gardener.index.lance_tables import CHUNKS
from gardener.index.vector_tables import VectorTables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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


class IndexTable(VectorTables):
    """All tables of one project's index."""

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
                    done = True
            if done:
                self._connect_anew()
            return done

    def burden(self) -> float:
        """How near the chunks are to their compaction; above 1 the next update does it."""
        with self._lock:
            return self._burden(CHUNKS, self._open(CHUNKS))

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

    # ---- the whole -----------------------------------------------------------------------------------

    def destroy(self) -> None:
        """Removes all tables from where they lie."""
        with self._lock:
            for name in [*self.chunk_tables(), *self.vector_tables()]:
                self.remove_table(name)
            self.close()
