"""A disk that fills up at any moment: a clear error, live data whole, reads go on, and once there is room all works."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.garden import Done, Garden, Outcome, edit, real_project, show, unclean
from faults.kills import kept

MEGABYTES = 120
PACKAGE, OTHER = "starlette", "httpx"
_DISK_WORDS = ("disk is full", "no room", "no space", "free")


def main(work: Path, seed: int, tries: int) -> int:
    """`tries` of each command that writes, each with another amount of room left."""
    began, chance = time.time(), random.Random(seed)
    try:
        with small_disk(work / "disk"):
            outcomes = trials(work, chance, tries)
    except PermissionError as error:
        print(f"\nA full disk: NOT TRIED, {error}", file=sys.stderr)
        return 1
    return show(f"A full disk (seed {seed})", outcomes, began)


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system in memory. Raises PermissionError where this user may not mount one."""
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=700", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        raise PermissionError(
            f"mount says: {mounted.stderr.strip()} (run it as root, or in `unshare --map-root-user --mount`)"
        )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def trials(work: Path, chance: random.Random, tries: int) -> list[Outcome]:
    root, other = real_project(work / PACKAGE, PACKAGE), real_project(work / OTHER, OTHER)
    disk = work / "disk"
    garden = Garden(disk / "home")
    garden.must("add", str(root), "--no-vectors", "--quiet")
    garden.must("ask", "How is a request routed?", "--json")
    commands: tuple[tuple[str, ...], ...] = (
        ("add", str(other), "--no-vectors", "--quiet"),
        ("index", "--quiet"),
        ("ask", "What does Mount do?", "--json"),
        ("backup", "create", "--json"),
        ("config", "set", "search.limit"),
    )
    outcomes = []
    for words in commands:
        outcome = Outcome(" ".join(words[:2]) if words[0] in ("backup", "config") else words[0])
        for number in range(tries):
            if words[0] == "config":
                words = (*words[:3], str(number + 5))
            if words[0] == "index":
                edit(root, chance)
            before = garden.memory()
            room = int(10 ** chance.uniform(2.5, 6.5))  # from 300 bytes to 3 MB
            with filled(disk, room):
                done = garden.run(*words)
                outcome.tried += 1
                outcome.count("had room" if done.code == 0 else "refused")
                broken = unclean(done)
                said = done.err.lower()
                if done.code != 0 and not any(word in said for word in _DISK_WORDS):
                    broken = broken or f"does not say that the disk is full: {done.err.strip()[-300:]}"
                found = garden.run("search", "request", "--json")
                if found.code != 0 or not found.json["hits"]:
                    broken = broken or f"search fails on the full disk: {found.err.strip()[-300:]}"
                if garden.run("list", "--json").code != 0:
                    broken = broken or "list fails on the full disk"
            try:
                broken = broken or _afterwards(garden, words, before, done)
            except Exception as error:
                broken = broken or f"{type(error).__name__}: {str(error)[-300:]}"
            if broken:
                outcome.broken.append(f"{room:,} bytes left: {broken}")
        outcomes.append(outcome)
    return outcomes


def _afterwards(garden: Garden, words: tuple[str, ...], before: dict[str, list[str]], done: Done) -> str:
    """With room again: nothing is gone, what succeeded is there, and the same command works."""
    after, succeeded = garden.memory(), done.code == 0
    if succeeded and (problem := _missing(garden, words, after, done)):
        return problem
    if any(after.get(key, [])[: len(said)] != said for key, said in before.items() if "/" in key):
        return "messages are gone"
    if words[0] == "add":
        if OTHER in after["projects"]:
            garden.must("index", "--project", OTHER, "--quiet")
            garden.must("remove", OTHER, "--purge", "--yes")
        garden.must("switch", PACKAGE)
    elif not succeeded:
        garden.must(*words)
    deep = garden.run("doctor", "--deep", "--json").json["findings"]
    damaged = [row["detail"] for row in deep if "damaged" in row["detail"]]
    return "; ".join(damaged)


def _missing(garden: Garden, words: tuple[str, ...], memory: dict[str, list[str]], done: Done) -> str:
    """What a command that ended with 0 said it had done, and has not."""
    if words[0] == "ask" and not kept(words[1], done.json["answer"], memory):
        return "an answer that was given is not kept"
    if words[0] == "add" and OTHER not in memory["projects"]:
        return "a project that was added is not there"
    if words[0] == "backup":
        garden.must("backup", "verify", done.json["id"], "--json")
    if words[0] == "config" and garden.must("config", "get", words[2]).out.strip() != words[3]:
        return "a setting that was set is not"
    return ""


@contextmanager
def filled(disk: Path, room: int) -> Iterator[None]:
    """Leaves `room` bytes (to a page) free."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with ballast.open("wb") as file:
        file.write(b"\0" * max(0, free - room))
    try:
        yield
    finally:
        ballast.unlink()
