"""A stand-in for Ollama's and OpenAI's embedding endpoints, written from their public API documentation.

Vectors are hashed bags of words, so that texts which share words are near each other.
https://docs.ollama.com/api/embed, https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO


class EmbeddingServer:
    def __init__(self) -> None:
        self.dimensions = 32
        self.digest = "sha256:aaaa"
        self.model = "words"
        self.key = ""
        self.context_length = 512
        self.most_characters = 0
        """A longer text is refused, and with it all that were sent with it; 0: none is."""
        self.refusal = (400, '{"error":{"message":"This model\'s maximum context length is 512 tokens"}}')
        """OpenAI-compatible servers differ in how they put it; Ollama's is its own."""
        self.requests = 0
        self.failures: list[tuple[int, str]] = []
        """Statuses and bodies of the next answers."""
        self.spoil: Any = None
        """Applied to the list of vectors before it is sent."""
        self.texts: list[str] = []
        """Everything that was embedded."""
        self.url = ""
        self.wire: Callable[[BinaryIO], None] | None = None
        """Writes the whole answer, status line and all, and may go on for ever: until the client has left."""
        self.leave = threading.Event()
        """Set at the end, for a `wire` that waits."""

    def vector(self, text: str) -> list[float]:
        vector = [0.01] * self.dimensions
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % self.dimensions] += 1.0
        return vector

    def answer(self, path: str, body: dict[str, Any], key: str) -> tuple[int, str]:
        if self.failures:
            return self.failures.pop(0)
        if self.key and key != f"Bearer {self.key}":
            return 401, json.dumps(
                {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}}
            )
        if path == "/api/tags":
            name = f"{self.model}:latest"
            return 200, json.dumps({"models": [{"name": name, "model": name, "digest": self.digest}]})
        if path == "/api/show":
            return 200, json.dumps({"details": {}, "model_info": {"bert.context_length": self.context_length}})
        texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input", [])
        if body.get("model") != self.model:
            return 404, json.dumps({"error": f'model "{body.get("model")}" not found, try pulling it first'})
        self.requests += 1
        if self.most_characters and max(map(len, texts)) > self.most_characters:
            if path != "/api/embed":
                return self.refusal
            if not body.get("truncate", True):
                return 400, json.dumps({"error": "the input length exceeds the context length"})
            texts = [text[: self.most_characters] for text in texts]
        self.texts += texts
        vectors: Any = [self.vector(text) for text in texts]
        if self.spoil is not None:
            vectors = self.spoil(vectors)
        if path == "/api/embed":
            return 200, json.dumps(
                {"model": self.model, "embeddings": vectors, "total_duration": 1, "load_duration": 1}
            )
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        return 200, json.dumps({"object": "list", "data": data[::-1], "model": self.model, "usage": {}})


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({})

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, body: dict[str, Any]) -> None:
            if state.wire is not None:
                self.close_connection = True
                with suppress(OSError):
                    state.wire(self.wfile)
                return
            path = self.path.removeprefix("/v1")
            status, text = state.answer(path, body, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode("utf-8", "surrogateescape"))))
            self.end_headers()
            self.wfile.write(text.encode("utf-8", "surrogateescape"))

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.leave.set()
        server.shutdown()
        server.server_close()
        thread.join()
