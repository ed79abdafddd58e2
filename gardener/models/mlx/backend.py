"""The MLX chat backend: one resident base, adapters swapped onto it, prefixes restored, all on one thread."""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gardener.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    GardenerError,
    ModelNotFound,
)
from gardener.models.base import (
    AdapterRef,
    Capabilities,
    ChatRequest,
    Preparation,
    Prepared,
    Readiness,
    ResidentState,
    StreamLimits,
    TokenCount,
)
from gardener.models.fit import folder_kv_bytes, stored_kv
from gardener.models.local_models import local_models
from gardener.models.mlx import generation
from gardener.models.mlx.adapters import AdapterShelf
from gardener.models.mlx.generation import Cancelled, Clock, Storage
from gardener.models.mlx.installed import INSTALL_MLX, mlx_is_installed
from gardener.models.mlx.loading import Base, Stamp, load_base, stamp_of
from gardener.models.mlx.prefixes import Prefix, PrefixStore, copied, prefix_key
from gardener.models.mlx.tokens import TokenCounter
from gardener.models.mlx.worker import MlxThread
from gardener.models.model_folder import ModelFolder, read_model_folder
from gardener.models.text_stream import TextStream
from gardener.paths import model_path
from gardener.types import BackendEvent, Done, Message, ProblemKind, TextDelta, ThinkingDelta, Usage

log = logging.getLogger("gardener.models")

LEAST_PREFIX: Final = 64
"""Tokens below which a prefix is read anew faster than it is copied."""


BUFFER_BYTES: Final = 256_000_000
"""Most memory that MLX keeps of arrays that are gone."""
MOST_KNOWN: Final = 64
RELEASE_S: Final = 2.0
PATIENCE_S: Final = 3.0
"""How long a cancellation waits for the MLX thread to see it: loading, or a model's chat template, looks at nothing."""


@dataclass(slots=True)
class _Counters:
    base_loads: int = 0
    weight_bytes_read: int = 0
    prefixes_read: int = 0
    generations: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    prefix: Prefix
    source: Literal["resident", "restored", "read"]
    cached: int
    """Tokens of it that were not read now."""


@dataclass(slots=True)
class _Run:
    """One generation on its way from the MLX thread to whoever asked."""

    request: ChatRequest
    cancel: threading.Event
    started: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    """The reader has gone."""
    events: queue.SimpleQueue[BackendEvent | GardenerError] = field(default_factory=queue.SimpleQueue)
    usage: Usage = field(default_factory=lambda: Usage(estimated=False))
    """So far."""
    finish: Literal["stop", "length"] = "stop"


