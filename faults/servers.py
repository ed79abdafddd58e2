"""Model servers that misbehave: an answer comes in time, says how good it is, and keeps what had been said."""

from __future__ import annotations

import random
import time
from collections import deque
from pathlib import Path
from typing import Any

from faults.garden import Done, Garden, Outcome, real_project, show, unclean
from tests.ollama_server import Fault, OllamaServer, ollama_server
from tests.openai_server import openai_server

PACKAGE = "starlette"
_TIMES = "first_token_s = 3\nidle_s = 3\ntotal_s = 8\n"
LONGEST_S = 60.0
"""A whole `gardener ask`: its own start, the retrieval, tries of the server within the deadlines, the other answer."""
_BUSY = '{"error":"server busy, please try again"}'
FAULTS = {
    "refuses with 500": Fault("status", status=500),
    "says 429": Fault("status", status=429, body=_BUSY),
    "says 503": Fault("status", status=503, body=_BUSY),
    "hangs": Fault("hang"),
    "resets": Fault("reset"),
    "is silent after headers": Fault("silent"),
    "drips an answer": Fault("drip whole"),
    "drips after some words": Fault("drip", 5),
    "cuts the stream": Fault("cut", 5),
    "goes silent in the middle": Fault("silent", 5),
    "never ends": Fault("endless", 5),
    "says no JSON": Fault("not json", 3),
    "says other JSON": Fault("not an object", 3),
    "an error in the middle": Fault("error line", 5),
    "a line without end": Fault("long line", 3),
}


def main(work: Path, seed: int, tries: int) -> int:
    """`tries` answers for each fault of each of two kinds of server."""
    began, chance = time.time(), random.Random(seed)
    root = real_project(work / PACKAGE, PACKAGE)
    outcomes = []
    with ollama_server() as ollama, openai_server() as openai:
        for kind, server in (("ollama", ollama), ("openai", openai)):
            url = f"{server.url}/v1" if kind == "openai" else server.url
            settings = f'[models]\nbackend = "{kind}"\n{_TIMES}\n[{kind}]\nurl = "{url}"\n'
            garden = Garden(
                work / kind, config=f"config_version = 1\n\n[index]\nbackground_embedding = false\n\n{settings}"
            )
            del garden.environment["GARDENER_OLLAMA_URL"]
            garden.must("add", str(root), "--no-vectors", "--quiet")
            outcomes.append(misbehaving(garden, kind, server, chance, tries))
    return show(f"Misbehaving model servers (seed {seed})", outcomes, began)


def misbehaving(garden: Garden, kind: str, server: OllamaServer, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome(kind)
    for name, fault in FAULTS.items():
        for _ in range(tries):
            broken = chance.random() < 0.5  # or only the first try of it fails
            server.faults = deque([fault] * (20 if broken else 1))
            before = sum(map(len, garden.memory().values()))
            begun = time.monotonic()
            done = garden.run("ask", "How is a request routed?", "--json")
            took = time.monotonic() - begun
            server.faults.clear()
            outcome.tried += 1
            problem = judged(done, outcome) or unclean(done)
            if took > LONGEST_S:
                problem = problem or f"took {took:.0f} s"
            if sum(map(len, garden.memory().values())) < before + 2:
                problem = problem or "question and answer are not kept"
            if problem:
                outcome.broken.append(f"{name}: {problem}")
    healthy = garden.run("ask", "How is a request routed?", "--json")
    if healthy.code != 0 or healthy.json["degradation"] == "search only":
        outcome.broken.append(f"does not recover: {healthy.err[-300:]}")
    return outcome


def judged(done: Done, outcome: Outcome) -> str:
    """ "" when what was said is an answer that is honest about itself."""
    if done.code not in (0, 5, 6) or not done.out:
        return f"ended with {done.code}: {done.err[-300:]}"
    answer: dict[str, Any] = done.json
    if "answer" not in answer:
        outcome.count("refused with a reason")
        return "" if done.err or answer.get("error") else "no answer and no reason"
    if not answer["answer"].strip():
        return "an empty answer"
    whole = answer.get("complete", True)
    if whole and answer["backend"] not in ("extractive",):
        outcome.count("whole, after another try")
    elif not whole:
        outcome.count("kept in part, and marked")
        if not answer.get("error") and not answer.get("warnings"):
            return "incomplete without a reason"
    else:
        outcome.count("from the index alone, and said")
        if answer["degradation"] == "full" or not answer.get("degradation_reason"):
            return f"a fallback that does not say so: {answer['degradation']}"
    return ""
