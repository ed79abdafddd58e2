"""Row 3: a re-index with nothing changed, in a warm process, against `git status`."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.corpus import DJANGO, git_checkout, sdist
from benchmarks.measure import WORK, Row, ratio, report, seconds, shown

ROUNDS = 15


def main() -> int:
    from gardener.app import Gardener

    tree = WORK / "trees" / "django-edited"
    if not tree.is_dir():
        shutil.copytree(sdist(DJANGO), tree)
    git_checkout(tree)
    home = WORK / "homes" / "reindex"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(tree))
        cold = seconds(lambda: gardener.update_index(context))
        time.sleep(0.1)
        gardener.update_index(context)

        unchanged: list[float] = []
        status: list[float] = []
        for _ in range(ROUNDS):
            unchanged.append(seconds(lambda: gardener.update_index(context)))
            status.append(seconds(lambda: _git_status(tree)))
    rows = [
        Row(
            "re-index, nothing changed / git status",
            shown(unchanged, "ms"),
            shown(status, "ms"),
            ratio(unchanged, status),
            2,
        ),
    ]
    return report("reindex", "Row 3. Nothing changed, a warm process on Django", rows, {"cold_s": cold})


def _git_status(tree: Path) -> None:
    subprocess.run(["git", "status", "--porcelain"], cwd=tree, check=True, capture_output=True)


if __name__ == "__main__":
    raise SystemExit(main())
