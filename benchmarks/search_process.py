"""Row 9: `gardener search` as a process, answered by the running app, against `semble search` with its index ready."""

from __future__ import annotations

import json
import os
import subprocess
import time

from benchmarks.embedded import embedded_django
from benchmarks.hybrid_query import QUERIES
from benchmarks.measure import Row, gardener, in_turn, ratio, report, run, seconds, shown
from benchmarks.peers import semble, semble_cache

ROUNDS = 15


def main() -> int:
    home, tree = embedded_django()
    command, environment = gardener(home)
    peer, peer_environment = semble()
    peer_environment = peer_environment | {"SEMBLE_CACHE_LOCATION": str(semble_cache("search_process"))}
    app = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert app.stdout is not None
        json.loads(app.stdout.readline())
        queries = iter(QUERIES * (2 * ROUNDS))

        def ours() -> float:
            query = next(queries)
            begun = time.perf_counter()
            found = json.loads(run([*command, "search", query, "--project", "django", "--json"], env=environment))
            took = time.perf_counter() - begun
            if not found["hits"] or found["index"]["embedded_fraction"] < 1 or not found["index"]["fresh"]:
                raise RuntimeError(f"no good answer to {query!r}: this run does not count")
            return took

        def theirs() -> float:
            query = next(queries)

            def search() -> None:
                if "score" not in run([*peer, "search", query, str(tree)], env=peer_environment):
                    raise RuntimeError(f"semble found nothing for {query!r}: this run does not count")

            return seconds(search)

        first, second = in_turn(ours, theirs, ROUNDS, warmup=3)
    finally:
        app.terminate()
        app.wait(30)
    rows = [Row("gardener search / semble search", shown(first), shown(second), ratio(first, second), 0.15)]
    return report("search_process", "Row 9. A search as a process, through the app", rows, {"home": os.fspath(home)})


if __name__ == "__main__":
    raise SystemExit(main())
