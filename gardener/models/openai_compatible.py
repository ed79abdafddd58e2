"""The chat backend for servers that speak OpenAI's API: llama.cpp, LM Studio, vLLM, SGLang, mlx_lm.server, others."""

from __future__ import annotations

import difflib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gardener.errors import BackendError, BackendRefused, BackendUnavailable, GardenerError, ModelNotFound
from gardener.models.base import (
    Capabilities,
    ChatRequest,
    Readiness,
    StreamLimits,
    TokenCount,
    estimate_tokens,
)
from gardener.models.problems import problem_of
from gardener.models.server_address import checked_url, is_local, quick_get, without_key
from gardener.models.server_stream import AskAgain, Cancelled, LineStream, counted, error_text
from gardener.models.text_stream import THINK, TextStream
from gardener.resilience import CircuitBreaker
from gardener.types import BackendEvent, Done, ThinkingDelta, Usage

PROBE_S: Final = 1.0
REMOTE_PROBE_S: Final = 3.0
FRESH_S: Final = 5.0
_OPTIONAL: Final = ("stream_options", "max_tokens", "temperature", "seed")
"""Fields that some servers refuse: old ones the first, OpenAI's reasoning models the others."""
_WINDOWS: Final = ("max_model_len", "context_length", "max_context_length", "n_ctx")
"""How servers call the window in their list of models: vLLM and SGLang, OpenRouter, LM Studio, llama.cpp."""


