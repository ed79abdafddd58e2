"""The packaged embedder: all-MiniLM-L6-v2 as int8 ONNX, without network, torch or transformers.

The first use on a machine checks the package's files against known hashes and turns them into a graph, in a
process of its own (gardener.models.onnx_export); every later one checks the hashes of what was made and loads
it. Then numpy, onnxruntime and tokenizers are all there is: see benchmarks/embedding.py for speed and memory.

A Mac's GPU is not used: MLX could run the same weights behind the same protocol, with a fingerprint of its
own. That is not implemented.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gardener.errors import EmbedderUnavailable
from gardener.memory import give_back
from gardener.models.embedder_files import damage, packaged_files, ready
from gardener.models.onnx_export import (
    DIMENSIONS,
    GRAPH_FILE,
    MANIFEST_FILE,
    RECIPE,
    SOURCE_SHA256,
    TOKENIZER_FILE,
    read_verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy as np
    from numpy.typing import NDArray

    from gardener.models.base import Embedder

_Item = TypeVar("_Item")

NAME = "all-MiniLM-L6-v2"
WINDOW_TOKENS = 128
"""Tokens that the model reads at once, [CLS] and [SEP] included; it was trained with 128 (model card)."""
MOST_WINDOWS = 4
LATER_WEIGHT = 0.5
"""A longer text is read window by window; its vector is the sum of theirs, the first counting twice the
others.

Measured on Django's 9,084 functions (MRR@10) against one window of 256 tokens, the usual way: docstring ->
function 0.463 against 0.456; a comment from the first 128 tokens -> function 0.271 against 0.262, from the
next 128 tokens 0.233 against 0.188, from beyond 0.153 against 0.082. It costs 12 % more tokens, in shorter
attention.
"""
SHORTEST_REST = 16
"""A last window with fewer tokens says too little to be worth a run of the model."""
LONGEST_TEXT = 16_384
"""Characters of a text that are tokenised at all; four windows of code hold about 2,000."""
_MOST_THREADS = 8


def packaged_fingerprint() -> str:
    """The fingerprint of the packaged embedder's vectors, without touching a file. Safe as a file name."""
    recipe = {
        "source": SOURCE_SHA256,
        "graph": RECIPE,
        "pooling": "mean",
        "windows": [WINDOW_TOKENS, MOST_WINDOWS, LATER_WEIGHT, SHORTEST_REST],
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return f"minilm-{DIMENSIONS}-{digest[:16]}"


def load_embedder(models_dir: str, *, threads: int | None = None) -> Embedder:
    """The packaged embedder, exported first if `models_dir` (paths.models) has no whole copy of it.

    `threads`: how many texts are embedded at once; default the CPUs that this process may use, at most 8.
    Takes 0.3 s of CPU time, imports included, and 1.5 to 3.5 s the first time on a machine (measured on a busy one).
    Raises EmbedderUnavailable when the package is missing, ModelDamaged when its files are not the known ones,
    LockedError when another process exports for minutes, DiskFull, PermissionProblem.
    """
    folder = os.path.join(models_dir, packaged_fingerprint())
    ready(folder)
    return PackagedEmbedder(folder, threads=threads)


def is_prepared(models_dir: str) -> bool:
    """Whether an export is there; a glance, no hash is checked."""
    return os.path.exists(os.path.join(models_dir, packaged_fingerprint(), MANIFEST_FILE))


def check_embedder(models_dir: str) -> None:
    """Raises what `load_embedder` would, as far as hashes tell; loads nothing and writes nothing."""
    if damage(os.path.join(models_dir, packaged_fingerprint())):
        source = packaged_files()
        for name in SOURCE_SHA256:
            read_verified(source, name)


class PackagedEmbedder:
    """all-MiniLM-L6-v2 behind models.base.Embedder. Several threads may embed at once.

    Each text runs alone on one thread: no text waits for a batch, none is padded, and a vector depends on
    nothing but its text. A query therefore never queues behind background work; it only shares the CPUs with
    it.
    """

    name = NAME
    dimensions = DIMENSIONS

    def __init__(self, folder: str, *, threads: int | None = None) -> None:
        """Loads graph and tokenizer of a folder that `onnx_export.export` made."""
        self.fingerprint = packaged_fingerprint()
        self.threads = threads or min(_usable_cpus(), _MOST_THREADS)
        self._lock = threading.Lock()
        self._tokenizer, self._session = _load(folder)
        self._helpers: ThreadPoolExecutor | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), 384), float32, each row of L2 norm 1; equal texts are computed once.

        A text counts up to MOST_WINDOWS windows. The caller may hand over any number of texts; one that wants
        to stop or pause soon gives few at a time (32 are about 0.2 s). Raises EmbedderUnavailable after
        `close`.
        """
        import numpy as np

        session, tokenizer = self._session, self._tokenizer
        if session is None or tokenizer is None:
            raise EmbedderUnavailable(f"The embedder {NAME} has been closed.", next_step="gardener status")
        rows: dict[str, int] = {}
        for text in texts:
            rows.setdefault(text, len(rows))
        vectors = np.empty((len(rows), DIMENSIONS), np.float32)
        # Longest first, so that no thread is left with a long text when the others are done.
        pending = _Shared(iter(sorted(rows.items(), key=lambda item: -len(item[0]))))

        def work() -> None:
            for text, row in pending:
                vectors[row] = _vector(session, _windows(tokenizer, text))

        helpers = self._start_helpers(work, min(self.threads, len(rows)) - 1)
        try:
            work()
        finally:
            pending.stop()
            # One that has not begun waits behind another caller's texts: there is nothing left for it to do.
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
        return vectors if len(rows) == len(texts) else vectors[[rows[text] for text in texts]]

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same: this model was trained with both sides alike."""
        return self.embed(texts)

    def close(self) -> None:
        """Frees the model (about 60 MB) as soon as embedding in progress has ended. May be called twice."""
        with self._lock:
            helpers, self._helpers = self._helpers, None
            self._session = self._tokenizer = None
        if helpers is not None:
            helpers.shutdown()
        give_back()

    def _start_helpers(self, work: Callable[[], None], count: int) -> list[Future[None]]:
        if count < 1:
            return []
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._session is None:
                return []  # closed meanwhile: the calling thread finishes alone
            if self._helpers is None:
                self._helpers = ThreadPoolExecutor(self.threads, "embed")
            return [self._helpers.submit(work) for _ in range(count)]


