"""A stand-in for Ollama's server, written from its public API documentation and the rules of its scheduler.

It has no model: what it says is a script. Everything around the words is what Ollama does: streams of JSON lines,
runners that are loaded again when an option of theirs changes, prompts that lose their front without a word, pulls
with progress for each layer, error bodies, and overload. `faults` makes it misbehave.

https://docs.ollama.com/api; the sentences of errors are those of its server at v0.33.
"""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

RUNNER_OPTIONS: Final = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
"""A change of one of these starts a runner anew; sampling options do not."""
DEFAULT_CONTEXT: Final = 4096
LOAD_NS: Final = 1_500_000_000
RESIDENT_NS: Final = 2_000_000
SAID: Final = (
    "The function load_session reads a session from the disk [1]. It raises KeyError when there is none, gives an "
    "empty one for an empty file, and sets visits to zero.\n\nThe handler login calls it [2]."
)
THOUGHT: Final = "The user asks about load_session; the first source has it."
_TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")

FaultKind = Literal[
    "status", "hang", "reset", "cut", "silent", "drip", "endless", "not json", "not an object", "error line",
    "long line", "large answer", "drip whole",
]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. `after` words were sent before it."""

    kind: FaultKind
    after: int = 0
    status: int = 500
    body: str = '{"error":"llama runner process has terminated"}'
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Model:
    name: str
    size: int = 4_000_000_000
    family: str = "llama"
    parameters: str = "7.2B"
    quantization: str = "Q4_K_M"
    context: int = 32_768
    capabilities: tuple[str, ...] = ("completion",)
    modified: str = "2026-05-04T14:56:49.277302595-07:00"
    remote_host: str = ""
    remote_model: str = ""

    @property
    def digest(self) -> str:
        return f"{zlib.crc32(self.name.encode()):08x}" * 8

    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "", "format": "gguf", "family": self.family, "families": [self.family],
            "parameter_size": self.parameters, "quantization_level": self.quantization,
        }  # fmt: skip


@dataclass
class Runner:
    model: Model
    options: tuple[tuple[str, Any], ...]
    context: int
    expires: float
    """On the server's own clock, see `OllamaServer.now`."""


@dataclass
class Recorded:
    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    """Names in lower case."""

    @property
    def runner_options(self) -> dict[str, Any]:
        options = self.body.get("options") or {}
        return {name: options[name] for name in RUNNER_OPTIONS if name in options}


@dataclass
class OllamaServer:
    models: dict[str, Model] = field(default_factory=dict)
    memory: int = 6_000_000_000
    """What runners may take together; loading one more evicts idle ones, embedders as well as chat models."""
    key: str = ""
    said: str = SAID
    thought: str = THOUGHT
    pace_s: float = 0.0
    """Between two words."""
    faults: deque[Fault] = field(default_factory=deque)
    """For the next requests to `fault_path`, one each."""
    fault_path: str = "/api/chat"
    requests: list[Recorded] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    """Names of models in the order in which runners were started for them."""
    prompts: list[str] = field(default_factory=list)
    """What was left of each prompt."""
    layers: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """What /api/pull finds in the library: digests and bytes."""
    have: dict[str, int] = field(default_factory=dict)
    """Bytes of each digest that are here, of broken pulls too."""
    pull_fault: Fault | None = None
    step: int = 1_000_000
    url: str = ""
    now: Callable[[], float] = time.monotonic
    disconnected: threading.Event = field(default_factory=threading.Event)
    """A client went away before its answer had ended."""
    streaming: threading.Event = field(default_factory=threading.Event)
    """An answer, or a fault in its place, has begun."""
    over: threading.Event = field(default_factory=threading.Event)
    runners: dict[str, Runner] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, *models: Model) -> None:
        for model in models:
            self.models[model.name] = model

    def find(self, name: str) -> Model | None:
        return self.models.get(name) or self.models.get(f"{name}:latest")

    def sent(self, path: str) -> list[Recorded]:
        return [request for request in self.requests if request.path == path]

    def option_changes(self) -> int:
        """How often the options that decide about a reload differed from those of the request before."""
        sent = [request.runner_options for request in self.requests if request.body.get("options") is not None]
        return sum(1 for before, after in itertools.pairwise(sent) if before != after)

    # ---- the scheduler -------------------------------------------------------------------------------

    def schedule(self, model: Model, body: dict[str, Any]) -> tuple[Runner, int]:
        """A runner with the options of the request, and the nanoseconds of loading it."""
        options = body.get("options") or {}
        wanted = {name: options[name] for name in RUNNER_OPTIONS if name in options}
        context = min(int(wanted.get("num_ctx", DEFAULT_CONTEXT)), model.context)
        wanted["num_ctx"] = context
        key = tuple(sorted(wanted.items()))
        with self.lock:
            self.expire()
            runner, took = self.runners.get(model.name), RESIDENT_NS
            if runner is None or runner.options != key:
                self.runners.pop(model.name, None)
                while self.runners and sum(r.model.size for r in self.runners.values()) + model.size > self.memory:
                    self.runners.pop(min(self.runners, key=lambda name: self.runners[name].expires))
                runner, took = Runner(model, key, context, 0.0), LOAD_NS
                self.runners[model.name] = runner
                self.loads.append(model.name)
            runner.expires = self.now() + seconds(body.get("keep_alive", "5m"))
            return runner, took

    def expire(self) -> None:
        self.runners = {name: runner for name, runner in self.runners.items() if runner.expires > self.now()}


