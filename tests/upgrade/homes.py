"""A home to upgrade, what it holds as hashes, and an upgrade that is killed on its way."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gardener.app import Gardener
from gardener.upgrade.program import Program
from tests.tiny_projects import make_tiny_project
from tests.upgrade.versions import REPOSITORY

OWN = ("checked_at", "hashes_checked_at", "racy_after_ns")
"""When the running app has looked last: facts of an index that change by themselves."""


def make_home(home: Path, root: Path, exported_models: Path) -> None:
    """A home with one indexed project, its vectors and a conversation."""
    shutil.copytree(exported_models, home / "models")
    for folder in (home, home / "models"):
        folder.chmod(0o700)
    make_tiny_project(root, "amber", files=3)
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(root), "amber")
        gardener.update_index(context)
        assert gardener.embed(context).remaining == 0
        talk = gardener.history.start(context.id, "Where are orders loaded?")
        gardener.history.append(context.id, talk.id, "user", "Where are orders loaded?")
        gardener.history.append(context.id, talk.id, "assistant", "In order.py.")


def copy_home(made: Path, home: Path, root: Path) -> Path:
    """A copy of a home whose project lies at `root`."""
    shutil.copytree(made, home, symlinks=True)
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
    with closing(sqlite3.connect(home / "state.db")) as database, database:
        database.execute("UPDATE projects SET root = ?", (str(root),))
    return home


def tables(home: Path) -> dict[str, str]:
    """A hash of every row of every table of every database that is not derived, by file and table."""
    found = {}
    for path in [home / "state.db", *sorted((home / "projects").rglob("*.db"))]:
        with closing(sqlite3.connect(path)) as database:
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = sorted(
                    map(repr, (row for row in database.execute(f'SELECT * FROM "{name}"') if row[0] not in OWN))
                )
                found[f"{path.relative_to(home)}:{name}"] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    for path in sorted((home / "projects").rglob("*.lance")):
        if path.is_file():
            found[str(path.relative_to(home))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def killed(action: str, at: int, home: Path, program: Program, wheel: str, *options: str) -> list[str] | None:
    """What it said until it killed itself at its n-th point; None when it has no such point."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.upgrade.killed", action, str(at), str(home), program.folder, wheel, *options],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode != -signal.SIGKILL:
        assert done.returncode == 0 or "--broken" in options, done.stderr
        return None
    return done.stdout.splitlines()
