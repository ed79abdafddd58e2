"""`make soak`: an hour (`--minutes N`) of daily life with ten projects, a bad model server, and kill -9 all the time.

In the last third nothing is killed but commands, so that the app's memory can be watched.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from faults.crowd import LOCKED, differs
from faults.garden import SECONDS, Garden, Outcome, edit, real_project, show
from faults.kills import kept
from faults.servers import FAULTS
from tests.ollama_server import OllamaServer, ollama_server

PACKAGES = ("starlette", "httpx", "anyio", "click", "uvicorn", "rich", "psutil", "apscheduler", "jinja2", "h11")
WORDS = ("request", "response", "connection", "table", "close", "parse", "render", "schedule", "event", "buffer")
BOUND_MB, BOUND_SHARE = 60.0, 0.15
"""Growth of the app's memory in the last third beyond both is a leak."""
SETTLED_MINUTES = 8.0
"""A shorter time without a kill tells nothing: indexes and the embedder are read one after the other until then."""
NOTHING = -1
"""For the exit code of a command that acknowledged nothing."""
CUT_OFF = 6
"""Exit code of an answer that the model server cut off: what there was of it is kept."""
_SETTINGS = """config_version = 1

[index]
background_embedding = false

[models]
backend = "ollama"
first_token_s = 3
idle_s = 3
total_s = 10

[ollama]
url = "{url}"
"""


