"""Row 1: from an empty home to the first answered search, index on disk; against semble on the same tree."""

from __future__ import annotations

import json
import os
import shutil
import signal

from benchmarks.corpus import DJANGO, sdist
from benchmarks.measure import WORK, Row, gardener, in_turn, ratio, report, run, seconds, shown
from benchmarks.peers import semble, semble_cache

QUERY = "resolve a url path to a view function"
ROUNDS = 3


def main() -> int:
    source = sdist(DJANGO)
    home = WORK / "homes" / "cold"
    cache = semble_cache("cold")
    command, environment = gardener(home)
    peer, peer_environment = semble()
    facts: dict[str, object] = {}

    def ours() -> float:
        shutil.rmtree(home, ignore_errors=True)
        shown_add: list[str] = []

        def work() -> None:
            shown_add.append(run([*command, "add", str(source), "--json"], env=environment))
            found = json.loads(run([*command, "search", QUERY, "--json"], env=environment))
            if not found["hits"]:
                raise RuntimeError("the first search found nothing: this run does not count")

        took = seconds(work)
        added = json.loads(shown_add[0])
        facts.update(added["index"])
        if pid := added["vectors"].get("pid"):
            os.kill(int(pid), signal.SIGKILL)  # it would go on into the next round
        return took

    def theirs() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        own = peer_environment | {"SEMBLE_CACHE_LOCATION": str(cache)}
        return seconds(lambda: run([*peer, "search", QUERY, str(source)], env=own))

    first, second = in_turn(ours, theirs, ROUNDS)
    row = Row("add Django + first search / semble", shown(first), shown(second), ratio(first, second), 0.5)
    return report("cold_add", "Row 1. Cold: add until the first search answers", [row], facts)


if __name__ == "__main__":
    raise SystemExit(main())
