"""Row 13: an answer streamed through the app, against the same model server read with its own client.

The server is the stand-in for Ollama of the tests, in a process of its own, at 100 tokens a second. The app's side is
the whole way from the question to the last event: comparison with the disk, search on Django with every vector, prompt,
stream, citations. The client's side sends the very messages that the app had sent. The client has nothing to search, so
the first token counts from the end of the retrieval, which is printed below the table.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmarks.embedded import embedded_django
from benchmarks.measure import Row, gardener, in_turn, ratio, report, shown

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROUNDS = 15
TOKENS = 300
SECONDS_A_TOKEN = 0.01
MODEL = "coder:latest"
QUESTIONS = (
    "How does a request reach its view?",
    "Where are form fields validated?",
    "How does the ORM build a query?",
    "What does the cache middleware do?",
)


def main() -> int:
    home, _ = embedded_django()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there,), daemon=True)
    server.start()
    url = str(here.recv())
    command, environment = gardener(home)
    environment = environment | {
        "GARDENER_MODELS_BACKEND": "ollama", "GARDENER_OLLAMA_URL": url, "GARDENER_OLLAMA_MODEL": MODEL,
    }  # fmt: skip
    app = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert app.stdout is not None
        started = json.loads(app.stdout.readline())
        with contextlib.ExitStack() as stack:
            return _measure(home, started, url, here, stack)
    finally:
        app.terminate()
        app.wait(30)
        here.send("end")
        server.join(10)


def _measure(home: Any, started: dict[str, Any], url: str, here: Connection, stack: contextlib.ExitStack) -> int:
    from ollama import Client

    from gardener.paths import Paths
    from gardener.server.client import AppClient
    from gardener.server.runfile import read_app

    running = read_app(Paths(os.fspath(home)))
    if running is None:
        raise RuntimeError(f"the app did not start: {started}")
    app, client = AppClient(running, timeout_s=60.0), Client(host=url)
    firsts: dict[str, list[float]] = {"retrieval": [], "app, after retrieval": [], "client": []}
    asked = iter(QUESTIONS * (2 * ROUNDS))

    def ours() -> float:
        question = next(asked)
        begun = time.perf_counter()
        job = app.request("POST", "/api/ask", {"question": question, "project": "django", "conversation": None})
        retrieved, first, last = 0.0, 0.0, {}
        for event in app.stream("GET", f"/api/jobs/{job['job']}/events"):
            retrieved = retrieved or (event["event"] == "retrieved") * (time.perf_counter() - begun)
            first = first or (event["event"] == "text") * (time.perf_counter() - begun)
            last = event
        took = time.perf_counter() - begun
        if last.get("backend") != "ollama" or not last.get("complete"):
            raise RuntimeError(f"this run does not count: {json.dumps(last)[:500]}")
        firsts["retrieval"].append(retrieved)
        firsts["app, after retrieval"].append(first - retrieved)
        return took

    def theirs() -> float:
        here.send("messages")
        messages = here.recv()
        begun = time.perf_counter()
        first = 0.0
        for part in client.chat(model=MODEL, messages=messages, stream=True):
            if part.message.content and not first:
                first = time.perf_counter() - begun
        firsts["client"].append(first)
        return time.perf_counter() - begun

    first, second = in_turn(ours, theirs, ROUNDS, warmup=3)
    for values in firsts.values():
        del values[:3]
    later = [a - b for a, b in zip(firsts["app, after retrieval"], firsts["client"], strict=True)]
    rows = [
        Row(f"an answer of {TOKENS} tokens, total", shown(first), shown(second), ratio(first, second), 1.05),
        Row("first token after retrieval, later by", shown(later, "ms"), "20 ms", statistics.median(later) / 0.02, 1.0),
    ]
    details = {"first token": {name: shown(values, "ms") for name, values in firsts.items()}, "rounds": ROUNDS}
    status = report("streaming", "Row 13. Streaming through the app", rows, details)
    for name, values in firsts.items():
        print(f"{name}: {shown(values, 'ms')}")
    return status


def _serve(pipe: Connection) -> None:
    from tests.ollama_server import ollama_server

    with ollama_server() as state:
        state.said, state.pace_s = " ".join(["word"] * TOKENS), SECONDS_A_TOKEN
        pipe.send(state.url)
        while pipe.recv() == "messages":
            pipe.send(state.sent("/api/chat")[-1].body["messages"])


if __name__ == "__main__":
    raise SystemExit(main())
