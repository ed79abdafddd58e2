"""One project's index as the app uses it: kept fresh, searched, asked for callers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gardener.errors import DiskFull, LockedError, NotFoundError
from gardener.index.index_report import Difference, IndexReport, ProgressCallback
from gardener.index.indexer import Indexer
from gardener.index.redact import redact
from gardener.index.repository_map import repository_map
from gardener.index.search import QueryEmbedder, Searcher, SearchRequest, SearchResult
from gardener.index.symbol_graph import SymbolGraph
from gardener.settings import Settings
from gardener.types import IndexState, ProjectContext, SearchHit

if TYPE_CHECKING:
    from gardener.index.manifest import FileRecord

FRESHEN_BYTES = 2_000_000
"""Changed bytes that a search brings up to date before it answers: half a second of work on the test machine."""

MOST_CALLERS = 12
"""Chunks of callers that go with an answer."""

QUICK_CHECK_S = 0.25
"""A comparison with the disk that takes less than this is made before every search (Django: about 0.1 s)."""
BUSY = 4
"""How many times longer than its processor time a comparison may take before it counts as slow."""
CHECK_SHARE = 0.1
"""Share of the time that slower comparisons may take: after one of a second the next comes ten seconds later."""


class ProjectIndex:
    """Opens lazily; thread-safe."""

    def __init__(
        self,
        context: ProjectContext,
        settings: Settings,
        *,
        query_embedder: Callable[[], QueryEmbedder | None],
        head: Callable[[], str | None],
    ) -> None:
        """`query_embedder` gives None when vectors are switched off; `head` tells the commit that is checked out."""
        self.context = context
        self.settings = settings
        self._stamp = settings.stamp()
        self._head = head
        self._lock = threading.RLock()
        self._checked_at = 0.0
        self._check_took = 0.0
        self._difference = Difference()
        self._graph: SymbolGraph | None = None
        self._map: tuple[tuple[int, int], str] | None = None
        self.indexer = Indexer(
            context,
            max_file_bytes=settings.integer("index.max_file_bytes"),
            exclude=(*settings.texts("index.exclude"), *_own_folders(context)),
            include_vendored=settings.flag("index.include_vendored"),
            workers=settings.integer("index.workers"),
            head=head,
            storage=settings.text("index.storage"),
        )
        self.searcher = Searcher(
            context,
            self.indexer.table,
            embedder=query_embedder,
            files=self._files,
            redact=lambda text, path: redact(text, path).text,
            on_demand_budget_ms=(
                settings.number("search.on_demand_budget_ms") if settings.flag("search.on_demand_vectors") else 0
            ),
        )

    def outdated(self, settings_for: Callable[[ProjectContext], Settings]) -> bool:
        """Whether settings were changed that this was opened with; two looks at the disk when no file has changed."""
        stamp = self.settings.stamp()
        if stamp == self._stamp:
            return False
        again = settings_for(self.context)
        if any(key.startswith(("index.", "search.")) for key in again.changed_keys(self.settings)):
            return True
        self.settings, self._stamp = again, stamp
        return False

    def _files(self) -> Mapping[str, FileRecord]:
        return self.indexer.manifest.files()

    # ---- freshness -----------------------------------------------------------------------------------

    def difference(self) -> Difference:
        """What differs from the disk; on a large tree a recent result is used again."""
        with self._lock:
            age = time.monotonic() - self._checked_at
            slow = self._check_took > QUICK_CHECK_S
            if self._checked_at and slow and age < self._check_took / CHECK_SHARE:
                return self._difference
            return self._compare()

    def compare(self) -> Difference:
        """What differs from the disk right now, with the walk that found it. Raises PathNotFound."""
        with self._lock:
            return self._compare()

    def _compare(self) -> Difference:
        begun, worked = time.monotonic(), time.thread_time()
        self._difference = self.indexer.pending()
        self._checked_at = time.monotonic()
        # On a busy machine the same comparison takes longer, and no search shall miss an edit for that.
        self._check_took = max(time.thread_time() - worked, (self._checked_at - begun) / BUSY)
        return self._difference

    def freshen(self) -> str:
        """Brings a small difference up to date; returns a note when the index stays behind, "" otherwise."""
        with self._lock:
            difference = self.difference()
            if not difference.files:
                return ""
            if sum(entry.size for entry, _ in difference.changed) > FRESHEN_BYTES:
                return f"{difference.files} changed files are not in the index yet: gardener index"
            try:
                self.indexer.update(known_difference=difference, patient=True)
            except LockedError:
                return f"{difference.files} changed files are being indexed by another process."
            except DiskFull:
                return f"{difference.files} changed files are not in the index yet: the disk is full."
            self._difference = Difference(unchanged=difference.unchanged + len(difference.changed))
            return ""

    def update(
        self,
        *,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
        rebuild: bool = False,
        lock_timeout_s: float = 0.0,
    ) -> IndexReport:
        """See Indexer.update; what was known of the difference is forgotten."""
        try:
            return self.indexer.update(progress=progress, cancel=cancel, rebuild=rebuild, lock_timeout_s=lock_timeout_s)
        finally:
            with self._lock:
                self._checked_at = 0.0

    def state(self) -> IndexState:
        """The index compared with the disk. Raises PathNotFound when the project's folder is gone."""
        with self._lock:
            facts = self.indexer.manifest.facts()
            difference = self._compare() if facts.get("table_version") else Difference()
            fraction = self.searcher.snapshot().embedded_fraction if facts.get("table_version") else 0.0
            return self._state(facts, difference, fraction)

    def _state(self, facts: dict[str, str], difference: Difference, embedded_fraction: float) -> IndexState:
        indexed = bool(facts.get("table_version"))
        return IndexState(
            head=facts.get("head") or None,
            fresh=indexed and difference.files == 0,
            embedded_fraction=embedded_fraction,
            files=int(facts.get("files", "0")),
            chunks=int(facts.get("chunks", "0")),
            current_head=self._head(),
            changed_files=difference.files,
            updated_at=float(facts.get("updated_at", "0")),
        )

    def _require_index(self) -> None:
        if not self.indexer.manifest.facts().get("table_version"):
            raise NotFoundError(
                f"Project '{self.context.name}' has no index yet.",
                next_step=f'gardener index --project "{self.context.name}"',
            )

    # ---- questions -----------------------------------------------------------------------------------

    def search(self, request: SearchRequest) -> SearchResult:
        """Hits, after a quick catch-up with the disk."""
        self._require_index()
        note = self.freshen()
        facts = self.indexer.manifest.facts()
        with self._lock:
            difference = self._difference
        state = self._state(facts, difference, 0.0)  # the search fills in the fraction
        result = self.searcher.search(request, state)
        return result.with_note(note) if note else result

    def get_ready(self) -> None:
        """Does ahead what the first search would wait for: snapshot, embedder, and a look at the disk.

        Raises what a search raises.
        """
        self.search(SearchRequest(query=self.context.name, limit=1))

    def symbols(self) -> SymbolGraph:
        """The symbol graph, after a quick catch-up with the disk."""
        self._require_index()
        self.freshen()
        return self._symbols_as_indexed()

    def _symbols_as_indexed(self) -> SymbolGraph:
        """Without a look at the disk: the search of the same question has just taken one."""
        self._require_index()
        self.indexer.complete_symbols()
        if self._graph is None:
            self._graph = SymbolGraph(self.indexer.symbols, self.context.name)
        return self._graph

    def map_text(self, tokens: int) -> str:
        """The repository map for a prompt, in at most about so many tokens; made anew when the symbols have changed.

        Tokens are reckoned at three characters, which is few for code, so that the prompt's own count confirms it.
        """
        graph = self._symbols_as_indexed()
        key = (graph.store.version(), tokens)
        with self._lock:
            if self._map is None or self._map[0] != key:
                self._map = key, repository_map(graph, lambda text: len(text) // 3 + 1, tokens).text
            return self._map[1]

    def callers(self, symbol: str, path: str = "") -> list[SearchHit]:
        """Chunks that call the symbol (defined in the file at `path`, if that is given), best evidence first; of the
        index as it is."""
        try:
            edges = self._symbols_as_indexed().callers(symbol, path).edges
        except NotFoundError:
            return []
        return self.searcher.at(
            [(edge.path, edge.line) for edge in edges if edge.caller is not None and edge.called][:MOST_CALLERS]
        )

    def languages(self) -> dict[str, int]:
        """Indexed files by language."""
        from collections import Counter

        records = self.indexer.manifest.files().values()
        return dict(Counter(record.language for record in records if not record.skipped))

    def skipped(self) -> list[dict[str, str]]:
        """Everything in the folder that is not indexed, with the reason: by rule, by name, by content."""
        found = [
            {"path": item.path, "reason": item.reason, "detail": item.detail}
            for item in self.indexer.walk(explain=True).skipped
        ]
        found += [
            {"path": record.path, "reason": record.skipped, "detail": ""}
            for record in self.indexer.manifest.files().values()
            if record.skipped
        ]
        return sorted(found, key=lambda item: item["path"])

    def close(self) -> None:
        self.searcher.forget()
        self.indexer.close()


def _own_folders(context: ProjectContext) -> tuple[str, ...]:
    """A pattern that leaves Gardener's own data out, should the project's folder contain it."""
    data = os.path.dirname(os.path.dirname(context.home))
    if os.path.commonpath([context.root, data]) != context.root or data == context.root:
        return ()
    return ("/" + os.path.relpath(data, context.root) + "/",)
