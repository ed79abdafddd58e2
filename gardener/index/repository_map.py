"""A map of a repository within a token budget: the definitions that matter most, file by file.

What matters is measured by PageRank (Page, Brin, Motwani and Winograd, 1999) over the graph of mentions: a definition
that much of the code calls is one that a reader should know. With a focus the walk starts there instead of anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gardener.index.symbol_graph import SymbolGraph
from gardener.index.symbol_network import is_test
from gardener.index.symbol_resolution import is_extension, owner_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.symbol_network import SymbolNetwork
    from gardener.index.symbol_store import Definition

DAMPING = 0.85
ITERATIONS = 30
"""Enough for the order of the first hundreds to stand still: 0.85 to the 30th is below 1 %."""
TO_CLASS = 0.25
"""Share of what a method passes on that goes to its class, compared with all that it mentions."""
_OF_KIND = {"constant": 0.2, "type": 0.5, "module": 0.05}
"""Much used and little said: version flags, aliases, namespaces. Macros count as constants."""
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
    network = graph.network()
    definitions = network.definitions
    ranks = _ranks(network, focus)
    worth = [rank * _worth(one) for one, rank in zip(definitions, ranks, strict=True)]
    order = sorted(range(len(definitions)), key=lambda i: (-worth[i], definitions[i].path, definitions[i].start_line))
    shown = _once_each(definitions, [i for i in order if _worth_showing(definitions[i])])
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


def _once_each(definitions: Sequence[Definition], order: Sequence[int]) -> list[int]:
    """The same without what is there twice: overloads, a prototype and its function, a source and what is built of it.
    The longest stands for all, in the best place."""
    chosen: dict[tuple[str, str, str], int] = {}
    for i in order:
        one = definitions[i]
        folder, _, file = one.path.rpartition("/")
        key = folder.rpartition("/")[2], file.split(".", 1)[0], one.qualified
        known = definitions[chosen[key]] if key in chosen else None
        if known is None or one.end_line - one.start_line > known.end_line - known.start_line:
            chosen[key] = i
    return list(chosen.values())


def _worth(one: Definition) -> float:
    return _OF_KIND["constant"] if one.signature.startswith("#") else _OF_KIND.get(one.kind, 1.0)


def _worth_showing(one: Definition) -> bool:
    return not is_test(one) and not one.name.startswith("__") and not is_extension(one) and one.signature != ""


def _lines(entry: MapEntry) -> str:
    lines = [f"{entry.path}:"]
    for one in entry.definitions:
        signature = (
            one.signature if len(one.signature) <= SIGNATURE_LIMIT else one.signature[: SIGNATURE_LIMIT - 1] + "…"
        )
        indent = "    " if "." in one.qualified else "  "
        lines.append(f"{indent}{one.start_line}: {signature}")
    return "\n".join(lines)


def _ranks(network: SymbolNetwork, focus: Sequence[Definition]) -> NDArray[np.float64]:
    """PageRank of each definition, shape (n,), adding up to 1."""
    import numpy as np

    n = len(network.definitions)
    if n == 0:
        return np.empty(0, np.float64)
    position = {one.id: i for i, one in enumerate(network.definitions)}
    sources, targets, weights = network.sources, network.targets, network.weights.astype(np.float64)
    # A method that is called much makes its class worth knowing.
    members, classes = _memberships(network.definitions)
    sources = np.concatenate([sources, members])
    targets = np.concatenate([targets, classes])
    leaving = np.bincount(network.sources, weights, minlength=n)
    weights = np.concatenate([weights, np.maximum(leaving[members], 1.0) * TO_CLASS])
    start = np.full(n, 1 / n)
    wanted = [position[one.id] for one in focus if one.id in position]
    if wanted:
        start = np.zeros(n)
        start[wanted] = 1 / len(wanted)
        # A focus looks both ways: what it calls, and who calls it.
        sources, targets = np.concatenate([sources, targets]), np.concatenate([targets, sources])
        weights = np.concatenate([weights, weights / 2])
    return _pagerank(n, sources, targets, weights, start)


def _memberships(definitions: Sequence[Definition]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Positions of what is in a class and of that class, both of shape (memberships,)."""
    import numpy as np

    at = {(one.path, one.qualified): i for i, one in enumerate(definitions)}
    pairs = [(i, at.get((one.path, owner_of(one)), -1)) for i, one in enumerate(definitions) if owner_of(one)]
    kept = [pair for pair in pairs if pair[1] >= 0 and definitions[pair[1]].kind != "module"]
    found = np.array(kept, np.int32).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _pagerank(
    n: int,
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
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
