"""Gives every chunk a vector in the background: most useful first, resumable, in bounded memory.

What is done is committed in portions to the shared store (by content, for every project and checkout) and to the
project's own table; a crash loses at most one portion of work and nothing of the index.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gardener.errors import IndexDamaged
from gardener.index.integrity import FileHashes
from gardener.index.prepare import content_hash, embedding_text
from gardener.index.rank import ROLE_CODE, ROLE_DATA, ROLE_PROSE, ROLE_TEST, ROLE_VENDORED, role_of
from gardener.index.snapshot import Snapshot
from gardener.index.table import IndexTable
from gardener.index.vectors import VectorStore
from gardener.locks import ProcessLock
from gardener.memory import give_back
from gardener.paths import embed_lock
from gardener.types import ProjectContext

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

PORTION = 512
"""Chunks between two commits: about four seconds of work at 130 chunks/s."""
BATCH = 16
"""Chunks between two looks at `cancel` and `pause`: about an eighth of a second, which a search may have to wait."""
PAUSE_POLL_S = 0.05
LONGEST_PAUSE_POLL_S = 1.0
"""A pause for a search ends at once; one for an empty battery must not keep the machine awake."""
REUSE_PORTION = 20_000
"""Vectors copied from the shared store at once, bounding memory to about 30 MB."""

_USEFULNESS = {ROLE_CODE: 0, ROLE_PROSE: 1, ROLE_TEST: 2, ROLE_DATA: 3, ROLE_VENDORED: 4}


class TextEmbedder(Protocol):
    """The part of models.base.Embedder that is needed here; index and models do not import each other."""

    @property
    def fingerprint(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class EmbedProgress(NamedTuple):
    """Chunks with a vector, of all distinct contents; `rate` in chunks per second, `eta_s` in seconds."""

    done: int
    total: int
    rate: float | None
    eta_s: float | None
    paused: str = ""
    """Why nothing moves just now; "" while it does."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    embedded: int
    """Chunks that went through the model."""
    reused: int
    """Vectors that the shared store already had."""
    remaining: int
    seconds: float

    def as_json(self) -> dict[str, object]:
        return {
            "embedded": self.embedded,
            "reused": self.reused,
            "remaining": self.remaining,
            "seconds": round(self.seconds, 3),
        }


def embed_missing(
    context: ProjectContext,
    table: IndexTable,
    store: VectorStore,
    embedder: Callable[[], TextEmbedder],
    fingerprint: str,
    *,
    record: Callable[[int, int], None] = lambda done, total: None,
    progress: Callable[[EmbedProgress], None] = lambda _: None,
    cancel: threading.Event | None = None,
    pause: Callable[[], str] = lambda: "",
    lock_timeout_s: float = 0.0,
) -> EmbedReport:
    """Brings vectors up to date with the chunks. `embedder` is called only if the model is really needed.

    `record(done, total)` is told after every commit how many distinct contents have a vector. `pause` is asked
    between batches: while it gives a reason, nothing is computed. Returns early, with what remains, when `cancel`
    is set. Raises LockedError while another process does this for the same project.
    """
    started = time.monotonic()
    embedded = reused = 0
    hashes = FileHashes(table.directory, table.storage)
    lock = ProcessLock(embed_lock(context.home), "gardener index --vectors-only", subject=f"'{context.name}'")
    lock.acquire(lock_timeout_s)
    try:
        stopped = rewritten = False
        while not stopped:
            table.refresh()
            snapshot = Snapshot(table, "")
            try:
                stored = table.vector_hashes(fingerprint)
            except IndexDamaged:
                table.destroy_vectors(fingerprint)
                continue
            missing = snapshot.without_vector(stored)
            total = snapshot.distinct
            record(total - len(missing), total)
            if not len(missing):
                break
            copied = _reuse(table, store, snapshot, missing, fingerprint)
            reused += copied
            if copied:
                continue
            made, stopped = _embed_snapshot(
                table, store, embedder, fingerprint, snapshot, _most_useful_first(snapshot, missing), total,
                record, progress, cancel, pause,
            )  # fmt: skip
            hashes.record(table.vector_tables())
            embedded += made
            if not made:
                break
        table.refresh()
        snapshot = Snapshot(table, "")
        stored = table.vector_hashes(fingerprint)
        remaining = len(snapshot.without_vector(stored))
        if not remaining:
            table.drop_vectors(keep=fingerprint)
            if len(stored) > 2 * max(snapshot.distinct, 1):
                table.retain_vectors(fingerprint, snapshot.meta["hash"].to_pylist())
                rewritten = True
        rewritten |= table.compact_if_needed(vectors_only=True)
        hashes.record(table.vector_tables(), pruned=rewritten)
    finally:
        lock.release()
        give_back()
    return EmbedReport(embedded, reused, remaining, time.monotonic() - started)


