"""A stand-in for an Ollama server, after its public API documentation (https://docs.ollama.com/api) and its scheduler's
rules: what reloads a runner, how long it stays, how a long prompt loses its front. Faults on demand.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RELOADS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
"""A runner that was started with other values of these does not fit, and is started anew."""
LOAD_NS = 1_500_000_000


@dataclass
class Model:
    name: str
    size: int = 4_000_000_000
    context: int = 32_768
    modified: str = "2026-11-01T10:00:00Z"
    thinks: bool = False
    digest: str = "a" * 64


@dataclass
class OllamaServer:
    url: str = ""
    models: dict[str, Model] = field(default_factory=lambda: {"tiny:latest": Model("tiny:latest")})
    loaded: dict[str, tuple[dict[str, Any], float]] = field(default_factory=dict)
    """Model to its runner's options and the time when it leaves."""
    loads: int = 0
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    words: tuple[str, ...] = ("It", " loads", " the", " session", " [1]", ".", " Then", " it", " ends", ".")
    thoughts: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)
    """For the next chats, one each: 429, 500, 503, hang, cut, drip, garbage, error, endless, nested, silent, 400."""
    retry_after: str = ""
    layers: tuple[int, ...] = (3_000, 500)
    kept: dict[str, int] = field(default_factory=dict)
    """Bytes that an interrupted pull has left, by layer."""
    pull_fault: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def runner(self, name: str, options: dict[str, Any], keep_alive: Any) -> int:
        """Starts a runner if none fits; returns how long that took (ns)."""
        with self.lock:
            now = time.monotonic()
            for other, (_, leaves) in list(self.loaded.items()):
                if leaves < now:
                    del self.loaded[other]
            mine = {key: options[key] for key in RELOADS if key in options} or {"num_ctx": 4096}
            known = self.loaded.get(name)
            took = 9_000_000
            if known is None or known[0] != mine:
                self.loaded.clear()  # one model fits into this machine's memory
                self.loads += 1
                took = LOAD_NS
            self.loaded[name] = mine, now + _seconds(keep_alive)
            return took


def _seconds(keep_alive: Any) -> float:
    if keep_alive is None:
        return 300.0
    if isinstance(keep_alive, int | float):
        return 1e9 if keep_alive < 0 else float(keep_alive)
    return float(keep_alive[:-1]) * {"s": 1, "m": 60, "h": 3600}[keep_alive[-1]]


