"""Django with an index and every vector: what several benchmarks start from. Made once, about six minutes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.corpus import DJANGO, git_checkout, sdist
from benchmarks.measure import WORK, gardener, run


def embedded_django() -> tuple[Path, Path]:
    """The home and the folder of the project "django". Raises RuntimeError unless every chunk has its vector."""
    tree = WORK / "trees" / "django-embedded"
    if not tree.is_dir():
        shutil.copytree(sdist(DJANGO), tree)
    git_checkout(tree)
    subprocess.run(["git", "checkout", "-q", "."], cwd=tree, check=True)
    home = WORK / "homes" / "embedded"
    command, environment = gardener(home)
    known = json.loads(run([*command, "list", "--json"], env=environment)) if home.is_dir() else []
    if not any(entry["name"] == "django" for entry in _entries(known)):
        run([*command, "add", str(tree), "--name", "django"], env=environment)
    run([*command, "index", "--project", "django"], env=environment)
    run([*command, "index", "--project", "django", "--wait"], env=environment)
    check_complete(home)
    return home, tree


def check_complete(home: Path) -> dict[str, object]:
    """The active project's status. Raises RuntimeError unless every chunk has its vector."""
    command, environment = gardener(home)
    status: dict[str, object] = json.loads(run([*command, "status", "--json"], env=environment))
    if not status["vectors"] or status["vectors"] != status["contents"]:
        raise RuntimeError(f"only {status['vectors']} of {status['contents']} vectors: this run does not count")
    return status


def _entries(listed: object) -> list[dict[str, object]]:
    found = listed.get("projects", []) if isinstance(listed, dict) else listed
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
