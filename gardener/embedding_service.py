"""The embedders and the shared vector stores of one home: loaded when first needed, shared by all projects.

The *wanted* embedder is what the settings say. A project whose vectors are another embedder's goes on being searched
with that one until all its vectors of the wanted one are there (docs/architecture.md, "Changing the embedder").
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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

log = logging.getLogger("gardener.index")
logging.getLogger("gardener").addHandler(logging.NullHandler())  # as in gardener/resilience.py

RETRY_S = 30.0
"""Seconds after which a server that could not be used is asked again."""
UNKNOWN = "unknown"
"""Fingerprint of a wanted embedder that has never worked on this machine; no vectors carry it."""


class EmbedderChanged(EmbedderUnavailable):
    """The model behind a fingerprint is another one now; the wanted fingerprint has been brought up to date."""


class EmbeddingService:
    """Thread-safe. A failure is remembered, a server's for RETRY_S: no query looks for a missing model again."""

    def __init__(
        self,
        paths: Paths,
        *,
        spec: Callable[[], EmbedderSpec] | None = None,
        threads: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`spec` gives the wanted embedder, by default the packaged one; it may raise ConfigError. It is asked again
        whenever the settings file has changed, so that a running app follows."""
        from gardener.models.embedder_spec import EmbedderSpec

        self._paths = paths
        self._spec_of = spec or EmbedderSpec
        self._threads = threads
        self._clock = clock
        self._lock = threading.RLock()
        self._loading = threading.RLock()
        """Held while a model is loaded, which can take a minute; `_lock` never is. Taken before `_lock`."""
        self._spec: EmbedderSpec | None = None
        self._stamp: tuple[int, int] | None = None
        self._wanted: KnownEmbedder | None = None
        self._loaded: dict[str, Embedder] = {}
        self._stores: dict[str, VectorStore] = {}
        self._problems: dict[str, tuple[GardenerError, float]] = {}

    # ---- which embedder ------------------------------------------------------------------------------

    @property
    def spec(self) -> EmbedderSpec:
        """The wanted embedder as the settings say. Raises ConfigError; a file that is damaged later changes nothing."""
        with self._lock:
            stamp = self._config_stamp()
            if self._spec is None or stamp != self._stamp:
                try:
                    found = self._spec_of()
                except GardenerError:
                    if self._spec is None:
                        raise
                    found = self._spec  # the last good one stays, as with every setting
                self._stamp = stamp
                if found != self._spec:
                    self._spec, self._wanted = found, None
                    self._problems.pop(UNKNOWN, None)
            return self._spec

    def _config_stamp(self) -> tuple[int, int]:
        try:
            found = os.stat(self._paths.config)
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def glance(self) -> str:
        """The wanted embedder's fingerprint as far as it is known without loading anything; else UNKNOWN."""
        with self._lock:
            try:
                spec = self.spec
                if self._wanted is None:
                    from gardener.models.embedder_registry import fingerprint_of

                    self._wanted = fingerprint_of(spec, self._paths.models)
            except GardenerError as error:
                self._fail(UNKNOWN, error)
            return self._wanted.fingerprint if self._wanted else UNKNOWN

    @property
    def fingerprint(self) -> str:
        """The wanted embedder's, without loading it if it has been loaded on this machine before; else it is loaded.

        UNKNOWN when it cannot be had: `problem` says why.
        """
        if self.glance() == UNKNOWN:
            with suppress(GardenerError):  # logged and kept by _fail: `problem` says it
                self.embedder()
        return self.glance()

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

        wanted = self.glance()  # a question does not wait for a model that has never been loaded
        before = vectors_of or packaged().fingerprint
        if before != wanted and self.known(before) is not None and has_vectors(before):
            return before
        return wanted

    def finished(self, facts: Mapping[str, str]) -> bool:
        """Whether an index with these facts has every vector of the wanted embedder."""
        from gardener.models.embedder_registry import packaged

        made_by = facts.get("vectors_of") or packaged().fingerprint
        return facts.get("vectors_complete") == "1" and made_by == self.glance()

    # ---- models --------------------------------------------------------------------------------------

    def embedder(self, fingerprint: str = "") -> Embedder:
        """The wanted embedder, or the one with this fingerprint.

        Raises EmbedderUnavailable, ModelDamaged or ConfigError; EmbedderChanged when the model that is there now makes
        other vectors than those of `fingerprint`.
        """
        from gardener.models.embedder_registry import KnownEmbedder, load

        wanted = self.glance()
        key = fingerprint or wanted
        with self._lock:
            if key in self._loaded:
                return self._loaded[key]
            self._raise_problem(key)
        with self._loading:
            with self._lock:
                if key in self._loaded:
                    return self._loaded[key]
                self._raise_problem(key)
                known = self.known(key)
                if known is None and fingerprint:
                    raise EmbedderUnavailable(
                        f"The embedder {key} is not known on this machine any more.", next_step="gardener embedder"
                    )
                spec = known.spec if known else self.spec
            try:
                made = load(spec, self._paths.models, threads=self._threads)
            except GardenerError as error:
                self._fail(key, error)
                raise
            with self._lock:
                before = self._loaded.setdefault(made.fingerprint, made)
                if spec == self._spec:
                    self._wanted = KnownEmbedder(spec, made.fingerprint, made.dimensions)
                if not fingerprint or made.fingerprint == fingerprint:
                    return before
                # Its vectors must not be compared with those that are stored.
                changed = EmbedderChanged(
                    f"The model {spec.text} is not the one that made the stored vectors.",
                    next_step="gardener index --wait",
                )
                self._fail(key, changed)
                raise changed

    def _fail(self, key: str, error: GardenerError) -> None:
        log.warning("embedder.unavailable", extra={"fields": {"code": error.code, "reason": error.message}})
        with self._lock:
            self._problems[key] = (error, self._clock())

    def _raise_problem(self, key: str) -> None:
        if key not in self._problems:
            return
        error, at = self._problems[key]
        known = self.known(key)
        spec = known.spec if known else self._spec
        if spec is not None and spec.of_server and self._clock() - at >= RETRY_S:
            del self._problems[key]
            return
        raise error

    def loaded_count(self) -> int:
        """How many models are in memory."""
        return len(self._loaded)

    def unload(self) -> None:
        """Gives the models' memory back; whoever needs one next loads it again. Those at work finish."""
        with self._lock:
            self._loaded.clear()

    def problem(self, *, ask: bool = False) -> str:
        """Why there can be no vectors of the wanted embedder; "" when nothing is known to be wrong.

        Loads no model, unless `ask`: then a server is asked, and a model that has never been loaded is.
        """
        from gardener.models.embedder_spec import PACKAGED

        try:
            if self.spec.kind == PACKAGED:
                from gardener.models.embeddings import check_embedder

                check_embedder(self._paths.models)
                return ""
            key = self.glance()
            if ask and (key == UNKNOWN or self.spec.of_server):
                self.embedder().embed_queries(["x"])
            found = self._problems.get(key) or self._problems.get(self.glance())
            return found[0].message if found and self.glance() in (key, UNKNOWN) else ""
        except GardenerError as error:
            return error.message

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
                    self._raise_problem(UNKNOWN)
                    raise EmbedderUnavailable(
                        f"The embedder {key} is not known on this machine.", next_step="gardener embedder"
                    )
                self._stores[key] = VectorStore(self._paths.embeddings, key, known.dimensions)
            return self._stores[key]

    def stores(self) -> list[VectorStore]:
        """The store of every embedder that has one on this disk and is known here."""
        if not self.has_store():
            return []
        from gardener.models.embedder_registry import known

        there = known(self._paths.models)
        return [self.store(name) for name in sorted(os.listdir(self._paths.embeddings)) if name in there]

    def for_queries(self, *, prepare: bool, fingerprint: str = "") -> QueryEmbedder:
        """What searches use. It gives no vectors, and says why, when the embedder cannot be had.

        The first use on a machine takes two seconds to prepare the packaged embedder. With `prepare` a query waits for
        that; without, it goes by words and symbols until somebody else (the background process, the app) has done it.
        """
        from gardener.index.search import QueryEmbedder
        from gardener.models.embedder_registry import packaged
        from gardener.models.embeddings import is_prepared

        key = fingerprint or self.glance()
        if key == UNKNOWN and prepare:
            key = self.fingerprint
        is_packaged = key == packaged().fingerprint
        query_embedder = QueryEmbedder(key, store=lambda: self.store(key), calibrated=is_packaged)

        def having(embed: Callable[[Embedder], NDArray[np.float32]]) -> NDArray[np.float32] | None:
            if is_packaged and key not in self._loaded and not prepare and not is_prepared(self._paths.models):
                query_embedder.problem = "the embedder is still being prepared in the background."
                return None
            if key == UNKNOWN:
                known = self._problems.get(UNKNOWN)
                query_embedder.problem = known[0].message if known else "the new embedder is being loaded."
                return None
            try:
                return embed(self.embedder(key))
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
