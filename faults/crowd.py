"""Several commands at once on one home: nothing is lost or twice there, and who has to wait is told for whom."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from faults.garden import SECONDS, Garden, Outcome, edit, real_project, show, unclean

PACKAGES = ("starlette", "httpx", "anyio", "click")
LOCKED = 7
"""Exit code: another process has it."""


def main(work: Path, seed: int, tries: int) -> int:
    """`tries` rounds of eight processes."""
    began, chance = time.time(), random.Random(seed)
    garden = Garden(work / "home")
    roots = {name: real_project(work / name, name) for name in PACKAGES}
    outcomes = [adds(garden, roots), rounds(garden, roots, chance, tries), holders(garden, roots["anyio"], chance)]
    return show(f"Several processes at once (seed {seed})", outcomes, began)


def adds(garden: Garden, roots: dict[str, Path]) -> Outcome:
    outcome = Outcome("four adds at once, each twice")
    commands = [garden.start("add", str(root), "--no-vectors", "--quiet") for root in roots.values() for _ in (1, 2)]
    for process in commands:
        _, err = process.communicate(timeout=SECONDS)
        outcome.tried += 1
        outcome.count(f"ended with {process.returncode}")
        if "Traceback" in err or "database is locked" in err:
            outcome.broken.append(err[-300:])
    names = garden.memory()["projects"]
    if sorted(names) != sorted(roots):
        outcome.broken.append(f"registered: {names}")
    for name, root in roots.items():
        garden.must("index", "--project", name, "--quiet")
        if problem := differs(garden, name, root):
            outcome.broken.append(problem)
    return outcome


def differs(garden: Garden, name: str, root: Path) -> str:
    """ "" when the index is what a new one would be."""
    clean = Garden(garden.home.with_name(f"clean-{name}-{time.monotonic_ns()}"))
    clean.must("add", str(root), "--name", name, "--no-vectors", "--quiet")
    return "" if clean.chunks(name) == garden.chunks(name) else f"the index of {name} differs from a clean one"


def rounds(garden: Garden, roots: dict[str, Path], chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("index, search, ask, switch, backup at once")
    asked = 0
    for number in range(tries):
        edit(chance.choice(list(roots.values())), chance)
        commands = [
            ("index", "--project", chance.choice(PACKAGES), "--quiet"),
            ("index", "--project", chance.choice(PACKAGES), "--quiet"),
            ("search", "request", "--json"),
            ("ask", f"What is number {number}?", "--project", chance.choice(PACKAGES), "--json"),
            ("ask", f"Where is number {number}?", "--project", chance.choice(PACKAGES), "--json"),
            ("switch", chance.choice(PACKAGES)),
            ("list", "--json"),
            ("backup", "create", "--json") if number % 4 == 0 else ("status", "--json"),
        ]
        for words, process in [(words, garden.start(*words)) for words in commands]:
            _, err = process.communicate(timeout=SECONDS)
            outcome.tried += 1
            outcome.count(
                "were told who holds the lock" if process.returncode == LOCKED else f"ended with {process.returncode}"
            )
            if process.returncode not in (0, LOCKED) or "Traceback" in err or "database is locked" in err:
                outcome.broken.append(f"{' '.join(words)} ended with {process.returncode}: {err[-300:]}")
            asked += words[0] == "ask" and process.returncode == 0
    kept = sum(len(said) // 2 for key, said in garden.memory().items() if "/" in key)
    if kept != asked:
        outcome.broken.append(f"{asked} questions were answered, {kept} are kept")
    for name, root in roots.items():
        garden.must("index", "--project", name, "--quiet")
        if problem := differs(garden, name, root):
            outcome.broken.append(problem)
    return outcome


def holders(garden: Garden, root: Path, chance: random.Random) -> Outcome:
    """A holder that is stopped is named; one that is dead is taken over."""
    outcome = Outcome("lock holders, stopped and dead")
    for _ in range(5):
        edit(root, chance, 40)
        holder = garden.start("index", "--project", "anyio", "--rebuild", "--quiet")
        lock = next(garden.home.glob("projects/*/lock")).parent.parent
        if not _until_locked(garden, lock, holder.pid):
            outcome.count("were too fast to be stopped")
            holder.communicate(timeout=SECONDS)
            continue
        outcome.tried += 1
        os.killpg(holder.pid, signal.SIGSTOP)
        waiting = garden.run("index", "--project", "anyio", "--quiet")
        if waiting.code != LOCKED or str(holder.pid) not in waiting.err:
            outcome.broken.append(f"a stopped holder {holder.pid} is not named: {waiting.code} {waiting.err[-300:]}")
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate(timeout=SECONDS)
        begun = time.perf_counter()
        taken = garden.run("index", "--project", "anyio", "--quiet")
        outcome.count(f"taken over ({time.perf_counter() - begun:.1f} s, the whole command)")
        if taken.code != 0 or unclean(taken):
            outcome.broken.append(f"a dead holder stands in the way: {taken.err[-300:]}")
    return outcome


def _until_locked(garden: Garden, projects: Path, pid: int) -> bool:
    """Waits until a lock file names the process."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(str(pid) in path.read_text(errors="replace") for path in projects.glob("*/lock")):
            return True
        time.sleep(0.005)
    return False
