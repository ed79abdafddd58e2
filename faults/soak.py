"""`make soak`: an hour (`--minutes N`) of daily life with ten projects, a bad model server, and kill -9 all the time.

At first the app is among the victims. In the last half, or 18 minutes, only commands are: its memory is watched.
"""

from __future__ import annotations

import argparse
import json
import math
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
from typing import Any

import psutil

from faults.crowd import LOCKED
from faults.garden import SECONDS, Done, Garden, Outcome, real_project, show, unclean
from faults.servers import FAULTS
from faults.soak_verdict import LEAST_MINUTES, SETTLING_MINUTES, Acknowledged, Sample, growth, losses, too_little
from tests.ollama_server import OllamaServer, ollama_server

PACKAGES = ("starlette", "httpx", "anyio", "click", "uvicorn", "rich", "psutil", "apscheduler", "jinja2", "h11")
WORDS = ("request", "response", "connection", "table", "close", "parse", "render", "schedule", "event", "buffer")
CUT_OFF = 6
"""Exit code of an answer that the model server cut off (what there was of it is kept), and of an app that went away."""
KEPT_BACKUPS = 12
SETTINGS = f"""config_version = 1

[index]
background_embedding = false

[models]
backend = "ollama"
first_token_s = {{seconds}}
idle_s = {{seconds}}
total_s = 10

[backup]
keep_last = {KEPT_BACKUPS}

[ollama]
url = "{{url}}"
"""


