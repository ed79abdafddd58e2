"""A repository of a million lines: the peak memory of indexing it, workers included, and whether it can be searched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from benchmarks.corpus import LARGE, sdist
from benchmarks.measure import WORK, Row, gardener, report, run

LINES = 1_000_000
PEAK_LIMIT = 1.5e9


def main() -> int:
    tree = _tree()
    home = WORK / "homes" / "million"
    shutil.rmtree(home, ignore_errors=True)
    command, environment = gardener(home)
    environment["GARDENER_INDEX_BACKGROUND_EMBEDDING"] = "false"
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, "add", str(tree), "--name", "million", "--json"], env=environment, stdout=subprocess.PIPE
    ) as adding:
        peak = _Peak(adding.pid)
        output, _ = adding.communicate()
        first_peak = peak.end()
        if adding.returncode:
            raise RuntimeError(f"gardener add ended with {adding.returncode}: this run does not count")
    took = time.perf_counter() - begun
    indexed = json.loads(output)["index"]
    if indexed["lines"] < LINES:
        raise RuntimeError(f"only {indexed['lines']} lines were indexed: this run does not count")
    with subprocess.Popen(
        [*command, "index", "--rebuild", "--project", "million", "--json"], env=environment, stdout=subprocess.PIPE
    ) as rebuilding:
        peak = _Peak(rebuilding.pid)
        rebuilding.communicate()
        second_peak = peak.end()
    found = json.loads(run([*command, "search", "resolve a url path to a view", "--json"], env=environment))
    if not found["hits"]:
        raise RuntimeError("nothing was found: this run does not count")
    rows = [
        Row(
            "first index, with its workers: peak", f"{first_peak / 1e6:.0f} MB", "1,500 MB", first_peak / PEAK_LIMIT, 1
        ),
        Row("rebuild beside it: peak", f"{second_peak / 1e6:.0f} MB", "1,500 MB", second_peak / PEAK_LIMIT, 1),
    ]
    what = f"{indexed['files']:,} files, {indexed['lines']:,} lines, {indexed['chunks']:,} chunks, {took:.0f} s"
    return report("million_lines", f"A repository of a million lines: {what}", rows, {"index": indexed, "took_s": took})


def _tree() -> Path:
    """Packages side by side in one folder."""
    tree = WORK / "trees" / "million"
    if not tree.is_dir():
        for requirement in LARGE[:4]:
            source = sdist(requirement)
            shutil.copytree(source, tree / source.name)
    return tree


class _Peak:
    """The largest sum of a process's and its descendants' resident memory, looked at every 50 ms.

    Pages that they share count more than once, so the truth is a little less.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._largest = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self._largest = max(self._largest, sum(_resident(member) for member in family))

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._largest


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    sys.exit(main())
