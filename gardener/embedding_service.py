"""The embedders and the shared vector stores of one home: loaded when first needed, shared by all projects.

The *wanted* embedder is what the settings say. A project whose vectors are another embedder's goes on being searched
with that one until all its vectors of the wanted one are there (docs/architecture.md, "Changing the embedder").
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gardener.errors import EmbedderUnavailable, GardenerError
from gardener.paths import Paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.search import QueryEmbedder
    from gardener.index.vectors import VectorStore
    from gardener.models.base import Embedder
    from gardener.models.embedder_registry import KnownEmbedder
    from gardener.models.embedder_spec import EmbedderSpec

UNKNOWN = "unknown"
"""Fingerprint of a wanted embedder that has never worked on this machine; no vectors carry it."""


class EmbeddingService:
    """Thread-safe. Failing once is remembered: a missing model is not looked for again at every query."""

    def __init__(
        self, paths: Paths, *, spec: Callable[[], EmbedderSpec] | None = None, threads: int | None = None
    ) -> None:
        """`spec` gives the wanted embedder, by default the packaged one; it may raise ConfigError."""
        from gardener.models.embedder_spec import EmbedderSpec

        self._paths = paths
        self._spec_of = spec or EmbedderSpec
        self._threads = threads
        self._lock = threading.RLock()
        self._spec: EmbedderSpec | None = None
        self._wanted: KnownEmbedder | None = None
        self._loaded: dict[str, Embedder] = {}
        self._stores: dict[str, VectorStore] = {}
        self._problems: dict[str, GardenerError] = {}

    # ---- which embedder ------------------------------------------------------------------------------

    @property
    def spec(self) -> EmbedderSpec:
        """The wanted embedder as the settings say. Raises ConfigError."""
        with self._lock:
            if self._spec is None:
                self._spec = self._spec_of()
            return self._spec

    @property
    def fingerprint(self) -> str:
        """The wanted embedder's, without loading it if it has been loaded on this machine before; else it is loaded.

        UNKNOWN when it cannot be had: `problem` says why.
        """
        with self._lock:
            if self._wanted is None:
                from gardener.models.embedder_registry import fingerprint_of

                try:
                    self._wanted = fingerprint_of(self.spec, self._paths.models)
                    if self._wanted is None:
                        self.embedder()
                except GardenerError as error:
                    self._problems[UNKNOWN] = error
            return self._wanted.fingerprint if self._wanted else UNKNOWN

    def known(self, fingerprint: str) -> KnownEmbedder | None:
        """The embedder with this fingerprint, if it has worked on this machine."""
        from gardener.models.embedder_registry import known

        return known(self._paths.models).get(fingerprint)

    def serving(self, vectors_of: str, has_vectors: Callable[[str], bool]) -> str:
        """With whose vectors a project is searched: the wanted embedder's, unless another's are all there is.

        `vectors_of` is the embedder whose vectors were last complete for the project ("" before there was a choice,
        which means the packaged one); `has_vectors(fingerprint)` tells whether the project has any of an embedder.
        """
        from gardener.models.embedder_registry import packaged

        wanted = self.fingerprint
        before = vectors_of or packaged().fingerprint
        if before != wanted and self.known(before) is not None and has_vectors(before):
            return before
        return wanted

    def finished(self, facts: Mapping[str, str]) -> bool:
        """Whether an index with these facts has every vector of the wanted embedder."""
        from gardener.models.embedder_registry import packaged

        made_by = facts.get("vectors_of") or packaged().fingerprint
        return facts.get("vectors_complete") == "1" and made_by == self.fingerprint

    # ---- models --------------------------------------------------------------------------------------

    def embedder(self, fingerprint: str = "") -> Embedder:
        """The wanted embedder, or the one with this fingerprint. Raises EmbedderUnavailable, ModelDamaged or
        ConfigError, the same error again until the process ends."""
        from gardener.models.embedder_registry import KnownEmbedder, load

        with self._lock:
            # Until it has been loaded once, the wanted one's fingerprint is not known.
            known = self._wanted if not fingerprint else self.known(fingerprint)
            if known is None and fingerprint:
                raise EmbedderUnavailable(
                    f"The embedder {fingerprint} is not known on this machine any more.", next_step="gardener embedder"
                )
            key = known.fingerprint if known else UNKNOWN
            if key in self._problems:
                raise self._problems[key]
            if key not in self._loaded:
                try:
                    made = load(known.spec if known else self.spec, self._paths.models, threads=self._threads)
                except GardenerError as error:
                    self._problems[key] = error
                    raise
                if known is None or not fingerprint:
                    self._wanted = KnownEmbedder(self.spec, made.fingerprint, made.dimensions)
                elif made.fingerprint != fingerprint:
                    # The model has changed since: its vectors must not be compared with those that are stored.
                    made.close()
                    self._problems[key] = EmbedderUnavailable(
                        f"The model {known.spec.text} is not the one that made the stored vectors.",
                        next_step="gardener index --wait",
                    )
                    raise self._problems[key]
                key = made.fingerprint
                self._loaded[key] = made
            return self._loaded[key]

    def unload(self) -> None:
        """Gives the models' memory back; whoever needs one next loads it again. Those at work finish."""
        with self._lock:
            self._loaded.clear()

    def problem(self) -> str:
        """Why there can be no vectors of the wanted embedder; "" when nothing is known to be wrong. Loads no model."""
        from gardener.models.embedder_spec import PACKAGED

        try:
            if self.spec.kind != PACKAGED:
                if self.fingerprint == UNKNOWN:
                    return self._problems[UNKNOWN].message
                known = self._problems.get(self.fingerprint)
                return known.message if known else ""
            from gardener.models.embeddings import check_embedder

            check_embedder(self._paths.models)
        except GardenerError as error:
            return error.message
        return ""

    # ---- vectors -------------------------------------------------------------------------------------

    def has_store(self) -> bool:
        return os.path.isdir(self._paths.embeddings)

    def store(self, fingerprint: str = "") -> VectorStore:
        """The shared store of the wanted embedder, or of the one with this fingerprint."""
        with self._lock:
            key = fingerprint or self.fingerprint
            if key not in self._stores:
                from gardener.index.vectors import VectorStore

                known = self.known(key)
                if known is None:
                    raise self._problems.get(UNKNOWN) or EmbedderUnavailable(
                        f"The embedder {key} is not known on this machine.", next_step="gardener embedder"
                    )
                self._stores[key] = VectorStore(self._paths.embeddings, key, known.dimensions)
            return self._stores[key]

    def for_queries(self, *, prepare: bool, fingerprint: str = "") -> QueryEmbedder:
        """What searches use. It gives no vectors, and says why, when the embedder cannot be had.

        The first use on a machine takes two seconds to prepare the packaged embedder. With `prepare` a query waits for
        that; without, it goes by words and symbols until somebody else (the background process, the app) has done it.
        """
        from gardener.index.search import QueryEmbedder
        from gardener.models.embedder_registry import packaged
        from gardener.models.embeddings import is_prepared

        key = fingerprint or self.fingerprint
        is_packaged = key == packaged().fingerprint
        query_embedder = QueryEmbedder(key, store=lambda: self.store(key), calibrated=is_packaged)

        def having(embed: Callable[[Embedder], NDArray[np.float32]]) -> NDArray[np.float32] | None:
            if is_packaged and key not in self._loaded and not prepare and not is_prepared(self._paths.models):
                query_embedder.problem = "the embedder is still being prepared in the background."
                return None
            try:
                return embed(self.embedder(key if key != UNKNOWN else ""))
            except GardenerError as error:
                query_embedder.problem = error.message
                return None

        def embed(texts: Sequence[str]) -> NDArray[np.float32] | None:
            return having(lambda embedder: embedder.embed(texts))

        def embed_query(text: str) -> NDArray[np.float32] | None:
            return having(lambda embedder: embedder.embed_queries([text]))

        query_embedder.embed = embed
        query_embedder.embed_query = embed_query
        return query_embedder

    def close(self) -> None:
        with self._lock:
            for embedder in self._loaded.values():
                embedder.close()
            self._loaded.clear()
            for store in self._stores.values():
                store.close()
            self._stores.clear()
