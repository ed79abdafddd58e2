"""The Ollama chat backend. One set of runner options for every project, because a change of them reloads the model."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gardener.errors import BackendError, BackendUnavailable, GardenerError
from gardener.models.base import (
    Capabilities,
    ChatRequest,
    Preparation,
    Prepared,
    Readiness,
    ResidentState,
    StreamLimits,
    TokenCount,
    estimate_tokens,
)
from gardener.models.ollama_facts import OllamaFacts, is_cloud
from gardener.models.problems import problem_of
from gardener.models.server_address import checked_url, is_local
from gardener.models.server_stream import Cancelled, LineStream, counted
from gardener.models.text_stream import THINK, TextStream
from gardener.resilience import CircuitBreaker
from gardener.types import BackendEvent, Done, ThinkingDelta, Usage

log = logging.getLogger("gardener.models")

RELOAD_S: Final = 0.2
"""`load_duration` above this means that a runner was started; a resident model reports milliseconds."""
RUNNER_OPTIONS: Final = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
"""A change of any of these, of adapters or of the projector starts a runner anew (server/sched.go, needsReload)."""
CUT: Final = 0.5
"""Ollama cuts a prompt that is too long to about half of the window and does not say so. A count below this share of
our estimate shows it: no estimate is that high."""
_TOKENS: Final = 2**40
"""No prompt and no answer has so many: a server that says so does not know."""
SECOND: Final = 1_000_000_000
"""Ollama gives durations in nanoseconds."""


class OllamaBackend:
    """Behind models.base.ChatBackend and Resident, over https://docs.ollama.com/api. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        context_tokens: int,
        keep_alive: str,
        limits: StreamLimits,
        name: str = "ollama",
    ) -> None:
        """`model`: "" takes the one that was changed last. `context_tokens` is asked for (num_ctx) in every request of
        every project."""
        self.name = name
        self._url = checked_url(url, "ollama.url").removesuffix("/v1").removesuffix("/api")
        self._where = f"Ollama at {self._url}"
        self._facts = OllamaFacts(self._url)
        self._default = model
        self._options: dict[str, int] = {"num_ctx": context_tokens}
        """What decides whether a runner fits. Never changed, and sent in every request."""
        self._keep_alive: str | int = int(keep_alive) if keep_alive.lstrip("-").isdigit() else keep_alive
        self._limits = limits
        self._breaker = CircuitBreaker(self._where)
        self._lock = threading.Lock()
        self._last_model = ""
        self._stays_until = 0.0
        """When Ollama means to unload it, Unix time in seconds; 0.0: it is not known to be loaded."""
        self._counters = {
            "base_loads": 0, "reloads": 0, "evictions": 0, "generations": 0, "truncations": 0, "option_changes": 0,
        }  # fmt: skip
        self._sent_options: dict[str, Any] | None = None

    # ---- what the server has -------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            thinking=True, structured=True, leaves_machine=not is_local(self._url) or is_cloud(self._default)
        )

    def readiness(self, model: str = "") -> Readiness:
        try:
            self._model(model)
        except GardenerError as error:
            absent = isinstance(error.__cause__, ConnectionRefusedError)
            return Readiness(False, error.message, error.next_step, absent, error.code)
        return Readiness(True)

    def models(self) -> tuple[str, ...]:
        default = self._model("")
        return (default, *(name for name in self._facts.names() if name != default))

    def context_tokens(self, model: str = "") -> int:
        made_for = self._facts.window(self._model(model))
        asked = self._options["num_ctx"]
        return min(asked, max(512, made_for)) if made_for else asked

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        return estimate_tokens(text)

    def _model(self, model: str) -> str:
        return self._facts.model(model or self._default)

    # ---- answering -----------------------------------------------------------------------------------

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        model = self._model(request.model)
        options: dict[str, Any] = dict(self._options)
        options |= {"temperature": request.temperature, "num_predict": request.max_tokens}
        if request.seed is not None:
            options["seed"] = request.seed
        if request.stop:
            options["stop"] = list(request.stop)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "stream": True,
            "options": options,
            "keep_alive": self._keep_alive,
        }
        if request.json_schema:
            body["format"] = json.loads(request.json_schema)
        return self._events(model, body, request, cancel)

    def _events(
        self, model: str, body: Mapping[str, Any], request: ChatRequest, cancel: threading.Event
    ) -> Iterator[BackendEvent]:
        given = False
        asked = sum(estimate_tokens(message.content).tokens for message in request.messages)
        usage = Usage()  # until the server counts: nothing has been read, then what we think
        text = TextStream(request.stop, THINK)
        lines = LineStream(
            self._where, f"{self._url}/api/chat", body, headers={}, limits=self._limits,
            cancelled=cancel.is_set, model=model,
        )  # fmt: skip
        if cancel.is_set():
            yield Done("cancelled", usage)
            return
        self._note_options(body)
        try:
            with counted(self._breaker):
                for line in lines.lines():
                    entry = _entry(line, self._where)
                    if entry is None:
                        continue
                    message = entry.get("message")
                    message = message if isinstance(message, dict) else {}
                    thought, said = message.get("thinking"), message.get("content")
                    if thought or said:
                        usage = Usage(asked, usage.completion_tokens + 1)  # a line is a token
                    if isinstance(thought, str) and thought:
                        lines.useful()
                        given = True
                        yield ThinkingDelta(thought)
                    if isinstance(said, str) and said:
                        lines.useful()
                        for event in text.add(said):
                            given = True
                            yield event
                    if entry.get("done"):
                        for event in text.end():
                            given = True
                            yield event
                        usage = self._usage(model, entry, asked)
                        length = entry.get("done_reason") == "length"
                        yield Done("length" if length else "stop", usage)
                        return
                    if text.stopped:
                        yield Done("stop", usage)
                        return
                raise BackendUnavailable(f"{self._where} ended the answer in the middle.", next_step="gardener doctor")
        except Cancelled:
            yield Done("cancelled", usage)
        except GardenerError as error:
            if not given:
                raise
            for event in text.end():
                yield event
            yield Done("error", usage, error.message, problem_of(error))

    def _note_options(self, body: Mapping[str, Any]) -> None:
        """Counts what would start a runner anew: as it is sent, whatever the code before meant to send."""
        sent = {name: body["options"][name] for name in RUNNER_OPTIONS if name in body["options"]}
        with self._lock:
            if self._sent_options is not None and self._sent_options != sent:
                self._counters["option_changes"] += 1
                log.warning("runner.options changed", extra={"fields": {"from": self._sent_options, "to": sent}})
            self._sent_options = sent

    def _usage(self, model: str, entry: Mapping[str, Any], asked: int) -> Usage:
        """The server's own counts; also notices reloads and cut prompts. `asked`: our estimate of the prompt."""
        prompt, written = _count(entry, "prompt_eval_count", _TOKENS), _count(entry, "eval_count", _TOKENS)
        load_s = _count(entry, "load_duration") / SECOND
        loaded = load_s > RELOAD_S
        with self._lock:
            self._counters["generations"] += 1
            if model != self._last_model:
                self._stays_until = 0.0  # the one before may go
            if loaded:
                self._counters["base_loads"] += 1
                if model == self._last_model:
                    self._counters["reloads"] += 1  # nobody has asked for another model or window
                    log.warning("model.reloaded", extra={"fields": {"model": model, "load_s": round(load_s, 2)}})
            if 0 < prompt < asked * CUT or prompt >= self._options["num_ctx"] - 1:
                self._counters["truncations"] += 1
                log.warning("prompt.cut", extra={"fields": {"model": model, "read": prompt, "sent": asked}})
            self._last_model = model
        return Usage(
            prompt,
            written,
            estimated=False,
            load_s=load_s if loaded else 0.0,
            prompt_s=_count(entry, "prompt_eval_duration") / SECOND,
            completion_s=_count(entry, "eval_duration") / SECOND,
        )

    # ---- residence -----------------------------------------------------------------------------------

    def prepare(self, wanted: Preparation, *, may_load: bool, cancel: threading.Event) -> Prepared:
        begun = time.perf_counter()
        model = self._model(wanted.model)
        held = next((entry for entry in self._loaded() if entry.get("name") == model), None)
        window = held.get("context_length") if held is not None else None
        if held is not None and window in (None, 0, self.context_tokens(model)):
            return Prepared("ready", took_s=time.perf_counter() - begun)
        if not may_load:
            again = f" again: somebody has loaded it with a window of {window} tokens" if held is not None else ""
            return Prepared("needs load", detail=f"Ollama has to load {model}{again}.")
        body: dict[str, Any] = {
            "model": model,
            "messages": [],
            "options": dict(self._options),
            "keep_alive": self._keep_alive,
        }
        lines = LineStream(
            self._where, f"{self._url}/api/chat", body | {"stream": False}, headers={}, limits=self._limits,
            cancelled=cancel.is_set, model=model,
        )  # fmt: skip
        self._note_options(body)
        ready = False
        try:
            with counted(self._breaker):
                for line in lines.lines():
                    entry = _entry(line, self._where)
                    ready = ready or (entry is not None and entry.get("done") is True)
        except Cancelled:
            return Prepared("needs load", detail="cancelled")
        if not ready:
            raise BackendError(f"{self._where} did not say that {model} is loaded.", next_step="gardener models ps")
        # Its answer to an empty chat has no load_duration; that it was not there before is how we know.
        with self._lock:
            self._counters["base_loads"] += 1
            if model != self._last_model:
                self._stays_until = 0.0
            self._last_model = model
        self._facts.loaded_changed()
        return Prepared("ready", took_s=time.perf_counter() - begun)

    def _loaded(self) -> list[dict[str, Any]]:
        """What /api/ps lists; also notices that our model had to go before its time was over."""
        loaded = self._facts.loaded()
        with self._lock:
            mine = next((entry for entry in loaded if entry.get("name") == self._last_model), None)
            if mine is not None:
                self._stays_until = _unix_time(mine.get("expires_at"))
            elif self._stays_until > time.time():
                self._counters["evictions"] += 1
                log.warning("model.evicted", extra={"fields": {"model": self._last_model}})
                self._stays_until = 0.0
        return loaded

    def resident(self) -> ResidentState:
        with self._lock:
            last = self._last_model
        try:
            loaded = self._loaded()
        except GardenerError:
            loaded = []
        with self._lock:
            counters = dict(self._counters)
        entry = next((one for one in loaded if one.get("name") == last), loaded[0] if loaded else {})
        return ResidentState(
            model=str(entry.get("name", "")),
            identity=f"{str(entry['digest'])[:32]}-{counters['base_loads']}" if entry.get("digest") else "",
            weight_bytes=_count(entry, "size"),
            counters=counters,
        )

    def release_caches(self) -> int:
        """Another process's memory is its own affair: keep_alive gives it back."""
        return 0

    def close(self) -> None:
        """Holds nothing."""


def _entry(line: str, where: str) -> dict[str, Any] | None:
    """One line of the stream; None for an empty one. Raises BackendError for what is no JSON, and for an error line."""
    if not line.strip():
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"{where} sent something that is not JSON.", next_step="gardener doctor") from error
    if not isinstance(entry, dict):
        raise BackendError(f"{where} sent JSON of another form.", next_step="gardener doctor")
    if "error" in entry:
        raise BackendError(f"{where}: {str(entry['error'])[:300]}", next_step="gardener models ps")
    return entry


def _count(entry: Mapping[str, Any], key: str, below: int = 2**62) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below else 0


def _unix_time(text: object) -> float:
    import datetime

    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