class _Shared(Generic[_Item]):
    """An iterator that several threads take from; after `stop` it gives nothing more."""

    def __init__(self, items: Iterator[_Item]) -> None:
        self._items = items
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[_Item]:
        return self

    def __next__(self) -> _Item:
        with self._lock:
            return next(self._items)

    def stop(self) -> None:
        with self._lock:
            self._items = iter(())


# ---- loading ---------------------------------------------------------------------------------------------


def _load(folder: str) -> tuple[Any, Any]:
    """The tokenizer and the session, loaded side by side: neither needs the interpreter while it works."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        tokenizer = pool.submit(_load_tokenizer, os.path.join(folder, TOKENIZER_FILE))
        session = _load_session(os.path.join(folder, GRAPH_FILE))
        return tokenizer.result(), session


def _load_tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_WINDOWS * (WINDOW_TOKENS - 2) + 2)
    return tokenizer


def _load_session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # No arena: it would keep the activations of the longest text for ever, and saves no time (measured).
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _windows(tokenizer: Any, text: str) -> list[NDArray[np.int32]]:
    """What the model reads of a text, in order: arrays of shape (1, tokens), each with [CLS] and [SEP]."""
    import numpy as np

    text = text[:LONGEST_TEXT]
    if not text.isascii():
        # Undecodable bytes become lone surrogates, which the tokenizer refuses.
        text = text.encode("utf-8", "replace").decode()
    start, *tokens, end = tokenizer.encode(text).ids
    step = WINDOW_TOKENS - 2
    rests = range(step, len(tokens) - SHORTEST_REST + 1, step)
    return [np.array([[start, *tokens[at : at + step], end]], np.int32) for at in (0, *rests)]


def _vector(session: Any, windows: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    import numpy as np

    first, *later = [session.run(None, {"ids": ids})[0][0] for ids in windows]
    if not later:
        return np.asarray(first, np.float32)
    pooled = first + LATER_WEIGHT * np.sum(later, axis=0, dtype=np.float32)
    return np.asarray(pooled / np.linalg.norm(pooled), np.float32)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