def _reuse(
    table: IndexTable, store: VectorStore, snapshot: Snapshot, missing: NDArray[np.int64], fingerprint: str
) -> int:
    """Copies vectors that any project has made before from the shared store. Returns how many."""
    hashes: list[str] = snapshot.column("hash", missing)
    copied = 0
    for start in range(0, len(hashes), REUSE_PORTION):
        names, vectors = store.get(hashes[start : start + REUSE_PORTION])
        table.add_vectors(fingerprint, names, vectors)
        copied += len(names)
    return copied


def _most_useful_first(snapshot: Snapshot, positions: NDArray[np.int64]) -> list[int]:
    """Code before prose, tests, data and vendored files; named chunks before nameless ones."""
    paths = snapshot.column("path", positions)
    languages = snapshot.column("language", positions)
    symbols = snapshot.column("symbol", positions)
    order = sorted(
        range(len(positions)),
        key=lambda i: (_USEFULNESS[role_of(paths[i], languages[i])], not symbols[i], paths[i].count("/"), i),
    )
    return [int(positions[i]) for i in order]


def _embed_snapshot(
    table: IndexTable,
    store: VectorStore,
    embedder: Callable[[], TextEmbedder],
    fingerprint: str,
    snapshot: Snapshot,
    positions: list[int],
    total: int,
    record: Callable[[int, int], None],
    progress: Callable[[EmbedProgress], None],
    cancel: threading.Event | None,
    pause: Callable[[], str],
) -> tuple[int, bool]:
    """Embeds these chunks portion by portion. Returns how many were made, and whether it was told to stop.

    Ends early when the table has a new version: positions may no longer hold, the caller starts afresh.
    """
    import numpy as np

    before = total - len(positions)
    begun = time.monotonic()
    made = 0
    for start in range(0, len(positions), PORTION):
        rows = _rows_by_length(table, snapshot, positions[start : start + PORTION])
        hashes: list[str] = []
        vectors: list[NDArray[np.float32]] = []
        stopped = False
        for offset in range(0, len(rows), BATCH):
            if not _may_continue(cancel, pause, progress, before + made + len(hashes), total):
                stopped = True
                break
            batch = rows[offset : offset + BATCH]
            # Asked for at every batch: while the work was paused for want of memory it may have been given up.
            vectors.append(embedder().embed([text for _, text in batch]))
            hashes.extend(name for name, _ in batch)
            elapsed = time.monotonic() - begun
            done = made + len(hashes)
            rate = done / elapsed if elapsed > 1 else None
            progress(EmbedProgress(before + done, total, rate, (len(positions) - done) / rate if rate else None))
        if hashes:
            matrix = np.concatenate(vectors)
            store.put(hashes, matrix)
            table.add_vectors(fingerprint, hashes, matrix.astype(np.float16))
            made += len(hashes)
            record(before + made, total)
        if stopped:
            return made, True
        table.refresh()
        if not snapshot.is_current(table):
            return made, False
    return made, False


def _may_continue(
    cancel: threading.Event | None,
    pause: Callable[[], str],
    progress: Callable[[EmbedProgress], None],
    done: int,
    total: int,
) -> bool:
    """Waits while there is a reason to pause; False when it is time to stop."""
    wait_s = PAUSE_POLL_S
    while True:
        if cancel is not None and cancel.is_set():
            return False
        reason = pause()
        if not reason:
            return True
        progress(EmbedProgress(done, total, None, None, reason))
        if cancel is not None:
            cancel.wait(wait_s)
        else:
            time.sleep(wait_s)
        wait_s = min(wait_s * 1.2, LONGEST_PAUSE_POLL_S)


def _rows_by_length(table: IndexTable, snapshot: Snapshot, positions: list[int]) -> list[tuple[str, str]]:
    """(hash, embedding text) of these chunks, shortest first, so that a batch is padded little.

    A row that is no longer what the snapshot says is left out: storing its vector under the old hash would poison
    the shared store.
    """
    rows: list[dict[str, Any]] = table.rows([int(snapshot.row_ids[p]) for p in positions])
    texts = [(row["hash"], embedding_text(row["symbol"], row["signature"], row["text"])) for row in rows]
    return sorted(((name, text) for name, text in texts if content_hash(text) == name), key=lambda item: len(item[1]))
