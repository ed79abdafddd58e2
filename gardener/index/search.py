"""One question to one project's index: words, vectors and symbol names, fused, checked against the disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gardener.errors import DiskFull, IndexDamaged, LockedError, UsageError
from gardener.index.prepare import embedding_text
from gardener.index.rank import DEFAULT_WEIGHTS, Candidates, RankWeights, fuse, named_symbols
from gardener.index.snapshot import Snapshot
from gardener.index.table import IndexTable
from gardener.index.vectors import VectorStore
from gardener.index.words import QUERY_CHARACTERS, query_words, stem
from gardener.types import HitSource, IndexState, ProjectContext, SearchHit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.manifest import FileRecord

_Result = TypeVar("_Result")

LEXICAL_CANDIDATES = 200
VECTOR_CANDIDATES = 100
SYMBOL_CANDIDATES = 50
ON_DEMAND_CANDIDATES = 50
"""Best lexical candidates that get vectors while one waits: on Django re-ranking 50 gave MRR@10 0.503, 100 0.510."""
ON_DEMAND_BATCH = 8
FILTERED_CANDIDATES = 5000
"""Lexical candidates when a filter will remove most of them."""
QUERY_LIMIT = 100_000
"""Characters; a longer query is refused rather than silently cut."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to look for and where. `path_glob` is a folder, file or glob; `symbol` an exact name, or its last part."""

    query: str
    limit: int = 10
    languages: tuple[str, ...] = ()
    path_glob: str = ""
    symbol: str = ""
    no_tests: bool = False
    words_only: bool = False
    """Leave vectors out, to see what words and names find alone."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits best first, how fresh the index is, and what the user should know about how they were found."""

    hits: tuple[SearchHit, ...]
    index: IndexState
    notes: tuple[str, ...] = ()
    timings_ms: tuple[tuple[str, float], ...] = ()

    def with_note(self, note: str) -> SearchResult:
        """The same with one more note, first."""
        return SearchResult(self.hits, self.index, (note, *self.notes), self.timings_ms)

    def with_watching(self, watching: str) -> SearchResult:
        """The same, saying how the index is kept fresh between searches."""
        from dataclasses import replace

        return replace(self, index=replace(self.index, watching=watching))

    def as_json(self) -> dict[str, object]:
        """The part of `gardener search --json` that depends on the index: index, hits, notes, timings."""
        return {
            "index": self.index.as_json(),
            "hits": [hit.as_json() for hit in self.hits],
            "notes": list(self.notes),
            "timings_ms": {name: round(value, 2) for name, value in self.timings_ms},
        }


class Ranking(NamedTuple):
    """Positions best first, their scores, which retrievers found each, and their cosines (NaN: no vector)."""

    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    sources: list[tuple[HitSource, ...]]
    cosine: NDArray[np.float32]


class QueryEmbedder:
    """What search needs of an embedder: its fingerprint without loading it, and vectors when it is ready.

    `embed` takes texts and gives float32 of shape (n, dimensions), `embed_query` the same for one question; both give
    None when the model cannot be had, in which case `problem` says why. `calibrated` says that its cosines mean what
    models.relevance takes them to mean.
    """

    def __init__(
        self,
        fingerprint: str,
        embed: Callable[[Sequence[str]], NDArray[np.float32] | None] = lambda _: None,
        store: Callable[[], VectorStore] | None = None,
        *,
        calibrated: bool = True,
    ) -> None:
        self.fingerprint = fingerprint
        self.embed = embed
        self.embed_query: Callable[[str], NDArray[np.float32] | None] = lambda text: self.embed([text])
        self.store = store
        self.calibrated = calibrated
        self.problem = ""


