"""Single bits that flip and files that lose their end, in a live home and in a backup: found and named, or harmless."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

from faults.garden import Garden, Outcome, real_project, show, unclean

PACKAGE = "starlette"
_LOSABLE = ("run/", "logs/", "models/", "lock", "backups/")
"""What holds nothing that cannot be lost: locks, logs, downloads; backups are tried by themselves."""
_QUESTIONS = ("how is a request routed", "Mount", "session cookie signed")


def main(work: Path, seed: int, tries: int) -> int:
    """`tries` flips or cuts in the live home, half as many in a backup."""
    began, chance = time.time(), random.Random(seed)
    garden = Garden(work / "home")
    garden.must("add", str(real_project(work / PACKAGE, PACKAGE)), "--no-vectors", "--quiet")
    for question in ("How is a request routed?", "What does Mount do?"):
        garden.must("ask", question, "--json")
    garden.must("index", "--wait", "--quiet")
    garden.must("backup", "create", "--json")
    outcomes = [live(garden, chance, tries), in_a_backup(garden, chance, max(1, tries // 2))]
    return show(f"Bits and ends of files (seed {seed})", outcomes, began)


def spoil(path: Path, chance: random.Random) -> str:
    """Flips one bit, or, once in five times, cuts the file. Returns what was done."""
    data = bytearray(path.read_bytes())
    if chance.random() < 0.2:
        left = chance.randrange(len(data))
        path.write_bytes(data[:left])
        return f"cut from {len(data)} to {left} bytes"
    position, bit = chance.randrange(len(data)), chance.randrange(8)
    data[position] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {position} of {len(data)}"


def candidates(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    return sorted(
        path for path in found if not str(path.relative_to(folder)).startswith(_LOSABLE) and path.name != "lock"
    )


def live(garden: Garden, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("a live home")
    pristine = garden.home.with_name("pristine")
    shutil.copytree(garden.home, pristine)
    healthy = _complaints(garden)
    wanted = garden.look("answers", PACKAGE, *_QUESTIONS)
    apart = garden.apart()  # what reads a damaged file may die of it
    names = sorted({_kind(path) for path in candidates(pristine)})
    chance.shuffle(names)
    for number in range(tries):
        kind = names[number % len(names)]  # every kind of file in turn: the large ones would get all the bits
        path = chance.choice([path for path in candidates(garden.home) if _kind(path) == kind])
        name = str(path.relative_to(garden.home))
        done = spoil(path, chance)
        outcome.tried += 1
        try:
            complaints = _complaints(apart) - healthy
            if complaints:
                named = any(path.name in text or name in text for text in complaints)
                outcome.count("found and named" if named else "found")
            elif apart.look("answers", PACKAGE, *_QUESTIONS) == wanted:
                outcome.count("without effect")
            else:
                outcome.broken.append(f"{name}: {done}: nobody noticed, and something is different")
        except Exception as error:
            outcome.broken.append(f"{name}: {done}: {type(error).__name__}: {str(error)[-300:]}")
        shutil.rmtree(garden.home)
        shutil.copytree(pristine, garden.home)
    return outcome


def _kind(path: Path) -> str:
    """Files of one kind differ by numbers and identifiers only."""
    if path.suffix in (".db", ".toml"):
        return path.name
    folder = path.parent.name
    return ("index" if "-" in folder else folder) + path.suffix


def _complaints(garden: Garden) -> set[str]:
    """What the doctor finds, or says instead of finding."""
    done = garden.run("doctor", "--deep", "--json")
    if problem := unclean(done):
        raise RuntimeError(problem)
    if done.code < 0:
        raise RuntimeError(f"signal {-done.code} ended it: {done.err.strip()}")
    if not done.out:
        return {f"exit code {done.code}: {done.err.strip()}"} if done.code else set()
    return {row["detail"] for row in done.json["findings"] if row["severity"] in ("warning", "error")}


def in_a_backup(garden: Garden, chance: random.Random, tries: int) -> Outcome:
    outcome = Outcome("a backup")
    identity = garden.must("backup", "create", "--json").json["id"]
    folder = garden.home / "backups" / identity
    kept = garden.home.with_name("kept-backup")
    shutil.copytree(folder, kept)
    before = garden.memory()
    for _ in range(tries):
        path = chance.choice(candidates(folder))
        # A backup shares files with other backups by hard links; damage is to this one alone.
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        done = spoil(path, chance)
        outcome.tried += 1
        verified = garden.run("backup", "verify", identity, "--json")
        if verified.code == 0:
            outcome.broken.append(f"{path.name}: {done}: verify says that it is good")
        elif path.name in verified.out + verified.err:
            outcome.count("found and named")
        else:
            outcome.count("found")
        restored = garden.run("backup", "restore", identity, "--yes")
        if restored.code == 0 or garden.memory() != before:
            outcome.broken.append(f"{path.name}: {done}: restore took it")
        elif problem := unclean(restored):
            outcome.broken.append(problem)
        else:
            outcome.count("refused by restore")
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
    return outcome