class OpenAICompatibleBackend:
    """Behind models.base.ChatBackend. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key: Callable[[], str],
        context_tokens: int,
        limits: StreamLimits,
        adapter_models: bool = False,
        name: str = "openai",
    ) -> None:
        """`url` with or without /v1. `key()` gives the key, "" for none, and may raise ConfigError. `adapter_models`:
        the server has a model for each adapter, under the adapter's name (vLLM's LoRA modules)."""
        self.name = name
        base = checked_url(url, "openai.url")
        self._url = base if base.rsplit("/", 1)[-1] in ("v1", "v2", "v3", "v4") else f"{base}/v1"
        self._where = f"The server {self._url}"
        self._default = model
        self._key = key
        self._context = context_tokens
        self._limits = limits
        self._adapter_models = adapter_models
        self._breaker = CircuitBreaker(self._where)
        self._lock = threading.Lock()
        self._listed: tuple[float, list[dict[str, Any]] | GardenerError] | None = None
        self._refused: set[str] = set()
        """Fields that the server does not take, of those that can be left out or put in another way."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            thinking=True, structured=True, adapters=self._adapter_models, leaves_machine=not is_local(self._url)
        )

    def readiness(self, model: str = "") -> Readiness:
        try:
            self._model(model)
        except GardenerError as error:
            return Readiness(False, error.message, error.next_step, code=error.code)
        return Readiness(True)

    def models(self) -> tuple[str, ...]:
        names = [str(entry["id"]) for entry in self._list()]
        if self._default and names and self._default not in names:  # which `readiness` says
            return tuple(names)
        default = self._model("")
        return (default, *(name for name in names if name != default))

    def context_tokens(self, model: str = "") -> int:
        name = self._model(model)
        entry: Mapping[str, Any] = next((one for one in self._list() if one["id"] == name), {})
        found = [entry.get(key) for key in _WINDOWS]
        known = [size for size in found if isinstance(size, int) and not isinstance(size, bool) and size >= 512]
        return min([self._context, *known])

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        return estimate_tokens(text)

    def _model(self, model: str) -> str:
        names = [str(entry["id"]) for entry in self._list()]
        wanted = model or self._default
        if not wanted:
            if not names:
                raise ModelNotFound(
                    f"{self._where} lists no models.", next_step="gardener config set openai.model NAME"
                )
            return names[0]
        if wanted in names or not names:  # some servers list nothing and serve what they have
            return wanted
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:3]
        raise ModelNotFound(
            f"{self._where} has no model {wanted!r}. It has: {', '.join(near)}.", next_step="gardener models list"
        )

    def _list(self) -> list[dict[str, Any]]:
        """What /models lists, a short time old at most. Raises BackendUnavailable or BackendError."""
        with self._lock:
            kept = self._listed
        if kept is None or time.monotonic() - kept[0] >= FRESH_S:
            try:
                found: list[dict[str, Any]] | GardenerError = self._ask_for_list()
            except GardenerError as error:
                found = error
            kept = time.monotonic(), found
            with self._lock:
                self._listed = kept
        if isinstance(kept[1], GardenerError):
            raise kept[1]
        return kept[1]

    def _ask_for_list(self) -> list[dict[str, Any]]:
        timeout_s = PROBE_S if is_local(self._url) else REMOTE_PROBE_S
        headers = self._headers()
        try:
            status, content = quick_get(self._url, "/models", headers, timeout_s)
            answer = json.loads(content) if status == 200 and content.strip() else {}
        except (OSError, ValueError, RecursionError) as error:
            raise BackendUnavailable(
                f"Nothing answers at {self._url}."
                if isinstance(error, ConnectionRefusedError)
                else f"{self._where} does not answer properly: {without_key(str(error), headers)[:200]}",
                next_step="gardener config get openai.url",
            ) from None  # a library's error may hold the key
        if status == 404:
            return []  # not every server has the list
        if status != 200:
            wrong_key = " The key is missing or wrong." if status in (401, 403) else ""
            raise (BackendRefused if 300 <= status < 500 else BackendError)(
                f"{self._where} answered {status} to /models: {error_text(content, headers)}{wrong_key}",
                next_step="gardener config show --origin",
            )
        data = answer.get("data") if isinstance(answer, dict) else None
        return (
            [one for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]
            if isinstance(data, list)
            else []
        )

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    # ---- answering -----------------------------------------------------------------------------------

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        model = self._model(request.model)
        if self._adapter_models and request.adapter is not None:
            model = self._model(request.adapter.name)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "stream": True,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        body["stream_options"] = {"include_usage": True}
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)[:4]
        if request.json_schema:
            schema = {"name": "answer", "strict": True, "schema": json.loads(request.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        with self._lock:
            refused = tuple(self._refused)
        for field in refused:
            body = _without(body, field)
        return self._events(model, body, request, cancel)

    def _events(
        self, model: str, body: dict[str, Any], request: ChatRequest, cancel: threading.Event
    ) -> Iterator[BackendEvent]:
        text = TextStream(request.stop, THINK)
        usage: Usage | None = None
        finish, given, pieces = "", False, 0

        def so_far() -> Usage:
            if usage is not None:
                return usage
            prompt = sum(estimate_tokens(message.content).tokens for message in request.messages)
            return Usage(prompt, pieces)

        if cancel.is_set():
            yield Done("cancelled", so_far())
            return

        def on_refused(status: int, said: str) -> None:
            nonlocal body
            for field in _OPTIONAL if status in (400, 422) else ():
                if field in body and re.search(rf"(?<![a-z_]){field}(?![a-z_])", said):
                    with self._lock:
                        self._refused.add(field)
                    body = _without(body, field)
                    raise AskAgain(body)

        begun = time.perf_counter()
        first = 0.0
        headers = self._headers()
        lines = LineStream(
            self._where, f"{self._url}/chat/completions", body, headers=headers, limits=self._limits,
            cancelled=cancel.is_set, model=model,
        )  # fmt: skip
        try:
            with counted(self._breaker):
                ended = False
                for data in _data(lines.lines(on_refused)):
                    if data == "[DONE]":
                        ended = True
                        break
                    chunk = _chunk(data, self._where, headers)
                    if isinstance(counts := chunk.get("usage"), dict):
                        usage = _usage(counts, first and first - begun, first and time.perf_counter() - first)
                    choices = chunk.get("choices")
                    choice = choices[0] if isinstance(choices, list) and choices else {}
                    choice = choice if isinstance(choice, dict) else {}
                    delta = choice.get("delta")
                    delta = delta if isinstance(delta, dict) else {}
                    thought = delta.get("reasoning_content") or delta.get("reasoning")
                    said = delta.get("content")
                    if isinstance(thought, str) and thought:
                        first = first or time.perf_counter()
                        lines.useful()
                        given = True
                        yield ThinkingDelta(thought)
                    if isinstance(said, str) and said:
                        first = first or time.perf_counter()
                        lines.useful()
                        pieces += 1
                        for event in text.add(said):
                            given = True
                            yield event
                    if text.stopped:
                        finish = "stop"
                        break
                    if isinstance(choice.get("finish_reason"), str):
                        finish = choice["finish_reason"]
                for event in text.end():
                    given = True
                    yield event
                if not ended and not finish:
                    raise BackendUnavailable(
                        f"{self._where} ended the answer in the middle.", next_step="gardener doctor"
                    )
                if finish == "content_filter":
                    raise BackendRefused(
                        f"{self._where} withheld the rest of the answer (content_filter).",
                        next_step="gardener models list",
                    )
            yield Done("length" if finish == "length" else "stop", so_far())
        except Cancelled:
            yield Done("cancelled", so_far())
        except GardenerError as error:
            if not given:
                raise
            for event in text.end():
                yield event
            yield Done("error", so_far(), error.message, problem_of(error))

    def close(self) -> None:
        """Holds nothing."""


def _without(body: dict[str, Any], field: str) -> dict[str, Any]:
    """The request without a field that the server refused; the limit of tokens has a newer name."""
    changed = {key: value for key, value in body.items() if key != field}
    return changed | {"max_completion_tokens": body[field]} if field == "max_tokens" else changed


def _data(lines: Iterator[str]) -> Iterator[str]:
    """The data of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    held: list[str] = []
    for line in lines:
        if not line:
            if held:
                yield "\n".join(held)
                held = []
        elif line.startswith("data:"):
            held.append(line[5:].removeprefix(" "))
            if len(held) == 1 and _is_whole(held[0]):
                yield held.pop()  # servers that leave out the empty line
        elif line.startswith("{"):
            yield line  # an error in the middle, without any form
    if held:
        yield "\n".join(held)


def _is_whole(data: str) -> bool:
    if data == "[DONE]":
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _chunk(data: str, where: str, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"{where} sent something that is not JSON.", next_step="gardener doctor") from error
    if not isinstance(chunk, dict):
        raise BackendError(f"{where} sent JSON of another form.", next_step="gardener doctor")
    if chunk.get("error"):
        said = error_text(data.encode(), headers)
        raise BackendError(f"{where}: {said}", next_step="gardener doctor")
    return chunk


def _usage(counts: Mapping[str, Any], prompt_s: float, completion_s: float) -> Usage:
    details = counts.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(
        _number(counts.get("prompt_tokens")),
        _number(counts.get("completion_tokens")),
        estimated=False,
        cached_tokens=_number(cached),
        prompt_s=prompt_s,
        completion_s=completion_s,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0
