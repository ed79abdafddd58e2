"""Embedding models of Ollama and of OpenAI-compatible servers, over HTTP."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import BackendUnavailable, EmbedderUnavailable
from gardener.models.embedder_spec import OLLAMA, EmbedderSpec
from gardener.models.embedder_vectors import checked, in_windows
from gardener.resilience import CircuitBreaker, retry_call

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 16
CONNECT_S, READ_S, IN_ALL_S = 5.0, 60.0, 120.0
"""A server that loads its model first can take long for the first answer."""
WINDOW_CHARACTERS = 6_000
"""Servers' embedding models usually read 2,048 tokens or more; this is the longest text that the index embeds."""


class _Again(Exception):
    """Worth another try: the server could not be reached, is busy, or failed inside."""


class ServerEmbedder:
    """Behind models.base.Embedder: Ollama's /api/embed or OpenAI's /embeddings. Thread-safe."""

    def __init__(self, spec: EmbedderSpec) -> None:
        """Asks the server which model it has and how long its vectors are. Raises EmbedderUnavailable."""
        import httpx

        self._spec = spec
        self._where = f"{spec.model} on {spec.url}"
        headers = {}
        key = os.environ.get(spec.key_variable, "") if spec.key_variable else ""
        if spec.key_variable and not key:
            raise EmbedderUnavailable(
                f"The key for {spec.url} is not there: the environment variable {spec.key_variable} is empty.",
                next_step=f"export {spec.key_variable}=…",
            )
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # Not the environment's proxies: code goes where the user said and nowhere else.
        self._client = httpx.Client(
            base_url=spec.url, headers=headers, timeout=httpx.Timeout(READ_S, connect=CONNECT_S), trust_env=False,
            follow_redirects=False,
        )  # fmt: skip
        self._closed = threading.Event()
        self._breaker = CircuitBreaker(f"the embedding server {spec.url}")
        self.name = spec.model
        self.dimensions = 0
        try:
            identity = self._digest() if spec.kind == OLLAMA else spec.url
            self.dimensions = self._request(["x"]).shape[1]
        except BaseException:
            self._client.close()
            raise
        self.fingerprint = spec.fingerprint(identity, self.dimensions)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._spec.text_prefix)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._spec.query_prefix)

    def _embed(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimensions), np.float32)

        def batches(windows: list[str]) -> NDArray[np.float32]:
            clean = [prefix + window.encode("utf-8", "replace").decode() for window in windows]
            return np.concatenate([self._request(clean[at : at + BATCH]) for at in range(0, len(clean), BATCH)])

        return in_windows(texts, WINDOW_CHARACTERS, batches)

    def close(self) -> None:
        self._closed.set()
        self._client.close()

    # ---- the wire ------------------------------------------------------------------------------------

    def _request(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._spec.kind == OLLAMA:
            # An empty text makes some models answer with no vector at all.
            answer = self._post("/api/embed", {"model": self._spec.model, "input": [text or " " for text in texts]})
            raw = answer.get("embeddings")
        else:
            body = {"model": self._spec.model, "input": [text or " " for text in texts], "encoding_format": "float"}
            answer = self._post("/embeddings", body)
            entries = answer.get("data")
            try:
                entries = sorted(entries, key=lambda entry: int(entry["index"])) if entries else entries
                raw = [entry["embedding"] for entry in entries or ()]
            except (KeyError, TypeError, ValueError) as error:
                raise self._wrong("an answer without vectors") from error
        return checked(raw, len(texts), self._where, self.dimensions)

    def _digest(self) -> str:
        """Ollama's digest of the model, so that a newer pull is noticed."""
        models = self._call(lambda: self._client.get("/api/tags")).get("models")
        wanted = {self._spec.model, f"{self._spec.model}:latest"}
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and (model.get("name") in wanted or model.get("model") in wanted):
                return str(model.get("digest", ""))
        raise EmbedderUnavailable(
            f"Ollama on {self._spec.url} has no model '{self._spec.model}'.",
            next_step=f"ollama pull {self._spec.model}",
        )

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        return self._call(lambda: self._client.post(path, json=body))

    def _call(self, send: Callable[[], Any]) -> dict[str, Any]:
        import httpx

        if self._closed.is_set():
            raise EmbedderUnavailable(f"The embedder {self.name} has been closed.", next_step="gardener status")

        def attempt() -> dict[str, Any]:
            try:
                response = send()
            except httpx.HTTPError as error:
                raise _Again(f"{type(error).__name__} {error}".strip()) from error
            if response.status_code == 429 or response.status_code >= 500:
                raise _Again(f"status {response.status_code}: {_said(response.text)}")
            if response.status_code != 200:
                raise self._wrong(f"status {response.status_code}: {_said(response.text)}")
            try:
                value = response.json()
            except ValueError as error:
                raise self._wrong("something that is not JSON") from error
            if not isinstance(value, dict):
                raise self._wrong("JSON of another form")
            return value

        try:
            with self._breaker.calling(failures=_Again):
                return retry_call(attempt, on=_Again, attempts=3, timeout_s=IN_ALL_S)
        except _Again as error:
            raise EmbedderUnavailable(
                f"The embedding server {self._spec.url} does not answer: {str(error)[:200]}",
                next_step="gardener embedder",
            ) from error
        except BackendUnavailable as error:
            raise EmbedderUnavailable(error.message, next_step="gardener embedder") from error

    def _wrong(self, what: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"{self._where} gave {what}.", next_step="gardener embedder")


def _said(text: str) -> str:
    return " ".join(text.split())[:200]