class MlxBackend:
    """Behind models.base.ChatBackend and Resident. Thread-safe; one generation at a time, the others wait."""

    def __init__(
        self,
        model: str,
        *,
        models_directory: str,
        prefix_directory: Callable[[str], str],
        context_tokens: int,
        kv_bits: int,
        cache_bytes: int,
        prefix_disk_bytes: int,
        limits: StreamLimits,
        admit: Callable[[ModelFolder, int], None],
        name: str = "mlx",
    ) -> None:
        """`model`: a folder, or the name of one in `models_directory`. `prefix_directory(scope)`: where a project's
        prefixes are saved. `cache_bytes`, `prefix_disk_bytes`: hard limits of prefixes in memory and on the disk.
        `admit(folder, kv_bytes)` raises ModelTooLarge before anything is loaded.
        """
        self.name = name
        self._default = model
        self._models_directory = models_directory
        self._context = context_tokens
        self._kv_bits = kv_bits
        self._limits = limits
        self._admit = admit
        self._thread = MlxThread()
        self._base: Base | None = None
        self._shelf = AdapterShelf()
        self._prefixes = PrefixStore(prefix_directory, cache_bytes, prefix_disk_bytes)
        self._counters = _Counters()
        self._lock = threading.Lock()
        self._counter_of: dict[str, TokenCounter] = {}
        self._folders: dict[str, tuple[Stamp, ModelFolder]] = {}
        """Folders that were looked at, each with the stamp of that moment: asked for several times per question."""
        self._prefix_ids: dict[tuple[str, tuple[Message, ...]], tuple[int, ...]] = {}
        self._state = ResidentState()

    # ---- what is known without loading ---------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(thinking=True, adapters=True)

    def readiness(self, model: str = "") -> Readiness:
        try:
            self._folder(model)
        except GardenerError as error:
            return Readiness(False, error.message, error.next_step, code=error.code)
        if not mlx_is_installed():
            return Readiness(False, "The package mlx-lm is not installed.", INSTALL_MLX)
        return Readiness(True)

    def models(self) -> tuple[str, ...]:
        try:
            found = local_models(self._models_directory, [self._default])
        except OSError as error:
            raise BackendUnavailable(
                f"{self._models_directory} cannot be read: {error.strerror}", next_step="gardener doctor"
            ) from error
        default = self._place("")
        names = [self._default if one.path == default else one.name for one in found if one.folder is not None]
        return tuple(sorted(names, key=lambda name: name != self._default))

    def context_tokens(self, model: str = "") -> int:
        return min(self._context, self._folder(model).context_tokens)

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        place = self._place(model)
        with self._lock:
            counter = self._counter_of.setdefault(place, TokenCounter(place))
        return counter.count(text)

    def _place(self, model: str) -> str:
        return model_path(model or self._default, self._models_directory)

    def _folder(self, model: str) -> ModelFolder:
        if not (model or self._default):
            raise ModelNotFound("No MLX model is chosen.", next_step="gardener models recommend")
        place = self._place(model)
        stamp = stamp_of(place)
        with self._lock:
            known = self._folders.get(place)
        if known is not None and known[0] == stamp:
            return known[1]
        if not os.path.isdir(place):
            import difflib

            near = difflib.get_close_matches(os.path.basename(place), self.models(), n=1)
            raise ModelNotFound(
                f"There is no MLX model {place}." + (f" Did you mean {near[0]!r}?" if near else ""),
                next_step="gardener models list",
            )
        found = read_model_folder(place)
        with self._lock:
            self._folders[place] = stamp, found
        return found

    # ---- answering -----------------------------------------------------------------------------------

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        folder = self._folder(request.model)
        return self._events(_Run(request, cancel), folder)

    def _events(self, run: _Run, folder: ModelFolder) -> Iterator[BackendEvent]:
        self._thread.submit(lambda: self._generate(run, folder))
        patience = 0.0
        try:
            while True:
                try:
                    event = run.events.get(timeout=0.1)
                except queue.Empty:
                    if not run.cancel.is_set():
                        continue
                    patience = patience or time.monotonic() + PATIENCE_S
                    # Waiting behind another one it never begins; what it is in the middle of ends by itself.
                    if not run.started.is_set() or time.monotonic() >= patience:
                        yield Done("cancelled", run.usage)
                        return
                    continue
                if isinstance(event, GardenerError):
                    raise event
                yield event
                if isinstance(event, Done):
                    return
        finally:
            run.left.set()

    def _generate(self, run: _Run, folder: ModelFolder) -> None:
        """On the MLX thread: everything from the base to the last token. Ends with Done, or before any text with an
        error."""
        run.started.set()
        limits = self._limits
        clock = Clock(limits.first_token_s, limits.total_s, lambda: run.cancel.is_set() or run.left.is_set())
        given = False

        def fail(error: GardenerError, kind: ProblemKind) -> None:
            run.events.put(Done("error", run.usage, error.message, kind) if given else error)

        try:
            clock.go_on()
            base, load_s = self._ensure(folder)
            self._shelf.put(base, run.request.adapter)
            for event in self._written(base, run, clock, load_s):
                given = True
                run.events.put(event)
            run.events.put(Done(run.finish, run.usage))
        except Cancelled:
            if clock.reason:
                fail(BackendTimeout(f"{folder.name}: {clock.reason}.", next_step="gardener status"), "timeout")
            else:
                run.events.put(Done("cancelled", run.usage))
        except GardenerError as error:
            fail(error, "model failure")
        except Exception as error:
            # MLX and mlx-lm raise what they like (memory, shapes); the answer must end all the same.
            log.exception("mlx generation failed")
            said = f"{folder.name} failed: {type(error).__name__}: {str(error)[:300]}"
            fail(BackendError(said, next_step="gardener models check"), "model failure")
        finally:
            self._note()

    def _written(self, base: Base, run: _Run, clock: Clock, load_s: float) -> Iterator[TextDelta | ThinkingDelta]:
        """The answer's text as it is written; `run.usage` and `run.finish` say the rest."""
        request = run.request
        tokens = generation.rendered(base, request.messages)
        window = min(self._context, base.folder.context_tokens)
        most = min(request.max_tokens, window - len(tokens))
        if most < 1:
            raise BackendRefused(
                f"The prompt has {len(tokens):,} tokens, and the window of {base.folder.name} is {window:,}.",
                next_step=f"gardener config set mlx.context_tokens {max(2 * window, len(tokens) + 1024)}",
            )
        storage = generation.storage_for(base, self._kv_bits)
        self._counters.generations += 1
        begun = time.perf_counter()
        found = self._prefix(base, request.scope, request.messages[:1], tokens, request.adapter, storage, clock)
        known, cached = (len(found.prefix.tokens), found.cached) if found else (0, 0)
        state = copied(found.prefix.state) if found else generation.new_state(base)
        text = TextStream(
            request.stop, generation.thinking_marks(base), thinking=generation.opens_thinking(base, tokens)
        )
        detokenizer = base.tokenizer.detokenizer
        written, prompt_s = 0, 0.0

        def count() -> None:
            spent = time.perf_counter() - begun - prompt_s
            source = found.source if found else ""
            run.usage = Usage(len(tokens), written, False, cached, load_s, prompt_s, spent, source)

        ids = generation.write(
            base, state, tokens[known:], storage, max_tokens=most, temperature=request.temperature, go_on=clock.go_on
        )
        try:
            for token in ids:
                if not clock.wrote:
                    clock.wrote, prompt_s = True, time.perf_counter() - begun
                written += 1
                detokenizer.add_token(token)
                count()
                yield from text.add(detokenizer.last_segment)
                if text.stopped:
                    break
        finally:
            ids.close()
        if not text.stopped:
            try:
                detokenizer.finalize()
            except KeyError:
                log.info("an answer ended in the middle of a character")  # mlx-lm's detokenizer gives up then
            else:
                yield from text.add(detokenizer.last_segment)
        yield from text.end()
        count()
        run.finish = "length" if written >= most and not text.stopped else "stop"

    # ---- the base ------------------------------------------------------------------------------------

    def _ensure(self, folder: ModelFolder) -> tuple[Base, float]:
        """The base of this folder, and the seconds that loading it took: 0.0 when it is resident.

        Another base leaves memory first. When the load fails nothing is resident, and the error says so.
        """
        base = self._base
        if base is not None and base.folder.identity == folder.identity and base.stamp == stamp_of(folder.path):
            return base, 0.0
        self._admit(folder, self._kv_bytes(folder))
        self._drop()
        import mlx.core as mx

        begun = time.perf_counter()
        mx.set_cache_limit(BUFFER_BYTES)
        base = load_base(folder)
        with self._lock:
            self._base = base
        self._counters.base_loads += 1
        self._counters.weight_bytes_read += folder.weight_bytes
        took = time.perf_counter() - begun
        log.info("model.loaded", extra={"fields": {"model": folder.name, "bytes": folder.weight_bytes, "s": took}})
        self._note()
        return base, took

    def _kv_bytes(self, folder: ModelFolder) -> int:
        return stored_kv(folder_kv_bytes(folder, min(self._context, folder.context_tokens)), self._kv_bits)

    def _drop(self) -> int:
        """Takes the base, adapters and prefixes out of memory; returns bytes."""
        base = self._base
        if base is None:
            return 0
        import mlx.core as mx

        with self._lock:
            self._base = None
        self._shelf.clear()
        freed = base.folder.weight_bytes + self._prefixes.forget()
        self._prefix_ids.clear()
        del base
        gc.collect()
        mx.clear_cache()
        return freed

    # ---- prefixes ------------------------------------------------------------------------------------

    def _prefix(
        self,
        base: Base,
        scope: str,
        messages: Sequence[Message],
        tokens: Sequence[int] | None,
        adapter: AdapterRef | None,
        storage: Storage | None,
        clock: Clock,
    ) -> _Found | None:
        """The state of a prompt's beginning: from memory, from the disk, or read now and kept. None when it is not
        worth it, or is not how `tokens` begin.

        It is read in one piece whether it will be kept or not, so that the greedy answer does not depend on that.
        """
        if not scope or not messages or messages[0].role != "system":
            return None
        key = (scope, tuple(messages))
        if key not in self._prefix_ids:
            while len(self._prefix_ids) >= MOST_KNOWN:
                self._prefix_ids.pop(next(iter(self._prefix_ids)))
            self._prefix_ids[key] = tuple(generation.prefix_tokens(base, messages))
        ids = self._prefix_ids[key]
        if len(ids) < LEAST_PREFIX or (
            tokens is not None and (tuple(tokens[: len(ids)]) != ids or len(tokens) <= len(ids))
        ):
            return None
        name = prefix_key(
            base.folder.identity,
            adapter.fingerprint if adapter else "",
            storage,
            generation.version(),
            generation.PORTION,
            ids,
        )
        if (kept := self._prefixes.get(scope, name)) is not None:
            return _Found(kept, "resident", len(ids))
        if (kept := self._prefixes.restore(scope, name, ids)) is not None:
            return _Found(kept, "restored", len(ids))
        state = generation.new_state(base)
        generation.read(base, state, ids, storage, clock.go_on)
        self._counters.prefixes_read += 1
        kept = self._prefixes.put(scope, name, ids, state) or Prefix(ids, state, 0)
        self._prefixes.save(scope, name, state)
        return _Found(kept, "read", 0)

    def prepare(self, wanted: Preparation, *, may_load: bool, cancel: threading.Event) -> Prepared:
        folder = self._folder(wanted.model)
        return self._thread.call(lambda: self._prepare(wanted, folder, may_load, cancel))

    def _prepare(self, wanted: Preparation, folder: ModelFolder, may_load: bool, cancel: threading.Event) -> Prepared:
        begun = time.perf_counter()
        clock = Clock(self._limits.first_token_s, self._limits.total_s, cancel.is_set)
        base = self._base
        fits = base is not None and base.folder.identity == folder.identity
        if not fits and not may_load:
            instead = f" {base.folder.name} leaves memory then." if base is not None else ""
            return Prepared(
                "needs load", detail=f"{folder.name} is {folder.weight_bytes / 1e9:.1f} GB to load.{instead}"
            )
        try:
            clock.go_on()
            base, _ = self._ensure(folder)
            swapped = self._shelf.put(base, wanted.adapter)
            storage = generation.storage_for(base, self._kv_bits)
            found = self._prefix(base, wanted.scope, wanted.prefix, None, wanted.adapter, storage, clock)
        except Cancelled:
            return Prepared("ready", took_s=time.perf_counter() - begun, detail=clock.reason or "cancelled")
        finally:
            self._note()
        return Prepared(
            "ready",
            swapped,
            found.source if found else "none",
            len(found.prefix.tokens) if found else 0,
            time.perf_counter() - begun,
            self._prefixes.problem,
        )

    # ---- residence -----------------------------------------------------------------------------------

    def resident(self) -> ResidentState:
        return self._state

    def release_caches(self) -> int:
        if self._thread.waiting:
            return 0

        def free() -> int:
            import mlx.core as mx

            freed = self._prefixes.forget()
            mx.clear_cache()
            self._note()
            return freed

        try:
            return self._thread.submit(free).result(RELEASE_S) if self._state.model else 0
        except TimeoutError:
            return 0  # a question came in between; it is done after that, and whoever asked need not wait

    def _note(self) -> None:
        """What `resident` says until the next change."""
        base, shelf, prefixes, counted = self._base, self._shelf, self._prefixes, self._counters
        self._state = ResidentState(
            model=base.folder.path if base else "",
            identity=f"{base.folder.identity}#{counted.base_loads}" if base else "",
            weight_bytes=base.folder.weight_bytes if base else 0,
            cache_bytes=prefixes.held_bytes,
            adapter=shelf.current,
            counters={
                "base_loads": counted.base_loads,
                "weight_bytes_read": counted.weight_bytes_read,
                "adapter_swaps": shelf.swaps,
                "prefixes_read": counted.prefixes_read,
                "prefixes_restored": prefixes.restored,
                "prefixes_saved": prefixes.saved,
                "generations": counted.generations,
            },
        )

    def close(self) -> None:
        try:
            self._thread.submit(self._drop)
        except BackendUnavailable:
            return  # closed already
        self._thread.close()
        self._note()
