"""The embeddings of one project: a table for each embedder, one row for each distinct content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gardener.index.lance_tables import LanceTables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VECTORS = "vectors-"
"""Prefix of the vector tables' names; the embedder's fingerprint follows."""
VECTOR_ROWS = 4_096
"""The same for vectors: 3 MB at a time."""


class VectorTables(LanceTables):
    """What `IndexTable` knows of vectors."""

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
