"""Embeddings by content: computed once on this machine, shared by every project, checkout and process.

One SQLite database (WAL) per embedder fingerprint, so vectors of two models can never meet. SQLite rather
than a flat file, because several processes add at once and a kill at any point must leave it valid; measured
with 40,000 vectors of 384 dimensions: 876 bytes each, 1.2 s to add in portions of 512, 0.2 s to read them all.

SQLite notices a broken page but not a flipped bit in a vector, so each row carries a checksum; a row that
fails it is dropped and counted, and its text is embedded again.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import ModelError
from gardener.index.vectors_database import VectorDatabase, transaction
from gardener.state_connection import StateConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger("gardener.index")

READ_PORTION = 500
"""Rows looked up before the lock is given up: a waiting question gets in after a few milliseconds."""
SCAN_PORTION = 4_000
WRITE_PORTION = 2_000
SCAN_RATIO = 4
"""Reading rows in sequence costs about a fifth of looking them up, so whoever asks for a quarter of the
store is served by reading all of it."""
NORM_TOLERANCE = 1e-2
"""How far from 1 the length of a vector may be; rounding a unit vector to float16 moves it by 5e-4."""


class _Row(NamedTuple):
    key: bytes
    vector: bytes
    checksum: int


class VectorStore:
    """Vectors of one embedder by content hash. Safe to use from several threads and several processes.

    `directory` is paths.embeddings; the store lives in a folder of it named after `fingerprint`. `dimensions`
    is the length of every vector. `damaged_rows` counts the rows that this instance dropped because their
    checksum was wrong.

    Raises ModelError when the store holds vectors of another length, SchemaTooNew when a newer Gardener wrote
    it, LockedError, DiskFull or PermissionProblem when it cannot be used.
    """

    def __init__(self, directory: str, fingerprint: str, dimensions: int) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", fingerprint) or fingerprint.startswith("."):
            raise ValueError(f"an embedder fingerprint must be usable as a folder name: {fingerprint!r}")
        self.folder = os.path.join(directory, fingerprint)
        self.fingerprint = fingerprint
        self.dimensions = dimensions
        self.damaged_rows = 0
        self._database = VectorDatabase(self.folder, dimensions)
        self._database.run(lambda connection: None)

    @property
    def moved_aside(self) -> str:
        """Path of the damaged database that this instance replaced; "" when it never had to."""
        return self._database.moved_aside

    # ---- reading -----------------------------------------------------------------------------------------

    def known(self, hashes: Iterable[str]) -> set[str]:
        """Those of `hashes` (hexadecimal) that have a vector here."""
        keys = list({_key(name) for name in hashes})
        found: set[str] = set()
        for start in range(0, len(keys), READ_PORTION):
            portion = keys[start : start + READ_PORTION]
            rows = self._rows(f"SELECT hash FROM vectors WHERE hash IN ({_marks(portion)})", portion)
            found.update(row[0].hex() for row in rows)
        return found

    def get(self, hashes: Sequence[str]) -> tuple[list[str], NDArray[np.float16]]:
        """The vectors of those of `hashes` that are here, each once, in the order of `hashes`.

        Returns their hashes and a float16 array of shape (found, dimensions). Rows whose checksum is wrong
        count as not found; they are deleted, so that `put` can replace them.
        """
        import numpy as np

        names = {_key(name): name for name in hashes}
        found: dict[bytes, bytes] = {}
        damaged: list[_Row] = []
        for portion in self._portions(list(names)):
            for row in portion:
                if row.key not in names:
                    continue
                if self._is_whole(row):
                    found[row.key] = row.vector
                else:
                    damaged.append(row)
        if damaged:
            self._drop(damaged)
        present = [key for key in names if key in found]
        flat = np.frombuffer(bytearray().join([found[key] for key in present]), np.dtype("<f2"))
        return [names[key] for key in present], flat.astype(np.float16, copy=False).reshape(-1, self.dimensions)

    def count(self) -> int:
        """How many vectors are stored."""
        return int(self._rows("SELECT count(*) FROM vectors")[0][0])

    def bytes_on_disk(self) -> int:
        """Size in bytes of everything in the store's folder, a damaged database that was moved aside
        included."""
        total = 0
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # another process has just finished with its temporary file
        return total

    def _portions(self, keys: list[bytes]) -> Iterator[list[_Row]]:
        newest = self._rows("SELECT coalesce(max(rowid), 0) FROM vectors")[0][0]
        if len(keys) > READ_PORTION and len(keys) * SCAN_RATIO >= newest:
            last = 0
            while last < newest:
                rows = self._rows(
                    "SELECT rowid, hash, vector, checksum FROM vectors WHERE rowid > ? ORDER BY rowid LIMIT ?",
                    (last, SCAN_PORTION),
                )
                if not rows:
                    return
                last = rows[-1][0]
                yield [_Row(*row[1:]) for row in rows]
            return
        for start in range(0, len(keys), READ_PORTION):
            portion = keys[start : start + READ_PORTION]
            rows = self._rows(f"SELECT hash, vector, checksum FROM vectors WHERE hash IN ({_marks(portion)})", portion)
            yield [_Row(*row) for row in rows]

    # ---- writing -----------------------------------------------------------------------------------------

    def put(self, hashes: Sequence[str], vectors: NDArray[np.float32] | NDArray[np.float16]) -> None:
        """Stores vectors of shape (len(hashes), dimensions), L2-normalised; kept as float16.

        A hash that is here already keeps its vector. On return everything is on the disk. Raises ModelError
        when the shape is wrong, or a value is not finite, or a vector is not of length 1: then nothing is
        stored.
        """
        import numpy as np

        wanted = (len(hashes), self.dimensions)
        if vectors.shape != wanted:
            raise ModelError(
                f"The embedder {self.fingerprint} gave vectors of shape {vectors.shape} instead of {wanted}.",
                next_step="gardener doctor",
            )
        single = np.asarray(vectors, np.float32)
        off = np.abs(np.sqrt(np.einsum("ij,ij->i", single, single)) - 1.0)
        wrong = np.flatnonzero(~(off <= NORM_TOLERANCE))  # written so that NaN is wrong too
        if len(wrong):
            raise ModelError(
                f"The embedder {self.fingerprint} gave {len(wrong)} of {len(hashes)} vectors that are "
                "not finite or not of length 1. None was stored.",
                next_step="gardener doctor",
            )
        blobs = single.astype("<f2")
        rows: list[tuple[bytes, bytes, int]] = []
        for name, blob in zip(hashes, blobs, strict=True):
            key, vector = _key(name), blob.tobytes()
            rows.append((key, vector, _checksum(key, vector)))
        for start in range(0, len(rows), WRITE_PORTION):
            self._insert(rows[start : start + WRITE_PORTION])

    def drop_damaged(self) -> int:
        """Looks at every vector and deletes those whose checksum is wrong. Returns how many went."""
        before = self.damaged_rows
        last = 0
        while rows := self._rows(
            "SELECT rowid, hash, vector, checksum FROM vectors WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (last, SCAN_PORTION),
        ):
            last = rows[-1][0]
            if damaged := [row for row in (_Row(*found[1:]) for found in rows) if not self._is_whole(row)]:
                self._drop(damaged)
        return self.damaged_rows - before

    def retain(self, hashes: Iterable[str]) -> int:
        """Deletes every vector whose hash is not among `hashes` and gives the space back. Returns how many
        went.

        What another process stored after `hashes` were collected goes too; its project's own table still has
        it.
        """
        keys = [(_key(name),) for name in set(hashes)]

        def delete(connection: StateConnection) -> int:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (hash BLOB PRIMARY KEY) WITHOUT ROWID")
            connection.execute("DELETE FROM kept")
            try:
                with transaction(connection):
                    connection.executemany("INSERT INTO kept VALUES (?)", keys)
                    gone = connection.execute("DELETE FROM vectors WHERE hash NOT IN (SELECT hash FROM kept)").rowcount
            finally:
                connection.execute("DELETE FROM kept")
            with transaction(connection):
                free = connection.execute("PRAGMA freelist_count").fetchone()[0]
                for _ in range(free):
                    # Python's sqlite3 takes one step of this statement, and one step frees one page.
                    connection.execute("PRAGMA incremental_vacuum")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return int(gone)

        return self._database.run(delete)

    def close(self) -> None:
        """Closes the database. Calling it twice is allowed; using the store after it raises RuntimeError."""
        self._database.close()

    def _insert(self, rows: list[tuple[bytes, bytes, int]]) -> None:
        def insert(connection: StateConnection) -> None:
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO vectors VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING",
                    rows,
                )

        self._database.run(insert)

    def _drop(self, rows: list[_Row]) -> None:
        def drop(connection: StateConnection) -> None:
            with transaction(connection):
                for row in rows:
                    # Looked at once more: another process may have put a good vector there meanwhile.
                    now = connection.execute(
                        "SELECT hash, vector, checksum FROM vectors WHERE hash = ?", (row.key,)
                    ).fetchone()
                    if now is not None and not self._is_whole(_Row(*now)):
                        connection.execute("DELETE FROM vectors WHERE hash = ?", (row.key,))

        self._database.run(drop)
        self.damaged_rows += len(rows)
        _log.warning(
            "%s: %d stored vectors were damaged and have been dropped; they will be computed again.",
            self.folder,
            len(rows),
        )

    # ---- the database ------------------------------------------------------------------------------------

    def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        return self._database.run(lambda connection: connection.execute(statement, parameters).fetchall())

    def _is_whole(self, row: _Row) -> bool:
        # Bit rot in a record's header changes the type of what SQLite gives back.
        return (
            isinstance(row.vector, bytes)
            and len(row.vector) == 2 * self.dimensions
            and _checksum(row.key, row.vector) == row.checksum
        )


class StoreCheck(NamedTuple):
    """What a check of a store found; `problem` is why it could not be read to its end, "" when it could."""

    rows: int
    damaged: int
    problem: str


def check_store(folder: str) -> StoreCheck:
    """Compares every vector in a store's folder with its checksum, without changing anything."""
    rows = damaged = 0
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".db"):
            continue
        try:
            with closing(sqlite3.connect(f"file:{folder}/{name}?mode=ro", uri=True, timeout=5)) as database:
                database.text_factory = bytes
                if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                    continue  # nobody has come to write to it, as on a full disk
                for row in database.execute("SELECT hash, vector, checksum FROM vectors"):
                    rows += 1
                    damaged += not isinstance(row[1], bytes) or _checksum(row[0], row[1]) != row[2]
        except sqlite3.DatabaseError as error:
            return StoreCheck(rows, damaged, f"{name} cannot be read: {error}")
    return StoreCheck(rows, damaged, "")


def _key(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        raise ValueError(f"a content hash must be hexadecimal: {name!r}") from None


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))


def _marks(portion: Sequence[bytes]) -> str:
    return ",".join("?" * len(portion))
