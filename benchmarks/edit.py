"""Row 4: one file edited until a search finds the new text, in a warm process with every vector; against its own cold
time. The comparison with the disk, the commit, the snapshot and the vectors of the changed chunks are all in it."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.embedded import embedded_django
from benchmarks.measure import Row, report, seconds, shown

ROUNDS = 15


def main() -> int:
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest

    home, tree = embedded_django()
    files = [tree / "django" / "urls" / "resolvers.py", tree / "django" / "db" / "models" / "query.py"]
    edited: list[float] = []
    calls: list[int] = []
    changed: list[int] = []
    try:
        with Gardener(str(home)) as gardener:
            context = gardener.context("django")
            cold = seconds(lambda: gardener.update_index(context, rebuild=True))
            embedded = _count(gardener.embedder())
            gardener.search(context, SearchRequest("resolve a url path to a view"))
            time.sleep(0.1)
            gardener.update_index(context)
            index = gardener.index(context)
            table = index.indexer.table
            for number in range(ROUNDS + 1):
                marker = f"zebra{time.time_ns()}quux"
                before = table.hashes()
                with files[number % 2].open("a") as handle:
                    handle.write(f"\n\ndef {marker}():\n    return {number}\n")
                embedded.clear()
                begun = time.perf_counter()
                result = gardener.search(context, SearchRequest(marker, 1))
                took = time.perf_counter() - begun
                if not result.hits or marker not in result.hits[0].text:
                    raise RuntimeError(f"edit {number} was not found, this run does not count: {result.index}")
                new = len(table.hashes() - before)
                made = len([text for text in embedded if text != marker])
                made += gardener.embed(context).embedded  # what the search had no need of
                if number:  # the first warms the caches
                    edited.append(took)
                    calls.append(made)
                    changed.append(new)
    finally:
        subprocess.run(["git", "checkout", "-q", "."], cwd=tree, check=True)
    rows = [
        Row("one file edited until found / cold", shown(edited, "ms"), f"{cold:.2f} s",
            statistics.median(edited) / cold, 0.02),
        Row("chunks embedded / chunks changed", str(sum(calls)), str(sum(changed)), sum(calls) / sum(changed), 1),
    ]  # fmt: skip
    return report("edit", "Row 4. One file edited, warm process, Django", rows, {"cold_s": cold, "rounds": ROUNDS})


def _count(embedder: Any) -> list[str]:
    """The texts that go through the model from now on; the model does its work as before."""
    seen: list[str] = []
    embed = embedder.embed

    def counting(texts: Sequence[str]) -> Any:
        seen.extend(texts)
        return embed(texts)

    embedder.embed = counting
    return seen


if __name__ == "__main__":
    raise SystemExit(main())
