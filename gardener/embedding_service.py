"""The embedder and the shared vector store of one home: loaded when first needed, shared by all projects."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.paths import Paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.search import QueryEmbedder
    from gardener.index.vectors import VectorStore
    from gardener.models.base import Embedder

DIMENSIONS = 384
"""Of all-MiniLM-L6-v2, the packaged embedder."""


class EmbeddingService:
    """Thread-safe. Failing once is remembered: a missing model is not looked for again at every query."""

    def __init__(self, paths: Paths, *, threads: int | None = None) -> None:
        self._paths = paths
        self._threads = threads
        self._lock = threading.RLock()
        self._embedder: Embedder | None = None
        self._store: VectorStore | None = None
        self._problem: GardenerError | None = None
        self._fingerprint = ""

    @property
    def fingerprint(self) -> str:
        """The embedder's fingerprint, without loading it."""
        with self._lock:
            if not self._fingerprint:
                from gardener.models.embeddings import packaged_fingerprint

                self._fingerprint = packaged_fingerprint()
            return self._fingerprint

    def embedder(self) -> Embedder:
        """Raises EmbedderUnavailable or ModelDamaged, the same error again until the process ends."""
        with self._lock:
            if self._problem is not None:
                raise self._problem
            if self._embedder is None:
                from gardener.models.embeddings import load_embedder

                try:
                    self._embedder = load_embedder(self._paths.models, threads=self._threads)
                except GardenerError as error:
                    self._problem = error
                    raise
            return self._embedder

    def unload(self) -> None:
        """Gives the model's memory back; whoever needs it next loads it again (0.2 s). Those at work finish."""
        with self._lock:
            self._embedder = None

    def problem(self) -> str:
        """Why there can be no vectors; "" when the embedder's files are there and whole. Loads no model."""
        from gardener.models.embeddings import check_embedder

        try:
            check_embedder(self._paths.models)
        except GardenerError as error:
            return error.message
        return ""

    def has_store(self) -> bool:
        import os

        return os.path.isdir(self._paths.embeddings)

    def store(self) -> VectorStore:
        with self._lock:
            if self._store is None:
                from gardener.index.vectors import VectorStore

                self._store = VectorStore(self._paths.embeddings, self.fingerprint, DIMENSIONS)
            return self._store

    def for_queries(self, *, prepare: bool) -> QueryEmbedder:
        """What searches use. It gives no vectors, and says why, when the embedder cannot be had.

        The first use on a machine takes two seconds to prepare the embedder. With `prepare` a query waits for that;
        without, it goes by words and symbols until somebody else (the background process, the app) has done it.
        """
        from gardener.index.search import QueryEmbedder
        from gardener.models.embeddings import is_prepared

        query_embedder = QueryEmbedder(self.fingerprint, lambda _: None, self.store)

        def embed(texts: Sequence[str]) -> NDArray[np.float32] | None:
            if self._embedder is None and not prepare and not is_prepared(self._paths.models):
                query_embedder.problem = "the embedder is still being prepared in the background."
                return None
            try:
                return self.embedder().embed(texts)
            except GardenerError as error:
                query_embedder.problem = error.message
                return None

        query_embedder.embed = embed
        return query_embedder

    def close(self) -> None:
        with self._lock:
            if self._embedder is not None:
                self._embedder.close()
                self._embedder = None
            if self._store is not None:
                self._store.close()
                self._store = None