@dataclass
class Soak:
    garden: Garden
    roots: dict[str, Path]
    server: OllamaServer
    seed: int
    pace: float = 1.0
    """What every pause is multiplied with."""
    rounds: int = 0
    """A small soak: so many of each command but questions, and a kill after each answer, whatever the machine."""
    answered: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    step: threading.Condition = field(default_factory=threading.Condition)
    """Guards all that follows, and is told when a command has ended."""
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    killed: set[subprocess.Popen[str]] = field(default_factory=set)
    app: subprocess.Popen[str] | None = None
    app_gone: float = 0.0
    """Monotonic time of its last violent end; infinity while it is dying, as it takes connections until it is dead."""
    spare_the_app: threading.Event = field(default_factory=threading.Event)
    samples: list[Sample] = field(default_factory=list)
    told: Acknowledged = field(default_factory=Acknowledged)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    sources: dict[Path, str] = field(default_factory=dict)
    """Every file that is edited, as it was: the projects change all the time and do not grow."""

    def __post_init__(self) -> None:
        self.sources = {path: path.read_text() for root in self.roots.values() for path in sorted(root.rglob("*.py"))}
        self.told.active = {self.garden.memory()["active"][0]}

    def outcome(self, what: str) -> Outcome:
        return self.outcomes.setdefault(what, Outcome(what))

    def command(self, what: str, *words: str) -> Any:
        """Runs one to its end or its violent death. Returns what it printed when it kept its promise, else None."""
        begun = time.monotonic()
        process = self.garden.start(*words, "--json")
        with self.step:
            self.running.append(process)
            self.step.notify_all()
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err = f"was not done after {SECONDS:.0f} s. {err}"
        with self.step:
            self.running.remove(process)
            outcome, code = self.outcome(what), process.returncode
            outcome.tried += 1
            try:
                return self._judged(outcome, code, out, err, process in self.killed, self.app_gone >= begun)
            finally:
                self.step.notify_all()

    def _judged(self, outcome: Outcome, code: int, out: str, err: str, killed: bool, app_gone: bool) -> Any:
        if killed and code == -signal.SIGKILL:
            outcome.count("killed")
            self._killed("of commands")
            return None
        if problem := unclean(Done(code, out, err)):
            outcome.broken.append(problem)
        elif code == 0 or (code == CUT_OFF and outcome.what == "ask" and out):
            outcome.count("done" if code == 0 else "cut off, and said")
            self.answered += outcome.what == "ask"
            return json.loads(out)
        elif code == LOCKED:
            outcome.count("told who has the lock")
        elif '"app-unreachable"' in err and app_gone:
            outcome.count("told that the app went away")
        else:
            outcome.broken.append(f"ended with {code}: {err[-400:]}")
        return None

    def _killed(self, whom: str) -> None:
        self.outcome("kills").tried += 1
        self.outcome("kills").count(whom)

    def project(self, chance: random.Random) -> str:
        return chance.choice(list(self.roots))

    def pause(self, chance: random.Random, least: float, most: float) -> None:
        self.over.wait(chance.uniform(least, most) * self.pace)

    # ---- what goes on at once --------------------------------------------------------------------------

    def ask(self, chance: random.Random) -> None:
        question = f"Where is {chance.choice(WORDS)} number {chance.randrange(10**9)}?"
        if answer := self.command("ask", "ask", question, "--project", self.project(chance)):
            with self.step:
                self.told.answers[question] = answer["answer"]
                by_model = answer["backend"] != "extractive"
                self.outcome("ask").count("by the model" if by_model else "from the index alone")

    def search(self, chance: random.Random) -> None:
        found = self.command("search", "search", chance.choice(WORDS), "--project", self.project(chance))
        if found is not None and "hits" not in found:
            self.outcome("search").broken.append(f"no hits in {str(found)[:200]}")

    def change(self, chance: random.Random) -> None:
        """A line more or another one, a file that goes, one that comes."""
        path = chance.choice(list(self.sources))
        mark = f"{chance.randrange(16**12):012x}"
        copy = path.with_stem(f"{path.stem}_copy")
        kind = chance.random()
        if kind < 0.1:
            path.unlink(missing_ok=True)
        elif kind < 0.2:
            copy.unlink(missing_ok=True)
        else:
            target = copy if kind < 0.3 else path
            target.write_text(f"{self.sources[path]}\n\ndef edited_{mark}():\n    return {mark!r}\n")
        with self.step:
            self.outcome("edits of files").tried += 1
        self.pause(chance, 0, 1)

    def switch(self, chance: random.Random) -> None:
        target = chance.choice([name for name in self.roots if name not in self.told.active] or list(self.roots))
        with self.step:
            self.told.active.add(target)
        if self.command("switch", "switch", target) is not None:
            self.told.active = {target}
        self.pause(chance, 0, 1)

    def index(self, chance: random.Random) -> None:
        self.command("index", "index", "--project", self.project(chance), "--quiet")

    def backup(self, chance: random.Random) -> None:
        if made := self.command("backup create", "backup", "create"):
            self.told.backups[made["id"]] = made["sequence"]
        if chance.random() < 0.3:
            self.command("backup prune", "backup", "prune")
        self.pause(chance, 5, 15)

    def misbehave(self, chance: random.Random) -> None:
        self.pause(chance, 0, 6)
        if not self.server.faults and chance.random() < 0.7:
            self.outcome("model server").tried += 1
            self.server.faults = deque([chance.choice(list(FAULTS.values()))] * chance.randrange(1, 4))

    def kill(self, chance: random.Random) -> None:
        the_app = chance.random() < 0.2
        if not self.rounds:
            self.pause(chance, 1, 4)
        with self.step:
            if self.rounds:
                the_app, before = self.outcome("kills").tried % 2 == 0, self.answered
                self.step.wait_for(lambda: self.over.is_set() or (self.answered > before and bool(self.running)))
            victims = list(self.running)
            if the_app and self.app is not None and not self.spare_the_app.is_set():
                victims = [self.app]
            victims = [one for one in victims if one.poll() is None]
            if not victims or self.over.is_set():
                return
            victim = chance.choice(victims)
            self.killed.add(victim)
            if victim is self.app:
                self.app_gone = math.inf
                self._killed("of the app")
            os.killpg(victim.pid, signal.SIGKILL)
        if victim is self.app:
            victim.wait(SECONDS)
            with self.step:
                self.app_gone = time.monotonic()

    def keep_the_app(self, chance: random.Random) -> None:
        """Starts it again when it is dead, as a service manager does; measures it when it is left alone."""
        app = self.app
        if app is None or app.poll() is not None:
            if app is not None and app not in self.killed:
                self.outcome("the app").broken.append(
                    f"ended by itself with {app.returncode}: {self.app_said()[-400:]}"
                )
            # To a file: a pipe that nobody reads would stop it when it is full.
            with self.step, self.app_log.open("a") as log:
                self.outcome("the app").tried += 1
                self.app = self.garden.start("serve", "--port", "0", "--quiet", stdout=log, stderr=log)
        elif self.spare_the_app.is_set():
            self.samples.append(Sample.of(psutil.Process(app.pid)))
        self.over.wait(1)

    @property
    def app_log(self) -> Path:
        return self.garden.home.with_name("app.log")

    def app_said(self) -> str:
        return self.app_log.read_text(errors="replace") if self.app_log.exists() else ""

    # ---- all of it -------------------------------------------------------------------------------------

    def repeat(self, name: str, what: Callable[[random.Random], None], number: int) -> None:
        chance, done = random.Random(self.seed * 1000 + number), self.outcome(name).counts
        while not self.over.is_set() and not (self.rounds and name != "ask" and done.get("done", 0) >= self.rounds):
            try:
                what(chance)
            except Exception as error:
                with self.step:
                    self.outcome(name).broken.append(f"{type(error).__name__}: {error}")
                    self.step.notify_all()
                return

    def run(self, seconds: float = 0.0) -> None:
        """For so long; a small one until everything has happened at least once or a promise is broken."""
        tasks: dict[str, Callable[[random.Random], None]] = {
            "the app": self.keep_the_app, "ask": self.ask, "search": self.search, "edits of files": self.change,
            "switch": self.switch, "index": self.index, "backup create": self.backup, "model server": self.misbehave,
            "kills": self.kill,
        }  # fmt: skip
        threads = [threading.Thread(target=self.repeat, args=(*task, n)) for n, task in enumerate(tasks.items())]
        try:
            for thread in threads:
                thread.start()
            if self.rounds:
                with self.step:
                    self.step.wait_for(self._enough)
            else:
                watched = max(seconds / 2, min(seconds * 0.75, (SETTLING_MINUTES + LEAST_MINUTES) * 60))
                self._wait(seconds - watched)
                self.spare_the_app.set()
                self._wait(watched)
        finally:
            self.over.set()
            with self.step:
                self.step.notify_all()
            for thread in threads:
                thread.join()
            if self.app is not None:
                self._stop(self.app)

    def _wait(self, seconds: float) -> None:
        """Says now and then how it goes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.over.wait(min(left, 120.0))
            with self.step:
                tried = sum(outcome.tried for outcome in self.outcomes.values())
                broken = [f"{outcome.what}: {line}" for outcome in self.outcomes.values() for line in outcome.broken]
            size = f", the app has {self.samples[-1].mb:.0f} MB" if self.samples else ""
            print(f"{tried} steps{size}", *broken, sep="\n  BROKEN ", file=sys.stderr, flush=True)

    def _enough(self) -> bool:
        return not too_little(self.outcomes) or any(outcome.broken for outcome in self.outcomes.values())

    def _stop(self, app: subprocess.Popen[str]) -> None:
        app.terminate()
        try:
            app.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(app.pid, signal.SIGKILL)
            app.communicate()
            self.outcome("the app").broken.append("did not stop when it was told to")
        if problem := unclean(Done(0, "", self.app_said())):
            self.outcome("the app").broken.append(problem)

    def verdict(self) -> list[Outcome]:
        """Of what happened, and of what is there now."""
        happened = [self.outcomes[name] for name in sorted(self.outcomes)]
        enough = Outcome("everything happened", broken=too_little(self.outcomes))
        return [*happened, enough, losses(self.garden, self.roots, self.told, KEPT_BACKUPS), growth(self.samples)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--projects", type=int, default=len(PACKAGES))
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="gardener-soak-"))
    began = time.time()
    print(f"Soak in {work}, seed {args.seed}, {args.minutes:g} minutes", file=sys.stderr, flush=True)
    try:
        with ollama_server() as server:
            garden = Garden(work / "home", config=SETTINGS.format(url=server.url, seconds=3))
            del garden.environment["GARDENER_OLLAMA_URL"]
            roots = {name: real_project(work / name, name) for name in PACKAGES[: args.projects]}
            for root in roots.values():
                garden.must("add", str(root), "--no-vectors", "--quiet")
            soak = Soak(garden, roots, server, args.seed)
            soak.run(args.minutes * 60)
            server.faults.clear()
            verdict = soak.verdict()
        broken = show(f"Soak: {len(roots)} projects, {args.minutes:g} minutes (seed {args.seed})", verdict, began)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    if broken:
        print(f"What there was is kept in {work}", file=sys.stderr)
    else:
        shutil.rmtree(work, ignore_errors=True)
    return broken


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
