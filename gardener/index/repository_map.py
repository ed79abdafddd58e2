"""A map of a repository within a token budget: the definitions that matter most, file by file.

What matters is measured by PageRank (Page, Brin, Motwani and Winograd, 1999) over the graph of mentions: a definition
that much of the code calls is one that a reader should know. With a focus the walk starts there instead of anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.symbol_graph import SymbolGraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.symbol_store import Definition

DAMPING = 0.85
ITERATIONS = 30
"""Enough for the order of the first hundreds to stand still: 0.85 to the 30th is below 1 %."""
NOT_CODE = 0.05
"""Weight of a mention in tests and other people's code."""
SIGNATURE_LIMIT = 120
FEWEST_TOKENS = 50


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One file of the map with its best definitions in the order of their lines."""

    path: str
    language: str
    definitions: tuple[Definition, ...]
    rank: float
    """Share of all attention; the ranks of all files add up to 1."""


@dataclass(frozen=True, slots=True)
class RepositoryMap:
    entries: tuple[MapEntry, ...]
    text: str
    tokens: int
    """Of `text`, counted as the caller counts."""
    files: int
    """With definitions, in all."""
    definitions: int
    """In all."""

    def as_json(self) -> dict[str, object]:
        return {
            "tokens": self.tokens,
            "files": self.files,
            "definitions": self.definitions,
            "entries": [
                {
                    "path": entry.path,
                    "language": entry.language,
                    "rank": round(entry.rank, 6),
                    "definitions": [one.as_json() for one in entry.definitions],
                }
                for entry in self.entries
            ],
            "text": self.text,
        }


def repository_map(
    graph: SymbolGraph, count_tokens: Callable[[str], int], budget: int, focus: Sequence[Definition] = ()
) -> RepositoryMap:
    """The best of a project's definitions that fit in `budget` tokens; never more. `focus` are where to look from."""
    definitions = graph.store.definitions()
    ranks = _ranks(graph, definitions, focus)
    order = sorted(range(len(definitions)), key=lambda i: (-ranks[i], definitions[i].path, definitions[i].start_line))
    shown = [i for i in order if _worth_showing(definitions[i])]
    per_file: dict[str, float] = {}
    for one, rank in zip(definitions, ranks, strict=True):
        per_file[one.path] = per_file.get(one.path, 0.0) + rank

    def drawn(count: int) -> tuple[list[MapEntry], str]:
        chosen: dict[str, list[Definition]] = {}
        for i in shown[:count]:
            chosen.setdefault(definitions[i].path, []).append(definitions[i])
        entries = [
            MapEntry(path, ones[0].language, tuple(sorted(ones, key=lambda one: one.start_line)), per_file[path])
            for path, ones in chosen.items()
        ]
        entries.sort(key=lambda entry: (-entry.rank, entry.path))
        return entries, "\n".join(_lines(entry) for entry in entries)

    low, high = 0, min(len(shown), max(budget, 0))  # a definition takes a token at the very least
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(drawn(middle)[1]) <= budget:
            low = middle
        else:
            high = middle - 1
    entries, text = drawn(low)
    return RepositoryMap(tuple(entries), text, count_tokens(text), len(per_file), len(definitions))


def _worth_showing(one: Definition) -> bool:
    return role_of(one.path, one.language) == ROLE_CODE and not one.name.startswith("__") and one.signature != ""


def _lines(entry: MapEntry) -> str:
    lines = [f"{entry.path}:"]
    for one in entry.definitions:
        signature = (
            one.signature if len(one.signature) <= SIGNATURE_LIMIT else one.signature[: SIGNATURE_LIMIT - 1] + "…"
        )
        indent = "    " if "." in one.qualified else "  "
        lines.append(f"{indent}{one.start_line}: {signature}")
    return "\n".join(lines)


def _ranks(graph: SymbolGraph, definitions: Sequence[Definition], focus: Sequence[Definition]) -> NDArray[np.float64]:
    """PageRank of each definition, shape (n,), adding up to 1."""
    import numpy as np

    n = len(definitions)
    if n == 0:
        return np.empty(0, np.float64)
    position = {one.id: i for i, one in enumerate(definitions)}
    by_name: dict[str, list[Definition]] = {}
    for one in definitions:
        by_name.setdefault(one.name, []).append(one)
    sources: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    graph.resolver.refresh()
    for mention in map(graph.resolver.original, graph.store.mentions()):
        named = by_name.get(mention.name)
        if named is None or mention.inside not in position:
            continue
        source = position[mention.inside]
        resolution, candidates = graph.resolver.resolve(mention, named, definitions[source])
        if not candidates or resolution == "name":  # get(), push(): what is guessed at must not be called important
            continue
        weight = 1.0 if role_of(mention.path, mention.language) == ROLE_CODE else NOT_CODE
        weight /= len(candidates)
        for candidate in candidates:
            target = position[candidate.id]
            if target != source:
                sources.append(source)
                targets.append(target)
                weights.append(weight)
    start = np.full(n, 1 / n)
    wanted = [position[one.id] for one in focus if one.id in position]
    if wanted:
        start = np.zeros(n)
        start[wanted] = 1 / len(wanted)
        # A focus looks both ways: what it calls, and who calls it.
        sources, targets, weights = sources + targets, targets + sources, weights + [w / 2 for w in weights]
    return _pagerank(n, np.array(sources, np.int64), np.array(targets, np.int64), np.array(weights), start)


def _pagerank(
    n: int,
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    weights: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    import numpy as np

    leaving = np.bincount(sources, weights, minlength=n) if len(sources) else np.zeros(n)
    shares = weights / leaving[sources] if len(sources) else weights
    rank = start.copy()
    for _ in range(ITERATIONS):
        moved = np.bincount(targets, rank[sources] * shares, minlength=n) if len(sources) else np.zeros(n)
        stuck = float(rank[leaving == 0].sum())
        rank = (1 - DAMPING) * start + DAMPING * (moved + stuck * start)
    result: NDArray[np.float64] = rank / rank.sum()
    return result
