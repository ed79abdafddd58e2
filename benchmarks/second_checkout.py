"""Row 5: a second checkout of the same repository until every vector is there, against its own cold time with vectors.

Both are `gardener add` and `gardener index --wait` as processes without an app. The cold run has an empty store; the
second checkout is another folder (git worktree), registered as a project of its own in the same home.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from benchmarks.corpus import DJANGO, git_checkout, sdist
from benchmarks.embedded import check_complete
from benchmarks.measure import WORK, Row, gardener, report, run, seconds


def main() -> int:
    first = WORK / "trees" / "django-first"
    second = WORK / "trees" / "django-second"
    if not first.is_dir():
        shutil.copytree(sdist(DJANGO), first)
    git_checkout(first)
    shutil.rmtree(second, ignore_errors=True)
    subprocess.run(["git", "worktree", "prune"], cwd=first, check=True)
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(second)], cwd=first, check=True)
    home = WORK / "homes" / "second_checkout"
    shutil.rmtree(home, ignore_errors=True)
    made: dict[str, dict[str, int]] = {}
    cold = seconds(lambda: made.update(first=_with_vectors(home, first, "first")))
    again = seconds(lambda: made.update(second=_with_vectors(home, second, "second")))
    vectors = made["second"]["reused"] + made["second"]["embedded"]
    if made["first"]["reused"] or not made["first"]["embedded"] or not vectors:
        raise RuntimeError(f"the store was not empty at first, or nothing was embedded: {made}; it does not count")
    rows = [
        Row("second checkout / cold, with vectors", f"{again:.1f} s", f"{cold:.1f} s", again / cold, 0.2),
        Row(
            "vectors made anew / all",
            str(made["second"]["embedded"]),
            str(vectors),
            made["second"]["embedded"] / vectors,
            0.05,
        ),
    ]
    return report("second_checkout", "Row 5. A second checkout of Django", rows, {"vectors": made})


def _with_vectors(home: Path, tree: Path, name: str) -> dict[str, int]:
    """Adds the project and waits for its vectors. Returns how many were embedded and how many reused."""
    command, environment = gardener(home)
    added = json.loads(run([*command, "add", str(tree), "--name", name, "--json"], env=environment))
    if pid := added["vectors"].get("pid"):
        os.kill(int(pid), signal.SIGKILL)  # its work is counted below
    done = json.loads(
        run([*command, "index", "--vectors-only", "--wait", "--project", name, "--json"], env=environment)
    )
    run([*command, "switch", name], env=environment)
    check_complete(home)
    return {key: int(done["vectors"][key]) for key in ("embedded", "reused")}


if __name__ == "__main__":
    raise SystemExit(main())
