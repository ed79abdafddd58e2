"""Rows 3 and 4: nothing changed against `git status`; one file edited against the own cold time. In a warm process."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.corpus import DJANGO, git_checkout, sdist
from benchmarks.measure import WORK, Row, ratio, report, seconds, shown

ROUNDS = 15


def main() -> int:
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest

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

        edited: list[float] = []
        files = [tree / "django" / "urls" / "resolvers.py", tree / "django" / "db" / "models" / "query.py"]
        for number in range(ROUNDS):
            marker = f"zebra{number}quux{number}"
            with files[number % 2].open("a") as handle:
                handle.write(f"\n\ndef {marker}():\n    return {number}\n")
            begun = time.perf_counter()
            result = gardener.search(context, SearchRequest(marker, 1))
            edited.append(time.perf_counter() - begun)
            if not result.hits or marker not in result.hits[0].text:
                raise RuntimeError("the edit was not found: this run does not count")
    subprocess.run(["git", "checkout", "-q", "."], cwd=tree, check=True)
    rows = [
        Row(
            "re-index, nothing changed / git status",
            shown(unchanged, "ms"),
            shown(status, "ms"),
            ratio(unchanged, status),
            2,
        ),
        Row(
            "one file edited until found / cold",
            shown(edited, "ms"),
            f"{cold:.2f} s",
            statistics.median(edited) / cold,
            0.02,
        ),
    ]
    return report("reindex", "Rows 3 and 4. A warm process on Django", rows, {"cold_s": cold})


def _git_status(tree: Path) -> None:
    subprocess.run(["git", "status", "--porcelain"], cwd=tree, check=True, capture_output=True)


if __name__ == "__main__":
    raise SystemExit(main())
