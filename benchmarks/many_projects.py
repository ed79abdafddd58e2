"""Row 15: ten projects of more than 100,000 lines each, against one: switching, asking, memory.

Two homes hold Django with every vector; the second also has nine other packages, indexed and each asked a question
before anything is measured. Queries go to Django in both, in warm processes that are asked in turn. Memory is that of
these processes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.corpus import LARGE, sdist
from benchmarks.embedded import embedded_django
from benchmarks.hybrid_query import QUERIES, TOP
from benchmarks.measure import WORK, Row, gardener, in_turn, report, run, seconds, shown

ROUNDS = 5
SWITCHES = 60
LINES = 100_000


def main() -> int:
    one, _ = embedded_django()
    ten = WORK / "homes" / "ten"
    _prepare(one, ten)
    command, many = gardener(ten)
    _, single = gardener(one)
    listed = json.loads(run([*command, "list", "--json"], env=many))["projects"]
    names = [entry["name"] for entry in listed]
    lines = [json.loads(run([*command, "show", name, "--json"], env=many))["lines"] for name in names]
    if len(names) < len(LARGE) or min(lines) < LINES:
        raise RuntimeError(f"{len(names)} projects of {min(lines)} lines or more: this run does not count")
    turn = iter(range(10**6))
    ten_s, one_s = in_turn(
        lambda: seconds(lambda: run([*command, "switch", names[next(turn) % len(names)]], env=many)),
        lambda: seconds(lambda: run([*command, "switch", "django"], env=single)),
        SWITCHES,
    )
    run([*command, "switch", "django"], env=many)
    with _Asked(ten, names) as crowded, _Asked(one, ["django"]) as alone:
        asked = [(crowded.ask(query), alone.ask(query)) for _ in range(ROUNDS) for query in QUERIES]
        memory = crowded.memory(), alone.memory()
    crowded_s, alone_s = zip(*asked, strict=True)
    rows = [
        Row("gardener switch, p95", shown(ten_s, "ms"), shown(one_s, "ms"), _p95(ten_s) / _p95(one_s), 1.2),
        Row("hybrid query, p95", shown(crowded_s, "ms"), shown(alone_s, "ms"), _p95(crowded_s) / _p95(alone_s), 1.2),
        Row("memory", f"{memory[0] / 1e6:.0f} MB", f"{memory[1] / 1e6:.0f} MB", memory[0] / memory[1], 1.3),
    ]
    title = f"Row 15. {len(names)} projects, {sum(lines):,} lines, against one"
    return report("many_projects", title, rows, {"lines": dict(zip(names, lines, strict=True))})


def _prepare(one: Path, ten: Path) -> None:
    """A home with Django's vectors and the nine other packages."""
    command, environment = gardener(ten)
    environment["GARDENER_INDEX_BACKGROUND_EMBEDDING"] = "false"
    if not ten.is_dir():
        for name in ("embeddings", "models"):
            shutil.copytree(one / name, ten / name)
    known = json.loads(run([*command, "list", "--json"], env=environment))["projects"]
    have = {entry["name"] for entry in known}
    for requirement in LARGE:
        name = requirement.partition("==")[0].lower()
        if name not in have:
            run([*command, "add", str(sdist(requirement)), "--name", name], env=environment)
    run([*command, "index", "--project", "django", "--wait"], env=environment)


def _p95(values: Any) -> float:
    return float(statistics.quantiles(values, n=20)[18])


class _Asked:
    """A process that has searched every project once, the first of them last, and now waits for questions."""

    def __init__(self, home: Path, names: list[str]) -> None:
        _, environment = gardener(home)
        environment["GARDENER_INDEX_BACKGROUND_EMBEDDING"] = "false"
        order = [*(name for name in names if name != "django"), "django"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.many_projects", str(home), *order],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def ask(self, query: str) -> float:
        """Seconds that the search took, inside its process."""
        return float(self._answer(query)["took"])

    def memory(self) -> int:
        import psutil

        return int(psutil.Process(self._process.pid).memory_info().rss)

    def _answer(self, query: str | None = None) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        if query is not None:
            self._process.stdin.write(query + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that searches has died: this run does not count")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> _Asked:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def serve(home: str, names: list[str]) -> int:
    """The other side of _Asked: searches each project once, then Django for every line of stdin."""
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest
    from gardener.memory import be_frugal

    be_frugal()  # as the app does when it starts
    with Gardener(home) as opened:
        for name in names:
            words_only = name != "django"  # the others have no vectors, and would make some while one waits
            context = opened.context(name)
            result = opened.search(context, SearchRequest("parse a configuration file", TOP, words_only=words_only))
            if not result.hits:
                raise RuntimeError(f"nothing was found in {name}")
        searcher = opened.index(context).searcher
        state = opened.index_state(context)
        for query in QUERIES[:3]:
            searcher.search(SearchRequest(query, TOP), state)
        if result.index.embedded_fraction < 1:
            raise RuntimeError("not every chunk of django has its vector")
        print(json.dumps({"pid": os.getpid()}), flush=True)
        for line in sys.stdin:
            begun = time.perf_counter()
            hits = searcher.search(SearchRequest(line.strip(), TOP), state).hits
            took = time.perf_counter() - begun
            if len(hits) < TOP:
                raise RuntimeError(f"too little was found for {line!r}")
            print(json.dumps({"took": took}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else main())
