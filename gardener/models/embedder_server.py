"""Embedding models of Ollama and of OpenAI-compatible servers, over HTTP."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import BackendUnavailable, EmbedderUnavailable
from gardener.models.embedder_spec import OLLAMA, EmbedderSpec
from gardener.models.embedder_vectors import MOST_DIMENSIONS, by_characters, checked, halves, in_windows, joined
from gardener.resilience import CircuitBreaker, Deadline, retry_call

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH = 16
ATTEMPTS = 3
CONNECT_S = 5.0
BATCH_S, PROBE_S, QUERY_S = 60.0, 30.0, 5.0
"""For the vectors of BATCH texts, with all repetitions and halvings; for getting to know a server, which may load its
model first; for a question, which is not repeated: words and names still answer it."""
MOST_BYTES = 8_000_000
"""Twice what BATCH vectors of MOST_DIMENSIONS take as indented JSON. Parsed, it can become twenty times as much."""
LEAST_DIMENSIONS = 16
LARGEST_NUMBER = 1e30
"""Beyond it, squares are no float64 any more when there are many, and no model means it."""
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
        from gardener.models.bounded_http import bounded_client

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
        try:
            self._client = bounded_client(spec.url, headers, connect_s=CONNECT_S, most_bytes=MOST_BYTES)
        except ValueError as error:
            raise EmbedderUnavailable(
                f"The embedding server {spec.url} cannot be asked: {error}.", next_step="gardener embedder"
            ) from None  # what came before may quote the key
        self._key = key
        self._closed = threading.Event()
        self._breaker = CircuitBreaker(f"the embedding server {spec.url}")
        self.name = spec.model
        self.dimensions = 0
        self._window = WINDOW_CHARACTERS
        deadline = Deadline(PROBE_S)
        try:
            identity = spec.url
            if spec.kind == OLLAMA:
                digest = self._digest(deadline)
                self._window = self._ollama_window(deadline)
                identity = f"{digest} {self._window}"
            self.dimensions = dimensions_of(identity) or self._fitting(["x"], "", deadline).shape[1]
        except BaseException:
            self._client.close()
            raise
        self.fingerprint = spec.fingerprint(identity, self.dimensions)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._spec.text_prefix, lambda: Deadline(BATCH_S))

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        in_all = Deadline(QUERY_S)
        return self._embed(texts, self._spec.query_prefix, lambda: in_all, attempts=1)

    def _embed(
        self, texts: Sequence[str], prefix: str, deadline: Callable[[], Deadline], *, attempts: int = ATTEMPTS
    ) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimensions), np.float32)

        def batches(windows: list[str]) -> NDArray[np.float32]:
            clean = [window.encode("utf-8", "replace").decode() for window in windows]
            portions = [clean[at : at + BATCH] for at in range(0, len(clean), BATCH)]
            return np.concatenate([self._fitting(portion, prefix, deadline(), attempts) for portion in portions])

        return in_windows(texts, lambda text: by_characters(text, self._window), batches)

    def _fitting(
        self, texts: Sequence[str], prefix: str, deadline: Deadline, attempts: int = ATTEMPTS
    ) -> NDArray[np.float32]:
        """Vectors of `texts`. The one that the server does not take, as it is too long, is found and halved, so that
        it costs the others nothing and its end still counts."""
        import numpy as np

        try:
            return self._request([prefix + text for text in texts], deadline, attempts)
        except _Refused as error:
            if len(texts) > 1:
                parts: tuple[Sequence[str], Sequence[str]] = texts[: len(texts) // 2], texts[len(texts) // 2 :]
            elif len(texts[0]) > SHORTEST_HALVED:
                first, second = halves(texts[0])
                parts = [first], [second]
            else:
                raise self._wrong(str(error)) from error
            vectors = np.concatenate([self._fitting(part, prefix, deadline, attempts) for part in parts])
            return vectors if len(texts) > 1 else joined(vectors)[None]

    def close(self) -> None:
        self._closed.set()
        self._client.close()

    # ---- the wire ------------------------------------------------------------------------------------

    def _request(self, texts: Sequence[str], deadline: Deadline, attempts: int) -> NDArray[np.float32]:
        # An empty text makes some models answer with no vector at all.
        body: dict[str, object] = {"model": self._spec.model, "input": [text or " " for text in texts]}
        if self._spec.kind == OLLAMA:
            # Cutting a long text without a word is what it does unless told otherwise.
            body["truncate"] = False
            raw = self._call("POST", "/api/embed", deadline, body, attempts).get("embeddings")
        else:
            body["encoding_format"] = "float"
            raw = self._in_order(self._call("POST", "/embeddings", deadline, body, attempts).get("data"))
        if not isinstance(raw, list):
            raise self._wrong("an answer without vectors")
        if len(raw) != len(texts):
            raise self._wrong(f"{len(raw)} vectors instead of {len(texts)}")
        for row in raw:
            self._check_row(row)
        return checked(raw, len(texts), self._where, self.dimensions)

    def _in_order(self, entries: object) -> list[object]:
        """The vectors of OpenAI's answer, each of which says to which text it belongs."""
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self._wrong("an answer without vectors")
        places = {entry.get("index"): entry.get("embedding") for entry in entries if type(entry.get("index")) is int}
        if places.keys() != set(range(len(entries))):
            raise self._wrong("vectors that do not say to which text they belong")
        return [places[at] for at in range(len(entries))]

    def _check_row(self, row: object) -> None:
        """Before numpy sees it, which would take texts for numbers, and a million dimensions."""
        if not isinstance(row, list):
            raise self._wrong("something that is not vectors")
        if not all(type(number) in (float, int) for number in row):
            raise self._wrong("vectors that hold something else than numbers")
        if not all(-LARGEST_NUMBER < number < LARGEST_NUMBER for number in row):
            raise self._wrong("vectors with numbers that are too large")
        if not LEAST_DIMENSIONS <= len(row) <= MOST_DIMENSIONS:
            raise self._wrong(f"vectors of {len(row):,} numbers; {LEAST_DIMENSIONS} to {MOST_DIMENSIONS:,} can be used")

    def _digest(self, deadline: Deadline) -> str:
        """Ollama's digest of the model, so that a newer pull is noticed."""
        models = self._call("GET", "/api/tags", deadline).get("models")
        wanted = (self._spec.model, f"{self._spec.model}:latest")
        for model in models if isinstance(models, list) else ():
            if isinstance(model, dict) and (model.get("name") in wanted or model.get("model") in wanted):
                digest = model.get("digest", "")
                if not isinstance(digest, str):
                    raise self._wrong("a digest that is not a text")
                return digest
        raise EmbedderUnavailable(
            f"Ollama on {self._spec.url} has no model '{self._spec.model}'.",
            next_step=f"ollama pull {self._spec.model}",
        )

    def _ollama_window(self, deadline: Deadline) -> int:
        """Characters that the model reads at once, as /api/show has it ("bert.context_length")."""
        facts = self._call("POST", "/api/show", deadline, {"model": self._spec.model}).get("model_info")
        found = facts.items() if isinstance(facts, dict) else ()
        tokens = [n for key, n in found if key.endswith(".context_length") and isinstance(n, int) and n > 16]
        return min([WINDOW_CHARACTERS, *((n - 2) * CHARACTERS_PER_TOKEN for n in tokens)])

    def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Mapping[str, object] | None = None,
        attempts: int = ATTEMPTS,
    ) -> dict[str, Any]:
        """The JSON object that the server answers with. Raises EmbedderUnavailable, and _Refused for texts."""
        from gardener.models.bounded_http import TransferFailed, exchange, json_object

        if self._closed.is_set():
            raise EmbedderUnavailable(f"The embedder {self.name} has been closed.", next_step="gardener status")

        def attempt() -> dict[str, Any]:
            try:
                status, content = exchange(self._client, method, path, body, deadline=deadline)
            except TransferFailed as error:
                if error.kind == "oversized":
                    raise self._wrong(str(error)) from error
                raise _Again(str(error)) from error
            said = self._said(content)
            refused = status in (400, 413, 422) or (status >= 500 and _TOO_LONG.search(said))
            if refused and path in _EMBED:
                raise _Refused(f"status {status}: {said}")
            if status == 429 or status >= 500:
                raise _Again(f"status {status}: {said}")
            if status != 200:
                raise self._wrong(f"status {status}: {said}")
            try:
                return json_object(content)
            except ValueError as error:
                raise self._wrong(str(error)) from error

        try:
            with self._breaker.calling(failures=_Again):
                return retry_call(attempt, on=_Again, attempts=attempts, timeout_s=deadline.remaining_s())
        except _Again as error:
            raise EmbedderUnavailable(
                f"The embedding server {self._spec.url} does not answer: {str(error)[:200]}",
                next_step="gardener embedder",
            ) from error
        except BackendUnavailable as error:
            raise EmbedderUnavailable(error.message, next_step="gardener embedder") from error

    def _wrong(self, what: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"{self._where} gave {what}.", next_step="gardener embedder")

    def _said(self, content: bytes) -> str:
        text = " ".join(content[:2_000].decode("utf-8", "replace").split())
        # Some servers repeat the key that they refuse.
        return (text.replace(self._key, "…") if self._key else text)[:200]
