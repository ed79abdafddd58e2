"""A scratch home with real projects, commands run on it as processes, and what must be true of it afterwards."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 180.0
"""Longest that any one command may take before it counts as hanging."""
_CONFIG = 'config_version = 1\n\n[index]\nbackground_embedding = false\n\n[log]\nlevel = "warning"\n'


def real_project(target: Path, package: str) -> Path:
    """The sources of an installed package, which nobody here wrote, in a folder of their own."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise RuntimeError(f"{package} is not installed")
    shutil.copytree(Path(found.origin).parent, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return target


@dataclass(frozen=True)
class Done:
    """How a command ended. `code` is negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Outcome:
    """What one kind of fault did: how often it was tried, and every time that a promise was broken."""

    what: str
    tried: int = 0
    broken: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


class Garden:
    """One home. Commands are real processes of the installed program, without a terminal."""

    def __init__(self, home: Path, *, config: str = _CONFIG) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "config.toml").write_text(config)
        (home / "config.toml").chmod(0o600)
        dropped = [name for name in os.environ if name.startswith("GARDENER_") or name.lower().endswith("_proxy")]
        self.environment: dict[str, str] = {name: value for name, value in os.environ.items() if name not in dropped}
        self.environment |= {
            "GARDENER_HOME": str(home),
            "GARDENER_OLLAMA_URL": "",
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "gardener.cli.main", *words]

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """In a process group of its own, so that its workers can be killed with it."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            self.command(*words), env=self.environment, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
            **(pipes | options),
        )  # fmt: skip

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Raises TimeoutExpired when the command hangs."""
        done = subprocess.run(
            self.command(*words), env=self.environment | dict(environment or {}), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *words: str) -> Done:
        """Raises RuntimeError unless the command succeeds."""
        done = self.run(*words)
        if done.code != 0:
            raise RuntimeError(f"gardener {' '.join(words)} ended with {done.code}: {done.err[-1500:]}")
        return done

    def killed(self, after_s: float, *words: str, group: bool = True) -> Done:
        """kill -9 after so many seconds; `group` takes its workers along. A code of 0 says that it was faster."""
        process = self.start(*words)
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
        out, err = process.communicate(timeout=SECONDS)
        return Done(process.returncode, out, err)

    def apart(self) -> Garden:
        """The same home, by processes whatever this one does."""
        return Garden(self.home)

    def seconds(self, *words: str) -> float:
        begun = time.perf_counter()
        self.must(*words)
        return time.perf_counter() - begun

    # ---- what must be true -----------------------------------------------------------------------------

    def look(self, what: str, *arguments: str) -> Any:
        """One of `faults.look`, in a process that ends. Raises RuntimeError."""
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("look.py")), what, *arguments], env=self.environment,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-1500:] or f"ended with {done.returncode}")
        return json.loads(done.stdout)

    def chunks(self, project: str) -> str:
        """A hash over every row of the index, whatever its order: place, content and symbol."""
        found: str = self.look("chunks", project)
        return found

    def memory(self) -> dict[str, list[str]]:
        """What people told Gardener: projects, which is active, and every message of every conversation."""
        found: dict[str, list[str]] = self.look("memory")
        return found


def unclean(done: Done) -> str:
    """What no command may ever print, whatever happened to it; "" when there is nothing of it."""
    for sign in ("Traceback (most recent call last)", "database is locked", "Something unexpected"):
        if sign in done.err or sign in done.out:
            return f"printed {sign!r}: {done.err[-300:]}"
    return ""


def edit(root: Path, chance: random.Random, files: int = 3) -> list[Path]:
    """Changes, adds and removes a little in real files. Returns what was changed."""
    there = sorted(path for path in root.rglob("*.py") if path.is_file())
    changed = chance.sample(there, min(files, len(there)))
    for path in changed:
        mark = hashlib.sha256(str(chance.random()).encode()).hexdigest()[:12]
        path.write_text(f"{path.read_text()}\n\ndef edited_{mark}():\n    return {mark!r}\n")
    return changed


def show(title: str, outcomes: Sequence[Outcome], began: float) -> int:
    """Prints the table. Returns 1 when a promise was broken, else 0."""
    width = max(len(outcome.what) for outcome in outcomes)
    print(f"\n{title}, {time.time() - began:.0f} s")
    for outcome in outcomes:
        counts = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
        verdict = f"{len(outcome.broken)} BROKEN" if outcome.broken else "nothing lost"
        print(f"  {outcome.what:<{width}}  {outcome.tried:>5} tried  {verdict}  {counts}")
        for line in [*outcome.broken[:8], *outcome.broken[8:][-4:]]:
            print(f"      {line}")
    sys.stdout.flush()
    return int(any(outcome.broken for outcome in outcomes))
