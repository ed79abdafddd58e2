"""Row 7: the same hybrid query after 500 edits of single files, against a fresh index of the same files.

Two copies of Django are two projects. One is edited 500 times, each time a function is added to another file and the
index is brought up to date, as it happens when somebody works; vectors follow every 50 edits, as they do in the app.
Then both are asked the same, in turn.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.corpus import DJANGO, sdist
from benchmarks.embedded import embedded_django
from benchmarks.hybrid_query import QUERIES, ROUNDS, TOP
from benchmarks.measure import WORK, Row, report, shown

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

EDITS = 500
EDITS_PER_EMBEDDING = 50


def main() -> int:
    from gardener.app import Gardener

    home, _ = embedded_django()
    with Gardener(str(home)) as gardener:
        fresh = _project(gardener, "growth-fresh")
        edited = _project(gardener, "growth-edited")
        before = _bytes(edited)
        peak, longest, edit_s = before, 0.0, []
        files = sorted((Path(edited.root) / "django").rglob("*.py"))
        chosen = [path for path in files if 500 < path.stat().st_size < 60_000][:EDITS]
        if len(chosen) < EDITS:
            raise RuntimeError(f"only {len(chosen)} files to edit: this run does not count")
        for number, path in enumerate(chosen, start=1):
            with path.open("a") as handle:
                handle.write(f"\n\ndef added_by_edit_{number}(value):\n    return value + {number}\n")
            begun = time.perf_counter()
            done = gardener.update_index(edited)
            edit_s.append(time.perf_counter() - begun)
            if done.changed != 1:
                raise RuntimeError(f"{done.changed} files changed instead of one: this run does not count")
            peak = max(peak, _bytes(edited))
            if number % EDITS_PER_EMBEDDING == 0:
                gardener.embed(edited)
                peak = max(peak, _bytes(edited))
        after = _bytes(edited)
        longest = max(edit_s)
        table = gardener.index(edited).indexer.table
        fragments = int(table._open("chunks").stats()["fragment_stats"]["num_fragments"])
        versions = len(os.listdir(os.path.join(edited.home, "index", f"{table.chunks_table}.lance", "_versions")))
        edited_s, fresh_s = _in_turn(gardener, edited, fresh)
    rows = [
        Row("hybrid query after 500 edits / fresh", shown(edited_s, "ms"), shown(fresh_s, "ms"),
            statistics.median(edited_s) / statistics.median(fresh_s), 1.2),
        Row("fragments", str(fragments), "100", fragments / 100, 1),
        Row("index on the disk / before the edits", f"{after / 1e6:.1f} MB", f"{before / 1e6:.1f} MB",
            after / before, 1.5),
        Row("largest it was on the way", f"{peak / 1e6:.1f} MB", f"{before / 1e6:.1f} MB", peak / before, 2.5),
    ]  # fmt: skip
    details = {"versions": versions, "edit_p50_s": statistics.median(edit_s), "edit_longest_s": longest}
    print(f"\nversions kept: {versions}; one edit: {shown(edit_s)}")
    return report("growth", f"Row 7. {EDITS} edits of single files", rows, details)


def _project(gardener: Gardener, name: str) -> ProjectContext:
    """A copy of Django, indexed anew, with every vector."""
    if any(known.name == name for known in gardener.registry.list()):
        gardener.purge(name)
    root = WORK / "trees" / name
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(sdist(DJANGO), root)
    context = gardener.registry.add(str(root), name)
    gardener.update_index(context)
    if gardener.embed(context).remaining:
        raise RuntimeError("not every chunk has its vector: this run does not count")
    return context


def _in_turn(gardener: Gardener, edited: ProjectContext, fresh: ProjectContext) -> tuple[list[float], list[float]]:
    from gardener.index.search import SearchRequest

    times: dict[str, list[float]] = {edited.id: [], fresh.id: []}
    states: dict[str, Any] = {context.id: gardener.index(context).state() for context in (edited, fresh)}
    for round_number in range(ROUNDS + 1):
        for query in QUERIES:
            for context in (edited, fresh):
                searcher = gardener.index(context).searcher
                begun = time.perf_counter()
                result = searcher.search(SearchRequest(query, TOP), states[context.id])
                took = time.perf_counter() - begun
                if len(result.hits) < TOP:
                    raise RuntimeError(f"too little was found for {query!r}: this run does not count")
                if round_number:  # the first round warms both
                    times[context.id].append(took)
    return times[edited.id], times[fresh.id]


def _bytes(context: ProjectContext) -> int:
    """Bytes of the index: tables, manifest, symbols."""
    total = 0
    for folder, _, names in os.walk(os.path.join(context.home, "index")):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return total


if __name__ == "__main__":
    sys.exit(main())