class Searcher:
    """Answers searches over one project's index. Thread-safe; holds the snapshot in memory between searches."""

    def __init__(
        self,
        context: ProjectContext,
        table: IndexTable,
        *,
        embedder: Callable[[], QueryEmbedder | None],
        files: Callable[[], Mapping[str, FileRecord]],
        redact: Callable[[str, str], str],
        on_demand_budget_ms: float = 400.0,
        weights: RankWeights = DEFAULT_WEIGHTS,
    ) -> None:
        """`files` gives the manifest's records; `redact(text, path)` is what was applied before indexing.

        Of `table` only the place is used: reading goes through handles that do not wait for its writes.
        """
        self.context = context
        self.table = table.reader()
        self._embedder = embedder
        self._files = files
        self._redact = redact
        self.on_demand_budget_ms = on_demand_budget_ms
        self.weights = weights
        self._lock = threading.RLock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The index as it is now; reads only what has changed since the last call."""
        return self._snapshot_for(self._embedder())

    def _snapshot_for(self, query_embedder: QueryEmbedder | None) -> Snapshot:
        with self._lock:
            self.table.refresh()
            fingerprint = query_embedder.fingerprint if query_embedder else ""
            if (
                self._snapshot is None
                or not self._snapshot.is_current(self.table)
                or self._snapshot.fingerprint != fingerprint
            ):
                self._snapshot = Snapshot(self.table, fingerprint, self._snapshot)
            else:
                self._snapshot.load_vectors(self.table)
            return self._snapshot

    def forget(self) -> None:
        """Frees the snapshot's memory."""
        with self._lock:
            self._snapshot = None

    def search(self, request: SearchRequest, state: IndexState) -> SearchResult:
        """The hits of a request. `state` is what is known of the index; the embedded fraction is filled in here.

        Raises UsageError for an empty or oversized query, IndexDamaged when the index cannot be read.
        """
        query = request.query.strip()
        if not query and not request.symbol:
            raise UsageError("The query is empty.", next_step='gardener search "what to look for"')
        if len(query) > QUERY_LIMIT:
            raise UsageError(
                f"The query has {len(query):,} characters; at most {QUERY_LIMIT:,} are accepted.",
                next_step='gardener search "a sentence or a symbol"',
            )
        if request.limit < 1:
            raise UsageError(f"--limit must be at least 1, not {request.limit}.", next_step="gardener search --help")
        return self._on_the_newest(lambda: self._search(request, query, state))

    def _on_the_newest(self, read: Callable[[], _Result]) -> _Result:
        """Reads once more, on a new snapshot, when a compaction took away the version that was being read."""
        try:
            return read()
        except IndexDamaged:
            self.forget()
            return read()

    def _search(self, request: SearchRequest, query: str, state: IndexState) -> SearchResult:
        from dataclasses import replace

        started = time.perf_counter()
        # One for the whole search: the project may change its embedder meanwhile, and vectors of two must not meet.
        embedder = self._embedder()
        snapshot = self._snapshot_for(embedder)
        timings = {"open": _milliseconds(started)}
        notes: list[str] = []
        words = query_words(query or request.symbol)
        if snapshot.vectors_problem:
            notes.append("The stored vectors are damaged and will be replaced: gardener index")
        if len(query) > QUERY_CHARACTERS:
            notes.append(f"Words were taken from the first {QUERY_CHARACTERS:,} characters of the query.")
        if not words:
            notes.append("The query has no words or names to look for.")
            return SearchResult((), replace(state, embedded_fraction=snapshot.embedded_fraction), tuple(notes))
        ranking = self._rank(snapshot, embedder, request, query, words, notes, timings)
        fetched = time.perf_counter()
        hits = self._hits(snapshot, embedder, ranking, request.limit, notes)
        timings["fetch"] = _milliseconds(fetched)
        state = replace(state, embedded_fraction=snapshot.embedded_fraction)  # after those made on demand
        timings["total"] = _milliseconds(started)
        return SearchResult(tuple(hits), state, tuple(notes), tuple(timings.items()))

    def at(self, places: Sequence[tuple[str, int]]) -> list[SearchHit]:
        """The chunks that hold these (path, 1-based line), each once and in this order; confirmed by the disk like any
        other result."""
        return self._on_the_newest(lambda: self._at(places))

    def _at(self, places: Sequence[tuple[str, int]]) -> list[SearchHit]:
        import numpy as np

        snapshot = self.snapshot()
        positions = list(dict.fromkeys(p for path, line in places if (p := snapshot.at(path, line)) >= 0))
        n = len(positions)
        sources: list[tuple[HitSource, ...]] = [("symbol",)] * n
        ranking = Ranking(
            np.array(positions, np.int64), np.ones(n, np.float64), sources, np.full(n, np.nan, np.float32)
        )
        return self._hits(snapshot, None, ranking, n, []) if n else []

    # ---- finding and ranking -------------------------------------------------------------------------

    def _rank(
        self,
        snapshot: Snapshot,
        embedder: QueryEmbedder | None,
        request: SearchRequest,
        query: str,
        words: Sequence[str],
        notes: list[str],
        timings: dict[str, float],
    ) -> Ranking:
        import numpy as np

        clock = time.perf_counter()
        allowed = snapshot.allowed(
            languages=request.languages,
            path_glob=request.path_glob,
            symbol=request.symbol,
            no_tests=request.no_tests,
        )
        wanted = LEXICAL_CANDIDATES if allowed is None else FILTERED_CANDIDATES
        lexical = snapshot.table.search_words([stem(word) for word in words], wanted)
        bm25 = np.zeros(snapshot.size, np.float32)
        found = snapshot.positions_of(lexical.row_ids)
        bm25[found[found >= 0]] = lexical.scores[found >= 0]
        if allowed is not None:
            bm25[~allowed] = 0.0
        by_words = np.argsort(-bm25, kind="stable")[: min(LEXICAL_CANDIDATES, int((bm25 > 0).sum()))]
        timings["lexical"] = _milliseconds(clock)

        clock = time.perf_counter()
        names = named_symbols(query or request.symbol)
        by_symbol = [p for p in snapshot.named(names) if allowed is None or allowed[p]][:SYMBOL_CANDIDATES]
        if request.symbol and allowed is not None:
            by_symbol = list(np.flatnonzero(allowed)[:SYMBOL_CANDIDATES])
        timings["symbol"] = _milliseconds(clock)

        clock = time.perf_counter()
        by_vector = np.empty(0, np.int64)
        cosine = np.full(snapshot.size, np.nan, np.float32)
        on_demand = [int(p) for p in by_words[:ON_DEMAND_CANDIDATES]] + by_symbol
        query_vector = (
            None
            if request.words_only
            else self._query_vector(snapshot, embedder, query or request.symbol, on_demand, notes)
        )
        if query_vector is not None:
            self._embed_on_demand(snapshot, embedder, on_demand, notes)
            cosine = snapshot.cosines(query_vector)
            eligible = np.where(np.isnan(cosine), -np.inf, cosine)
            if allowed is not None:
                eligible[~allowed] = -np.inf
            count = min(VECTOR_CANDIDATES, int((eligible > -np.inf).sum()))
            if count:
                by_vector = np.argpartition(-eligible, count - 1)[:count]
        timings["vector"] = _milliseconds(clock)

        clock = time.perf_counter()
        candidates = np.unique(np.concatenate([by_words, by_vector, np.asarray(by_symbol, np.int64)]).astype(np.int64))
        scores = fuse(
            Candidates(
                paths=snapshot.column("path", candidates),
                languages=snapshot.column("language", candidates),
                symbols=snapshot.column("symbol", candidates),
                kinds=snapshot.column("kind", candidates),
                signatures=snapshot.column("signature", candidates),
                bm25=bm25[candidates],
                cosine=cosine[candidates],
            ),
            query or request.symbol,
            words,
            self.weights,
        )
        # Equal scores: storage order, which is by path and line, so that ranking is stable.
        best = np.argsort(-scores, kind="stable")
        sets = (("lexical", set(by_words.tolist())), ("vector", set(by_vector.tolist())), ("symbol", set(by_symbol)))
        order = candidates[best]
        sources: list[tuple[HitSource, ...]] = [
            tuple(name for name, members in sets if int(position) in members)  # type: ignore[misc]
            for position in order
        ]
        timings["rank"] = _milliseconds(clock)
        return Ranking(order, scores[best], sources, cosine[order])

    def _query_vector(
        self,
        snapshot: Snapshot,
        embedder: QueryEmbedder | None,
        query: str,
        on_demand: Sequence[int],
        notes: list[str],
    ) -> NDArray[np.float32] | None:
        if embedder is None:
            notes.append("Vectors are switched off: results are by words and symbols.")
            return None
        if not snapshot.vectors.matrix.size and (not on_demand or self.on_demand_budget_ms <= 0):
            return None
        vectors = embedder.embed_query(query[:2000])
        if vectors is None:
            notes.append(f"No vectors: {embedder.problem}")
            return None
        vector: NDArray[np.float32] = vectors[0]
        return vector

    def _embed_on_demand(
        self, snapshot: Snapshot, embedder: QueryEmbedder | None, positions: Sequence[int], notes: list[str]
    ) -> None:
        """Gives the best lexical candidates vectors now, best first, as far as the time budget goes."""
        import numpy as np

        missing = [p for p in dict.fromkeys(positions) if snapshot.vectors.row_of[p] < 0]
        if not missing or embedder is None:
            return
        if self.on_demand_budget_ms <= 0:
            notes.append(f"{len(missing)} candidates have no vector yet (search.on_demand_vectors is off).")
            return
        deadline = time.perf_counter() + self.on_demand_budget_ms / 1000
        rows = snapshot.table.rows([int(snapshot.row_ids[p]) for p in missing])
        done: dict[str, Any] = {}
        store = None
        if embedder.store is not None:
            try:
                store = embedder.store()
                names, stored = store.get([row["hash"] for row in rows])
                done.update(zip(names, stored.astype(np.float32), strict=True))
            except (DiskFull, LockedError) as error:  # a store may have to be written to be opened
                notes.append(f"{error.message} The vectors made for this search are not kept.")
                store = None
        rows = [row for row in rows if row["hash"] not in done]
        made: dict[str, Any] = {}
        for start in range(0, len(rows), ON_DEMAND_BATCH):
            if time.perf_counter() >= deadline:
                notes.append(
                    f"Vectors are still being made: {len(rows) - start} candidates were ranked by words alone."
                )
                break
            batch = rows[start : start + ON_DEMAND_BATCH]
            vectors = embedder.embed([embedding_text(r["symbol"], r["signature"], r["text"]) for r in batch])
            if vectors is None:
                return
            made.update(zip([row["hash"] for row in batch], vectors, strict=True))
        if made and store is not None:
            try:
                store.put(list(made), np.stack(list(made.values())))
            except (DiskFull, LockedError) as error:
                notes.append(f"{error.message} The vectors made for this search are not kept.")
        done.update(made)
        if done:
            snapshot.add_vectors(list(done), np.stack(list(done.values())).astype(np.float32))

    # ---- results -------------------------------------------------------------------------------------

    def _hits(
        self,
        snapshot: Snapshot,
        embedder: QueryEmbedder | None,
        ranking: Ranking,
        limit: int,
        notes: list[str],
    ) -> list[SearchHit]:
        """The first `limit` hits that the disk still confirms."""
        order, scores, sources, cosine = ranking
        calibrated = embedder is None or embedder.calibrated
        hits: list[SearchHit] = []
        records = self._files()
        lines_of: dict[str, list[str] | None] = {}
        gone = 0
        position = 0
        while position < len(order) and len(hits) < limit:
            batch = order[position : position + limit]
            rows = {row["_rowid"]: row for row in snapshot.table.rows([int(snapshot.row_ids[p]) for p in batch])}
            for offset, chunk in enumerate(batch):
                row = rows.get(int(snapshot.row_ids[chunk]))
                if row is None or len(hits) == limit:
                    continue
                at = position + offset
                place = self._confirm(row, records, lines_of)
                if place is None:
                    gone += 1
                    continue
                hits.append(
                    SearchHit(
                        project=self.context.name,
                        path=row["path"],
                        start_line=place,
                        end_line=place + row["end_line"] - row["start_line"],
                        symbol=row["symbol"],
                        kind=row["kind"],
                        language=row["language"],
                        signature=row["signature"],
                        docstring=row["docstring"],
                        text=row["text"],
                        score=float(scores[at]),
                        sources=sources[at],
                        file_sha256=row["file_sha256"],
                        chunk_hash=row["hash"],
                        similarity=float(cosine[at]) if calibrated and cosine[at] == cosine[at] else None,
                    )
                )
            position += len(batch)
        if gone:
            notes.append(f"{gone} result(s) left out: the file has changed or is gone since it was indexed.")
        return hits

    def _confirm(
        self, row: dict[str, Any], records: Mapping[str, FileRecord], lines_of: dict[str, list[str] | None]
    ) -> int | None:
        """The line where the row's text stands on the disk now, or None when it stands nowhere in its file."""
        path = row["path"]
        start = int(row["start_line"])
        if path not in lines_of:
            lines_of[path] = self._changed_lines(path, records.get(path))
        lines = lines_of[path]
        if lines is None:
            return start
        text = row["text"].split("\n")
        if lines[start - 1 : start - 1 + len(text)] == text:
            return start
        for at in range(len(lines) - len(text) + 1):
            if lines[at] == text[0] and lines[at : at + len(text)] == text:
                return at + 1
        return None

    def _changed_lines(self, path: str, record: FileRecord | None) -> list[str] | None:
        """None when the file is as it was indexed (by size and time); else its lines now, [] when it is gone."""
        from gardener.index.classify import decode
        from gardener.index.walk import FileEntry, SkippedFile, read_file

        try:
            status = os.stat(os.path.join(self.context.root, path), follow_symlinks=False)
        except OSError:
            return []
        if record is not None and (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns):
            return None
        try:
            entry = FileEntry(path, status.st_size, status.st_mtime_ns)
            data = read_file(self.context.root, entry, 2 * max(status.st_size, 1) + 4096)
        except SkippedFile:
            return []
        return self._redact(decode(data), path).split("\n")


def _milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000
