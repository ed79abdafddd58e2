"""Embedding models of Ollama and of OpenAI-compatible servers, over HTTP."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import BackendError, BackendUnavailable, EmbedderUnavailable
from gardener.models.embedder_spec import OLLAMA, EmbedderSpec
from gardener.models.embedder_vectors import by_characters, checked, halves, in_windows, joined
from gardener.resilience import CircuitBreaker, Deadline, retry_call

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 16
CONNECT_S = 5.0
IN_ALL_S = 60.0
"""One answer with all its repetitions. A server that loads its model first can take long."""
QUERY_S = 5.0
"""A question does not wait longer and is not repeated: words and names still answer it."""
MOST_BYTES = 64_000_000
WINDOW_CHARACTERS = 6_000
"""2,000 tokens of code, and the longest text that the index embeds; less when Ollama says that the model reads less,
so that few windows are refused for their length; one that is gets halved."""
CHARACTERS_PER_TOKEN = 3
SHORTEST_HALVED = 128
"""Characters. A server that refuses a text shorter than this means something else than its length."""
_EMBED = ("/api/embed", "/embeddings")
_TOO_LONG = re.compile(
    r"(?i)too (?:large|long|big|many tokens)|context (?:length|size)|maximum .{0,40}(?:length|tokens)"
)


class _Again(Exception):
    """Worth another try: the server could not be reached, is busy, or failed inside."""


class _Refused(Exception):
    """The server does not take one of these texts; what it said. Mostly it is longer than the model reads: Ollama
    says 400, llama.cpp 500, text-embeddings-inference 413."""


class ServerEmbedder:
    """Behind models.base.Embedder: Ollama's /api/embed or OpenAI's /embeddings. Thread-safe."""

    def __init__(self, spec: EmbedderSpec, *, dimensions_of: Callable[[str], int] = lambda _: 0) -> None:
        """Asks the server which model it has, and how long its vectors are unless `dimensions_of(identity)` knows.

        Raises EmbedderUnavailable.
        """
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
            base_url=spec.url, headers=headers, timeout=httpx.Timeout(IN_ALL_S, connect=CONNECT_S),
            trust_env=False, follow_redirects=False,
        )  # fmt: skip
        self._closed = threading.Event()
        self._breaker = CircuitBreaker(f"the embedding server {spec.url}")
        self.name = spec.model
        self.dimensions = 0
        self._window = WINDOW_CHARACTERS
        try:
            identity = spec.url
            if spec.kind == OLLAMA:
                digest = self._digest()
                self._window = self._ollama_window()
                identity = f"{digest} {self._window}"
            self.dimensions = dimensions_of(identity) or self._fitting(["x"], "").shape[1]
        except BaseException:
            self._client.close()
            raise
        self.fingerprint = spec.fingerprint(identity, self.dimensions)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._spec.text_prefix)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._spec.query_prefix, in_a_hurry=True)

    def _embed(self, texts: Sequence[str], prefix: str, *, in_a_hurry: bool = False) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimensions), np.float32)

        def batches(windows: list[str]) -> NDArray[np.float32]:
            clean = [window.encode("utf-8", "replace").decode() for window in windows]
            portions = [clean[at : at + BATCH] for at in range(0, len(clean), BATCH)]
            return np.concatenate([self._fitting(portion, prefix, in_a_hurry=in_a_hurry) for portion in portions])

        return in_windows(texts, lambda text: by_characters(text, self._window), batches)

    def _fitting(self, texts: Sequence[str], prefix: str, *, in_a_hurry: bool = False) -> NDArray[np.float32]:
        """Vectors of `texts`. The one that the server does not take, as it is too long, is found and halved, so that
        it costs the others nothing and its end still counts."""
        import numpy as np

        try:
            return self._request([prefix + text for text in texts], in_a_hurry=in_a_hurry)
        except _Refused as error:
            if len(texts) > 1:
                parts: tuple[Sequence[str], Sequence[str]] = texts[: len(texts) // 2], texts[len(texts) // 2 :]
            elif len(texts[0]) > SHORTEST_HALVED:
                first, second = halves(texts[0])
                parts = [first], [second]
            else:
                raise self._wrong(str(error)) from error
            vectors = np.concatenate([self._fitting(part, prefix, in_a_hurry=in_a_hurry) for part in parts])
            return vectors if len(texts) > 1 else joined(vectors)[None]

    def close(self) -> None:
        self._closed.set()
        self._client.close()

    # ---- the wire ------------------------------------------------------------------------------------

    def _request(self, texts: Sequence[str], *, in_a_hurry: bool = False) -> NDArray[np.float32]:
        if self._spec.kind == OLLAMA:
            # An empty text makes some models answer with no vector at all.
            # Cutting a long text without a word is what it does unless told otherwise.
            sent = [text or " " for text in texts]
            body: dict[str, object] = {"model": self._spec.model, "input": sent, "truncate": False}
            answer = self._call("POST", "/api/embed", body, in_a_hurry=in_a_hurry)
            raw = answer.get("embeddings")
        else:
            body = {"model": self._spec.model, "input": [text or " " for text in texts], "encoding_format": "float"}
            answer = self._call("POST", "/embeddings", body, in_a_hurry=in_a_hurry)
            entries = answer.get("data")
            try:
                entries = sorted(entries, key=lambda entry: int(entry["index"])) if entries else entries
                raw = [entry["embedding"] for entry in entries or ()]
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise self._wrong("an answer without vectors") from error
        return checked(raw, len(texts), self._where, self.dimensions)

    def _digest(self) -> str:
        """Ollama's digest of the model, so that a newer pull is noticed."""
        models = self._call("GET", "/api/tags").get("models")
        wanted = {self._spec.model, f"{self._spec.model}:latest"}
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and (model.get("name") in wanted or model.get("model") in wanted):
                return str(model.get("digest", ""))
        raise EmbedderUnavailable(
            f"Ollama on {self._spec.url} has no model '{self._spec.model}'.",
            next_step=f"ollama pull {self._spec.model}",
        )

    def _ollama_window(self) -> int:
        """Characters that the model reads at once, as /api/show has it ("bert.context_length")."""
        facts = self._call("POST", "/api/show", {"model": self._spec.model}).get("model_info")
        found = facts.items() if isinstance(facts, dict) else ()
        tokens = [n for key, n in found if key.endswith(".context_length") and isinstance(n, int) and n > 16]
        return min([WINDOW_CHARACTERS, *((n - 2) * CHARACTERS_PER_TOKEN for n in tokens)])

    def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, in_a_hurry: bool = False
    ) -> dict[str, Any]:
        import json

        import httpx

        if self._closed.is_set():
            raise EmbedderUnavailable(f"The embedder {self.name} has been closed.", next_step="gardener status")

        limit_s = QUERY_S if in_a_hurry else IN_ALL_S
        deadline = Deadline(limit_s)

        def attempt() -> dict[str, Any]:
            content = bytearray()
            left_s = max(0.1, deadline.remaining_s() or 0.0)
            timeout = httpx.Timeout(left_s, connect=min(CONNECT_S, left_s))
            try:
                with self._client.stream(method, path, json=body, timeout=timeout) as response:
                    for piece in response.iter_bytes():
                        content += piece
                        # A timeout of httpx is for each read: a server that sends a byte a second never meets it.
                        deadline.check(self._where)
                        if len(content) > MOST_BYTES:
                            raise self._wrong("an answer without end")
            except (httpx.HTTPError, BackendError) as error:
                raise _Again(f"{type(error).__name__} {error}".strip()) from error
            said = _said(content.decode("utf-8", "replace"))
            refused = response.status_code in (400, 413, 422) or (
                response.status_code >= 500 and _TOO_LONG.search(said)
            )
            if refused and path in _EMBED:
                raise _Refused(f"status {response.status_code}: {said}")
            if response.status_code == 429 or response.status_code >= 500:
                raise _Again(f"status {response.status_code}: {said}")
            if response.status_code != 200:
                raise self._wrong(f"status {response.status_code}: {said}")
            try:
                value = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise self._wrong("something that is not JSON") from error
            if not isinstance(value, dict):
                raise self._wrong("JSON of another form")
            return value

        try:
            with self._breaker.calling(failures=_Again):
                return retry_call(attempt, on=_Again, attempts=1 if in_a_hurry else 3, timeout_s=limit_s)
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