@dataclass
class Soak:
    garden: Garden
    roots: dict[str, Path]
    server: OllamaServer
    seed: int
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    acknowledged: list[str] = field(default_factory=list)
    """Questions whose answers were given, whole or cut off."""
    answers: dict[str, str] = field(default_factory=dict)
    """By question, those that were given whole."""
    backups: list[str] = field(default_factory=list)
    app: subprocess.Popen[str] | None = None
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Time and MB of the app in the last third."""
    spare_the_app: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome = field(default_factory=lambda: Outcome("commands"))

    def command(self, *words: str) -> int:
        """Runs one to its end or its violent death."""
        process = self.garden.start(*words)
        with self.lock:
            self.running.append(process)
        out, err = process.communicate(timeout=SECONDS)
        with self.lock:
            self.running.remove(process)
            dead = process.pid in self.killed
            self.outcome.tried += 1
            self.outcome.count("killed" if dead and process.returncode < 0 else f"exit {process.returncode}")
            if not dead and ("Traceback" in err or "database is locked" in err or "fault in Gardener" in err):
                self.outcome.broken.append(f"{' '.join(words)}: {err[-400:]}")
            elif '"app-unreachable"' in err:
                self.outcome.count(
                    "told that the app went away"
                )  # it was killed under the request; nothing was promised
                return NOTHING
            elif (
                not dead
                and process.returncode not in (0, LOCKED)
                and (words[0], process.returncode) != ("ask", CUT_OFF)
            ):
                self.outcome.broken.append(f"{' '.join(words)} ended with {process.returncode}: {err[-400:]}")
            if process.returncode == 0 and words[0] == "backup":
                self.backups.append(json.loads(out)["id"])
            if process.returncode == 0 and words[0] == "ask":
                self.answers[words[1]] = json.loads(out)["answer"]
        return process.returncode

    # ---- what goes on at once --------------------------------------------------------------------------

    def ask(self, chance: random.Random) -> None:
        question = f"Where is {chance.choice(WORDS)} number {chance.randrange(10**9)}?"
        if self.command("ask", question, "--project", chance.choice(list(self.roots)), "--json") in (0, CUT_OFF):
            with self.lock:
                self.acknowledged.append(question)

    def search(self, chance: random.Random) -> None:
        self.command("search", chance.choice(WORDS), "--project", chance.choice(list(self.roots)), "--json")

    def change(self, chance: random.Random) -> None:
        edit(self.roots[chance.choice(list(self.roots))], chance)
        self.over.wait(chance.uniform(0, 2))

    def switch(self, chance: random.Random) -> None:
        self.command("switch", chance.choice(list(self.roots)))

    def index(self, chance: random.Random) -> None:
        self.command("index", "--project", chance.choice(list(self.roots)), "--quiet")

    def backup(self, chance: random.Random) -> None:
        self.command("backup", "create", "--json")
        self.over.wait(chance.uniform(5, 15))

    def misbehave(self, chance: random.Random) -> None:
        if not self.server.faults:
            self.server.faults = deque([chance.choice(list(FAULTS.values()))] * chance.randrange(1, 4))
        self.over.wait(chance.uniform(0, 4))

    def kill(self, chance: random.Random) -> None:
        self.over.wait(chance.uniform(1, 4))
        with self.lock:
            victims = list(self.running)
            if self.app is not None and not self.spare_the_app.is_set() and chance.random() < 0.2:
                victims = [self.app]
            if not victims:
                return
            victim = chance.choice(victims)
            self.killed.add(victim.pid)
            if victim.poll() is None:
                os.killpg(victim.pid, signal.SIGKILL)

    def keep_the_app(self, chance: random.Random) -> None:
        """Starts it again when it is dead, as a service manager does; measures it when it is to be left alone."""
        if self.app is None or self.app.poll() is not None:
            if self.app is not None:
                self.outcome.count("app killed" if self.app.pid in self.killed else "app ended by itself")
                if self.app.pid not in self.killed:
                    err = self.app.stderr.read()[-400:] if self.app.stderr else ""
                    self.outcome.broken.append(f"the app ended with {self.app.returncode}: {err}")
                for stream in (self.app.stdout, self.app.stderr):
                    if stream:
                        stream.close()
            with self.lock:
                self.app = self.garden.start("serve", "--port", "0", "--quiet")
        elif self.spare_the_app.is_set():
            self.memory.append((time.monotonic(), psutil.Process(self.app.pid).memory_info().rss / 1e6))
        self.over.wait(1)

    def repeat(self, what: Callable[[random.Random], None], number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        while not self.over.is_set():
            try:
                what(chance)
            except Exception as error:
                self.outcome.broken.append(f"{what.__name__}: {type(error).__name__}: {error}")
                return

    def run(self, seconds: float) -> None:
        tasks = (
            self.keep_the_app, self.ask, self.search, self.change, self.switch, self.index, self.backup,
            self.misbehave, self.kill,
        )  # fmt: skip
        threads = [threading.Thread(target=self.repeat, args=(task, n)) for n, task in enumerate(tasks)]
        for thread in threads:
            thread.start()
        self.over.wait(seconds * 2 / 3)
        self.spare_the_app.set()
        self.over.wait(seconds / 3)
        self.over.set()
        for thread in threads:
            thread.join()
        if self.app is not None:
            self.app.terminate()
            self.app.communicate(timeout=SECONDS)

    # ---- afterwards ------------------------------------------------------------------------------------

    def losses(self) -> Outcome:
        found = Outcome("afterwards")
        memory = self.garden.memory()
        asked = {line for said in memory.values() for line in said}
        found.tried = len(self.acknowledged) + len(self.backups) + len(self.roots)
        lost = [question for question in self.acknowledged if question not in asked]
        lost += [f"the answer to {one}" for one, answer in self.answers.items() if not kept(one, answer, memory)]
        found.count("questions kept", sum(question in asked for question in self.acknowledged))
        found.count("of them with the whole answer", len(self.answers))
        found.broken += [f"not kept: {one}" for one in lost]
        there = {row["id"]: row["problem"] for row in self.garden.must("backup", "list", "--json").json["backups"]}
        found.broken += [f"backup {one} is gone or damaged" for one in self.backups if there.get(one, "gone")]
        found.count("backups good", len(self.backups))
        self.garden.must("backup", "verify", "--json")
        for name, root in self.roots.items():
            self.garden.must("index", "--project", name, "--quiet")
            if problem := differs(self.garden, name, root):
                found.broken.append(problem)
        found.count("indexes equal to clean ones", len(self.roots))
        for row in self.garden.run("doctor", "--deep", "--json").json["findings"]:
            if row["severity"] == "error":
                found.broken.append(row["detail"])
        return found

    def growth(self) -> Outcome:
        """The first and the last fifth of the undisturbed time, by their medians."""
        found = Outcome("memory of the app")
        found.tried = len(self.memory)
        if len(self.memory) < 10:
            return found
        sizes = [size for _, size in self.memory]
        fifth = max(1, len(sizes) // 5)
        first, last = sorted(sizes[fifth : 2 * fifth])[fifth // 2], sorted(sizes[-fifth:])[fifth // 2]
        minutes = (self.memory[-1][0] - self.memory[0][0]) / 60
        found.count(f"MB at the start, {last:.0f} MB after {minutes:.0f} minutes without a kill", round(first))
        if minutes < SETTLED_MINUTES:
            found.count("verdict, as the time was too short", 0)
        elif last - first > BOUND_MB and last > first * (1 + BOUND_SHARE):
            found.broken.append(f"grew from {first:.0f} to {last:.0f} MB")
        return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--projects", type=int, default=len(PACKAGES))
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="gardener-soak-"))
    began = time.time()
    try:
        with ollama_server() as server:
            garden = Garden(work / "home", config=_SETTINGS.format(url=server.url))
            del garden.environment["GARDENER_OLLAMA_URL"]
            roots = {name: real_project(work / name, name) for name in PACKAGES[: args.projects]}
            for root in roots.values():
                garden.must("add", str(root), "--no-vectors", "--quiet")
            soak = Soak(garden, roots, server, args.seed)
            soak.run(args.minutes * 60)
            server.faults.clear()
            outcomes = [soak.outcome, soak.losses(), soak.growth()]
        return show(f"Soak: {len(roots)} projects, {args.minutes:g} minutes (seed {args.seed})", outcomes, began)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