def tokens(text: str) -> int:
    return len(text) // 4 + 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: OllamaServer

    def do_GET(self) -> None:
        state = self.state
        if self.path == "/api/version":
            self.reply({"version": "0.33.0"})
        elif self.path == "/api/tags":
            self.reply({"models": [self.entry(model) for model in state.models.values()]})
        elif self.path == "/api/ps":
            now = time.monotonic()
            held = [
                {**self.entry(state.models[name]), "size_vram": 0, "context_length": options.get("num_ctx", 4096)}
                for name, (options, leaves) in state.loaded.items()
                if leaves > now
            ]
            self.reply({"models": held})
        else:
            self.reply({"error": "not found"}, 404)

    @staticmethod
    def entry(model: Model) -> dict[str, Any]:
        return {
            "name": model.name, "model": model.name, "modified_at": model.modified, "size": model.size,
            "digest": model.digest,
            "details": {"family": "llama", "parameter_size": "7.6B", "quantization_level": "Q4_K_M", "format": "gguf"},
        }  # fmt: skip

    def do_DELETE(self) -> None:
        body = self.body()
        name = self.full(str(body.get("model") or body.get("name")))
        if self.state.models.pop(name, None) is None:
            self.reply({"error": f"model '{name}' not found"}, 404)
        else:
            self.reply(None)

    def do_POST(self) -> None:
        body = self.body()
        self.state.requests.append((self.path, body))
        if self.path == "/api/pull":
            self.pull(body)
            return
        name = self.full(str(body.get("model")))
        model = self.state.models.get(name)
        if model is None:
            self.reply({"error": f"model '{body.get('model')}' not found"}, 404)
        elif self.path == "/api/show":
            capabilities = ["completion", *(["thinking"] if model.thinks else [])]
            info = {"general.architecture": "llama", "llama.context_length": model.context}
            self.reply({"model_info": info, "details": self.entry(model)["details"], "capabilities": capabilities})
        elif self.path == "/api/chat":
            self.chat(model, body)
        else:
            self.reply({"error": "not found"}, 404)

    def chat(self, model: Model, body: dict[str, Any]) -> None:
        state = self.state
        fault = state.faults.pop(0) if state.faults else ""
        if fault in ("429", "500", "503", "400"):
            self.reply({"error": "server busy, please try again" if fault != "400" else "invalid options"}, int(fault))
            return
        if fault == "hang":
            state.stop.wait(30)
            self.close_connection = True
            return
        if body.get("think") and not model.thinks:
            self.reply({"error": f'"{model.name}" does not support thinking'}, 400)
            return
        options = body.get("options", {})
        load_ns = state.runner(model.name, options, body.get("keep_alive"))
        window = min(int(options.get("num_ctx", 4096)), model.context)
        prompt = sum(tokens(message["content"]) + 4 for message in body["messages"])
        counts = {
            "done": True, "total_duration": load_ns + 1, "load_duration": load_ns,
            "prompt_eval_count": min(prompt, window), "prompt_eval_duration": 2_000_000,
            "eval_count": 0, "eval_duration": 3_000_000,
        }  # fmt: skip
        if not body["messages"]:
            self.reply(
                {"model": model.name, "message": {"role": "assistant", "content": ""}, "done_reason": "load", **counts}
            )
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if fault == "silent":
            state.stop.wait(30)
            return
        if fault == "garbage":
            self.line("<html>gateway</html>")
            return
        if fault == "nested":
            self.line("[" * 200_000)
            return
        for thought in state.thoughts if model.thinks else ():
            self.say(model, {"content": "", "thinking": thought})
        written, text = 0, ""
        most = int(options.get("num_predict", -1))
        reason = "stop"
        words: Any = state.words
        if fault == "endless":
            words = iter(lambda: " more", "")
        for word in words:
            if 0 <= most <= written:
                reason = "length"
                break
            text += word
            if any(mark in text for mark in options.get("stop", [])):
                break
            if not self.say(model, {"content": word}):
                return
            written += 1
            if fault == "cut" and written == 3:
                return
            if fault == "error" and written == 3:
                self.line(json.dumps({"error": "llama runner process has terminated: exit status 2"}))
                return
            if fault == "drip" and written == 3:
                while not state.stop.wait(0.02):
                    if not self.raw(b" "):
                        return
                return
            if fault == "stall" and written == 3:
                state.stop.wait(30)
                return
        counts["eval_count"] = written
        done = {"model": model.name, "message": {"role": "assistant", "content": ""}, "done_reason": reason, **counts}
        self.line(json.dumps(done))

    def pull(self, body: dict[str, Any]) -> None:
        state = self.state
        name = self.full(str(body.get("model") or body.get("name")))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.line(json.dumps({"status": "pulling manifest"}))
        if name.startswith("nowhere"):
            self.line(json.dumps({"error": "pull model manifest: file does not exist"}))
            return
        for number, size in enumerate(state.layers):
            digest = f"sha256:{number:064d}"
            done = state.kept.get(digest, 0)
            while True:
                step = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size, "completed": done}
                if not self.line(json.dumps(step)):
                    return
                state.kept[digest] = done
                if done >= size:
                    break
                if state.pull_fault == "full" and done:
                    self.line(json.dumps({"error": f"write /root/.ollama/blobs/{digest}: no space left on device"}))
                    return
                if state.pull_fault == "cut" and done:
                    return
                done = min(size, done + 500)
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            self.line(json.dumps({"status": status}))
        state.models[name] = Model(name)

    def say(self, model: Model, message: dict[str, Any]) -> bool:
        return self.line(json.dumps({"model": model.name, "message": {"role": "assistant", **message}, "done": False}))

    def line(self, text: str) -> bool:
        return self.raw(text.encode() + b"\n")

    def raw(self, data: bytes) -> bool:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            return False
        return True

    def full(self, name: str) -> str:
        return name if ":" in name else f"{name}:latest"

    def body(self) -> dict[str, Any]:
        found = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        return found if isinstance(found, dict) else {}

    def reply(self, body: Any, status: int = 200) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.state.retry_after and status in (429, 503):
            self.send_header("Retry-After", self.state.retry_after)
        self.end_headers()
        self.raw(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def ollama_server() -> Iterator[OllamaServer]:
    state = OllamaServer()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