def seconds(keep_alive: object) -> float:
    """As Ollama reads a duration: a number is seconds, less than nothing is for ever."""
    if isinstance(keep_alive, int | float):
        return float("inf") if keep_alive < 0 else float(keep_alive)
    found = re.findall(r"(-?[\d.]+)(h|ms|m|s)", str(keep_alive))
    if not found:
        raise ValueError(f'time: invalid duration "{keep_alive}"')
    total = sum(float(number) * {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}[unit] for number, unit in found)
    return float("inf") if total < 0 else total


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def fit(messages: list[dict[str, Any]], context: int) -> tuple[str, int]:
    """The prompt, without its oldest messages when it is too long, and without its front when that does not help."""

    def rendered(kept: list[dict[str, Any]]) -> list[str]:
        return [piece for message in kept for piece in [f"<|{message['role']}|>", *tokens(message["content"] or "")]]

    pieces: list[str] = []
    for start in range(len(messages)):
        system = [message for message in messages[:start] if message["role"] == "system"]
        pieces = rendered([*system, *messages[start:]])
        if len(pieces) <= context:
            break
    if len(pieces) > context - 1:
        pieces = pieces[len(pieces) - context // 2 :]
    return "".join(pieces), len(pieces)


def meets(schema: dict[str, Any], said: str) -> Any:
    """Something that a JSON schema allows."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: meets(inner, said) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [meets(schema.get("items", {"type": "string"}), said)]
    return {"string": said, "integer": 7, "number": 0.5, "boolean": True, "null": None}[kind]


class Away(Exception):
    """The client has closed the connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: OllamaServer

    def do_GET(self) -> None:
        self.serve({})

    def do_POST(self) -> None:
        self.serve_body()

    def do_DELETE(self) -> None:
        self.serve_body()

    def serve_body(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            self.whole(400, {"error": "missing request body" if not raw else "invalid character"})
            return
        self.serve(body)

    def serve(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.state.lock:
            self.state.requests.append(Recorded(self.command, self.path, body, headers))
            faulty = self.path == self.state.fault_path and self.state.faults
            fault = self.state.faults.popleft() if faulty else None
        given = self.headers.get("Authorization", "")
        if self.state.key and given != f"Bearer {self.state.key}":
            # Some servers repeat the key that they refuse.
            self.whole(401, {"error": {"message": f"Incorrect API key provided: {given.removeprefix('Bearer ')}"}})
            return
        answer = self.routes(body, fault).get((self.command, self.path))
        try:
            if fault is not None and self.early(fault):
                return
            if answer is None:
                self.whole(404, {"error": "404 page not found"})
            else:
                answer()
        except (Away, BrokenPipeError, ConnectionResetError):
            self.state.disconnected.set()
            self.close_connection = True

    def routes(self, body: dict[str, Any], fault: Fault | None) -> dict[tuple[str, str], Callable[[], None]]:
        return {
            ("GET", "/api/version"): lambda: self.whole(200, {"version": "0.33.0"}),
            ("GET", "/api/tags"): self.tags,
            ("GET", "/api/ps"): self.running,
            ("POST", "/api/show"): lambda: self.show(body),
            ("POST", "/api/chat"): lambda: self.chat(body, fault),
            ("POST", "/api/generate"): lambda: self.chat(body, fault),
            ("POST", "/api/embed"): lambda: self.embed(body),
            ("POST", "/api/pull"): lambda: self.pull(body),
            ("DELETE", "/api/delete"): lambda: self.delete(body),
        }

    # ---- answers -------------------------------------------------------------------------------------

    def whole(self, status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
        raw = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.state.streaming.set()

    def line(self, value: object) -> None:
        self.raw((value if isinstance(value, str) else json.dumps(value)) + "\n")

    def raw(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def wait(self) -> None:
        """Until the client goes away. Raises Away."""
        self.state.streaming.set()
        while not self.state.over.is_set():
            self.listen(0.02)
        raise Away

    def listen(self, timeout_s: float) -> None:
        if select.select([self.connection], [], [], timeout_s)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            raise Away

    def early(self, fault: Fault) -> bool:
        """Faults that come before any answer."""
        if fault.kind == "status":
            self.whole(fault.status, fault.body, fault.headers)
        elif fault.kind == "hang":
            self.wait()
        elif fault.kind == "drip whole":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.state.streaming.set()
            while not self.state.over.is_set():
                self.wfile.write(b" ")
                self.listen(0.02)
            raise Away
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.close_connection = True
        else:
            return False
        return True

    def late(self, fault: Fault) -> None:
        """Faults in the middle of an answer; the last of them ends it."""
        if fault.kind == "cut":
            self.close_connection = True
            raise Away
        if fault.kind == "silent":
            self.wait()
        if fault.kind == "drip":
            while not self.state.over.is_set():
                self.raw(" ")
                self.listen(0.02)
            raise Away
        if fault.kind == "endless":
            while not self.state.over.is_set():
                self.line(self.piece("more "))
                self.listen(0.001)
            raise Away
        if fault.kind in ("not json", "not an object", "error line"):
            self.line({"not json": '{"message":', "not an object": "[1, 2]", "error line": fault.body}[fault.kind])
            self.end()
        elif fault.kind in ("long line", "large answer"):
            for _ in range(4_000):
                self.raw(("x" * 9_999) + ("\n" if fault.kind == "large answer" else "x"))
            self.end()

    def piece(self, content: str, thinking: str = "") -> dict[str, Any]:
        message = {"role": "assistant", "content": content}
        if thinking:
            message["thinking"] = thinking
        return {"model": "m", "created_at": "2026-05-04T14:56:49Z", "message": message, "done": False}

    # ---- endpoints -----------------------------------------------------------------------------------

    def missing(self, name: object) -> None:
        self.whole(404, {"error": f"model '{name}' not found"})

    def tags(self) -> None:
        listed = []
        for model in sorted(self.state.models.values(), key=lambda model: model.modified, reverse=True):
            entry = {
                "name": model.name, "model": model.name, "modified_at": model.modified, "size": model.size,
                "digest": model.digest, "details": model.details(), "capabilities": list(model.capabilities),
            }  # fmt: skip
            if model.remote_host:
                entry |= {"remote_host": model.remote_host, "remote_model": model.remote_model}
            listed.append(entry)
        self.whole(200, {"models": listed})

    def running(self) -> None:
        with self.state.lock:
            self.state.expire()
            runners = list(self.state.runners.values())
        self.whole(
            200,
            {
                "models": [
                    {
                        "name": runner.model.name, "model": runner.model.name, "size": runner.model.size,
                        "size_vram": runner.model.size, "digest": runner.model.digest,
                        "details": runner.model.details(), "expires_at": "2318-05-04T14:56:49Z",
                        "context_length": runner.context,
                    }
                    for runner in runners
                ]
            },
        )  # fmt: skip

    def show(self, body: dict[str, Any]) -> None:
        model = self.state.find(str(body.get("model")))
        if model is None:
            self.missing(body.get("model"))
            return
        info = {"general.architecture": model.family, f"{model.family}.context_length": model.context}
        self.whole(
            200,
            {
                "modelfile": "", "parameters": "", "template": "{{ .Prompt }}", "details": model.details(),
                "model_info": info, "capabilities": list(model.capabilities), "modified_at": model.modified,
            },
        )  # fmt: skip

    def chat(self, body: dict[str, Any], fault: Fault | None) -> None:
        begun = time.perf_counter()
        model = self.state.find(str(body.get("model")))
        if model is None:
            self.missing(body.get("model"))
            return
        if "completion" not in model.capabilities:
            self.whole(400, {"error": f'"{body["model"]}" does not support chat'})
            return
        thinks = "thinking" in model.capabilities
        if body.get("think") and not thinks:
            self.whole(400, {"error": f'"{body["model"]}" does not support thinking'})
            return
        messages = body.get("messages") or ([{"role": "user", "content": body["prompt"]}] if body.get("prompt") else [])
        if not messages and body.get("keep_alive") == 0:
            with self.state.lock:
                self.state.runners.pop(model.name, None)
            self.whole(200, self.piece("") | {"done": True, "done_reason": "unload"})
            return
        runner, load_ns = self.state.schedule(model, body)
        if not messages:  # loads, and does not say how long it took
            self.whole(200, self.piece("") | {"done": True, "done_reason": "load"})
            return
        prompt, count = fit(messages, runner.context)
        self.state.prompts.append(prompt)
        options = body.get("options") or {}
        pieces, reason = self.written(body, options)
        counts = {
            "done": True, "done_reason": reason, "total_duration": int((time.perf_counter() - begun) * 1e9) + load_ns,
            "load_duration": load_ns, "prompt_eval_count": count, "prompt_eval_duration": 1_000_000 * count,
            "eval_count": len(pieces), "eval_duration": 2_000_000 * len(pieces),
        }  # fmt: skip
        thoughts = tokens(self.state.thought) if thinks and body.get("think") is not False else []
        if body.get("stream") is False:
            self.whole(200, self.piece("".join(pieces), "".join(thoughts)) | counts)
            return
        self.begin()
        for thought in thoughts:
            self.line(self.piece("", thought))
        for at, piece in enumerate(pieces):
            if fault is not None and at == fault.after:
                self.late(fault)
                return
            self.line(self.piece(piece))
            self.listen(self.state.pace_s)
        self.line(self.piece("") | counts)
        self.end()

    def written(self, body: dict[str, Any], options: dict[str, Any]) -> tuple[list[str], str]:
        said = self.state.said
        if isinstance(body.get("format"), dict):
            said = json.dumps(meets(body["format"], "seven"))
        cuts = [at for at in (said.find(mark) for mark in options.get("stop") or ()) if at >= 0]
        pieces = tokens(said[: min(cuts)] if cuts else said)
        most = options.get("num_predict", -1)
        return (pieces[:most], "length") if 0 <= most < len(pieces) else (pieces, "stop")

    def embed(self, body: dict[str, Any]) -> None:
        model = self.state.find(str(body.get("model")))
        if model is None:
            self.missing(body.get("model"))
            return
        if "embedding" not in model.capabilities:
            self.whole(400, {"error": "this model does not support embeddings"})
            return
        _, load_ns = self.state.schedule(model, body)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [[float(zlib.crc32(f"{text}{at}".encode()) % 1000) / 1000 for at in range(32)] for text in texts]
        self.whole(200, {"model": model.name, "embeddings": vectors, "load_duration": load_ns})

    def pull(self, body: dict[str, Any]) -> None:
        name, fault = str(body.get("model")), self.state.pull_fault
        name = name if ":" in name else f"{name}:latest"
        if fault is not None and self.early(fault):
            return
        self.begin()
        self.line({"status": "pulling manifest"})
        if name not in self.state.layers:
            self.line({"error": "pull model manifest: file does not exist"})
            self.end()
            return
        steps = 0
        for digest, total in self.state.layers[name]:
            line = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
            done = self.state.have.get(digest, 0)
            if done == 0:
                self.line(line)  # nothing of it is here yet: no "completed"
            while done < total:
                if fault is not None and steps >= fault.after:
                    self.late_pull(fault)
                    return
                done = self.state.have[digest] = min(total, done + self.state.step)
                steps += 1
                self.line(line | {"completed": done})
                self.listen(0.0)
            self.line(line | {"completed": total})
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            if status == "success":
                self.state.add(Model(name, size=sum(total for _, total in self.state.layers[name])))
            self.line({"status": status})
        self.end()

    def late_pull(self, fault: Fault) -> None:
        if fault.kind == "error line":
            self.line(fault.body)
            self.end()
            return
        self.late(fault)

    def delete(self, body: dict[str, Any]) -> None:
        model = self.state.find(str(body.get("model") or body.get("name")))
        if model is None:
            self.missing(body.get("model"))
            return
        del self.state.models[model.name]
        self.state.runners.pop(model.name, None)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def ollama_server(*models: Model) -> Iterator[OllamaServer]:
    state = OllamaServer()
    state.add(*(models or (Model("coder:latest"),)))
    with serving(state, Handler):
        yield state


@contextmanager
def serving(state: OllamaServer, kind: type[Handler]) -> Iterator[None]:
    """The server on a free port of this machine; every connection has ended when the block ends."""
    handler = type("BoundHandler", (kind,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
