"""kill -9 at random moments of commands that write. The next command must work, on the old state or the new one."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from faults.garden import Done, Garden, Outcome, edit, real_project, show, unclean

PACKAGE, OTHER = "starlette", "httpx"
Trial = Callable[[Path, random.Random, int], Outcome]


def main(work: Path, seed: int, tries: int) -> int:
    """`tries` kills of each command."""
    began, chance = time.time(), random.Random(seed)
    trials: tuple[Trial, ...] = (add, index, switch, ask, backup, restore)
    outcomes = []
    for trial in trials:
        place = work / trial.__name__
        place.mkdir(parents=True)
        outcomes.append(trial(place, chance, tries))
        shutil.rmtree(place)
    return show(f"kill -9 (seed {seed})", outcomes, began)


def moments(chance: random.Random, tries: int, seconds: float) -> list[tuple[float, bool]]:
    """When to kill, evenly over the time that the command takes, and whether its workers go with it."""
    return [((number + chance.random()) / tries * seconds, chance.random() < 0.5) for number in range(tries)]


def _note(outcome: Outcome, done: Done) -> None:
    outcome.tried += 1
    outcome.count("killed" if done.code < 0 else "were faster")
    if problem := unclean(done):
        outcome.broken.append(problem)


def _try(outcome: Outcome, when: float, check: Callable[[], str]) -> None:
    """Counts what `check` says is wrong, and what it raises."""
    try:
        problem = check()
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        outcome.broken.append(f"killed after {when:.3f} s: {problem}")


def add(work: Path, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("add")
    root = real_project(work / "code", PACKAGE)
    clean = Garden(work / "clean")
    took = clean.seconds("add", str(root), "--no-vectors", "--quiet")
    wanted = clean.chunks("code")
    for number, (when, group) in enumerate(moments(chance, tries, took)):
        garden = Garden(work / f"home{number}")
        done = garden.killed(when, "add", str(root), "--no-vectors", "--quiet", group=group)
        _note(outcome, done)

        def check(garden: Garden = garden) -> str:
            known = [row["name"] for row in garden.must("list", "--json").json["projects"]]
            again = ("index", "--quiet") if known else ("add", str(root), "--no-vectors", "--quiet")
            garden.must(*again)
            return "" if garden.chunks("code") == wanted else "the index differs from a clean one"

        _try(outcome, when, check)
        shutil.rmtree(garden.home)
    return outcome


def index(work: Path, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("index after edits")
    root = real_project(work / "code", PACKAGE)
    garden = Garden(work / "home")
    garden.must("add", str(root), "--no-vectors", "--quiet")
    edit(root, chance)
    took = garden.seconds("index", "--quiet")
    for when, group in moments(chance, tries, took):
        edit(root, chance)
        done = garden.killed(when, "index", "--quiet", group=group)
        _note(outcome, done)

        def check() -> str:
            garden.must("search", "request", "--json")  # reads while nobody has repaired anything
            garden.must("index", "--quiet")
            clean = Garden(work / "clean")
            clean.must("add", str(root), "--no-vectors", "--quiet")
            same = clean.chunks("code") == garden.chunks("code")
            shutil.rmtree(clean.home)
            return "" if same else "the index differs from a clean one"

        _try(outcome, when, check)
    return outcome


def switch(work: Path, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("switch")
    garden = Garden(work / "home")
    for package in (PACKAGE, OTHER):
        garden.must("add", str(real_project(work / package, package)), "--no-vectors", "--quiet")
    took = garden.seconds("switch", PACKAGE)
    active = PACKAGE
    for when, group in moments(chance, tries, took * 1.2):
        target = OTHER if active == PACKAGE else PACKAGE
        done = garden.killed(when, "switch", target, group=group)
        _note(outcome, done)
        before, active = active, garden.memory()["active"][0]
        if active not in (before, target) or (done.code == 0 and active != target):
            outcome.broken.append(f"killed after {when:.3f} s: {before} -> {target} left {active!r}")
    _try(outcome, took, lambda: "" if garden.must("search", "request", "--json").json["hits"] else "no hits")
    return outcome


def ask(work: Path, chance: random.Random, tries: int) -> Outcome:
    """What a conversation had before the kill is there after it; an answer that was printed whole is there, too."""
    outcome = Outcome("ask in a conversation")
    garden = Garden(work / "home")
    garden.must("add", str(real_project(work / PACKAGE, PACKAGE)), "--no-vectors", "--quiet")
    took = garden.seconds("ask", "How is a request routed?", "--json")
    before = garden.memory()
    for number, (when, group) in enumerate(moments(chance, tries, took * 1.1)):
        done = garden.killed(when, "ask", f"What does Router number {number} do?", "--json", group=group)
        _note(outcome, done)
        after = garden.memory()
        lost = [key for key, said in before.items() if after.get(key, [])[: len(said)] != said and "/" in key]
        if lost:
            outcome.broken.append(f"killed after {when:.3f} s: lost of {', '.join(lost)}")
        if done.code == 0 and sum(map(len, after.values())) < sum(map(len, before.values())):
            outcome.broken.append(f"killed after {when:.3f} s: an answer that was given is not kept")
        before = after
    return outcome


def backup(work: Path, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("backup create")
    garden = Garden(work / "home")
    root = real_project(work / PACKAGE, PACKAGE)
    garden.must("add", str(root), "--no-vectors", "--quiet")
    took = garden.seconds("backup", "create", "--json")
    acknowledged = 1
    for when, group in moments(chance, tries, took):
        edit(root, chance, 1)
        garden.must("index", "--quiet")
        done = garden.killed(when, "backup", "create", "--json", group=group)
        _note(outcome, done)
        acknowledged += done.code == 0

        def check() -> str:
            nonlocal acknowledged
            created = garden.must("backup", "create", "--json").json
            acknowledged += 1
            listed = garden.must("backup", "list", "--json").json["backups"]
            if len([row for row in listed if not row["problem"]]) < acknowledged:
                return f"{acknowledged} backups were acknowledged, {len(listed)} are listed"
            garden.must("backup", "verify", created["id"], "--json")
            return ""

        _try(outcome, when, check)
    return outcome


def restore(work: Path, chance: random.Random, tries: int) -> Outcome:
    """After the kill the home is what it was or what was saved, in all its parts."""
    outcome = Outcome("backup restore")
    garden = Garden(work / "home")
    root = real_project(work / PACKAGE, PACKAGE)
    garden.must("add", str(root), "--no-vectors", "--quiet")
    garden.must("ask", "How is a request routed?", "--json")
    saved = garden.memory()
    identity = garden.must("backup", "create", "--json").json["id"]
    garden.must("ask", "What does Mount do?", "--json")
    changed = garden.memory()
    took = garden.seconds("backup", "restore", identity, "--yes")
    garden.must("backup", "restore", "--undo", "--yes")
    now = changed
    for when, group in moments(chance, tries, took):
        done = garden.killed(when, "backup", "restore", identity, "--yes", group=group)
        _note(outcome, done)

        def check() -> str:
            nonlocal now
            now = garden.memory()
            if now not in (saved, changed):
                return "neither the old state nor the saved one"
            outcome.count("old" if now == changed else "new")
            if not garden.must("search", "request", "--json").json["hits"]:
                return "the search finds nothing"
            if now == saved:
                garden.must("backup", "restore", "--undo", "--yes")
                if garden.memory() != changed:
                    return "undo did not give back the old state"
            return ""

        _try(outcome, when, check)
    return outcome


if __name__ == "__main__":
    raise SystemExit(main(Path(os.environ["FAULTS"]), 1, 5))
