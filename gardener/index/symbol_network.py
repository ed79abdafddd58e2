"""All of a project's definitions and resolved mentions in memory, as arrays: neighbours and centrality for whoever ranks.

Made from the store in one pass (about 10 s for a million lines) and then constant: a snapshot as of one version.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.symbol_resolution import Candidates, Resolution, Resolver

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.index.symbol_store import Definition, SymbolStore

WEIGHTS: Final[dict[Resolution, float]] = {
    "local": 1.0, "import": 1.0, "type": 1.0, "package": 1.0, "unique": 0.3, "name": 0.0,
}  # fmt: skip
"""How much an edge counts by how sure it is. What is guessed by name alone (get(), push()) is no edge at all."""
NOT_CODE: Final = 0.05
"""Times this for a mention in tests and other people's code."""


def is_test(one: Definition) -> bool:
    """Whether a definition is no program code of the project: in a test, documentation or other people's code."""
    if role_of(one.path, one.language) != ROLE_CODE:
        return True
    return one.language == "rust" and one.qualified.split(".", 1)[0] in ("tests", "test")  # beside what they test


class Neighbour(NamedTuple):
    definition: Definition
    weight: float
    """0 to 1 for each mention; the sum of all of them."""
    outgoing: bool
    """True: the symbol mentions it; False: it mentions the symbol."""


class SymbolNetwork:
    """Definitions 0 … n-1 in the order of paths and lines, and edges between them.

    `sources`, `targets`: int32 of shape (edges,); `weights`: float32 of shape (edges,), see WEIGHTS.
    """

    def __init__(self, store: SymbolStore, resolver: Resolver, version: int) -> None:
        """`resolver` must be fresh."""
        import numpy as np

        self.version = version
        self.definitions = store.definitions()
        position = {one.id: i for i, one in enumerate(self.definitions)}
        by_name: dict[str, list[Definition]] = {}
        for one in self.definitions:
            by_name.setdefault(one.name, []).append(one)
        named: dict[str, Candidates] = {}
        total: dict[tuple[int, int], float] = {}
        for mention in store.each_mention():
            source = position.get(mention.inside)
            if source is None:
                continue
            mention = resolver.original(mention)
            if mention.name not in named:
                if mention.name not in by_name:
                    continue
                named[mention.name] = Candidates(by_name[mention.name])
            resolution, candidates = resolver.resolve(mention, named[mention.name], self.definitions[source])
            weight = WEIGHTS[resolution] if candidates else 0.0
            if not weight:
                continue
            weight /= len(candidates)
            if is_test(self.definitions[source]):
                weight *= NOT_CODE
            for candidate in candidates:
                target = position[candidate.id]
                if target != source:
                    total[source, target] = total.get((source, target), 0.0) + weight
        ends = np.array(list(total), np.int32).reshape(-1, 2)
        self.sources: NDArray[np.int32] = ends[:, 0].copy()
        self.targets: NDArray[np.int32] = ends[:, 1].copy()
        self.weights: NDArray[np.float32] = np.fromiter(total.values(), np.float32, len(total))
        self._paths = [one.path for one in self.definitions]
        self._by_source = np.argsort(self.sources, kind="stable")
        self._by_target = np.argsort(self.targets, kind="stable")
        self._source_starts = np.searchsorted(self.sources[self._by_source], np.arange(len(self.definitions) + 1))
        self._target_starts = np.searchsorted(self.targets[self._by_target], np.arange(len(self.definitions) + 1))
        self.centrality: NDArray[np.float32] = np.bincount(
            self.targets, self.weights, minlength=len(self.definitions)
        ).astype(np.float32)
        """How much each definition is mentioned: the weights of the edges to it, shape (n,)."""

    def at(self, path: str, start_line: int, end_line: int) -> list[int]:
        """Positions of the definitions that begin within these lines (1-based, inclusive), or else of the innermost one
        around them: what a chunk is about."""
        i = bisect_left(self._paths, path)
        inside: list[int] = []
        around = -1
        while i < len(self._paths) and self._paths[i] == path and self.definitions[i].start_line <= end_line:
            one = self.definitions[i]
            if one.start_line >= start_line:
                inside.append(i)
            elif one.end_line >= end_line:
                around = i
            i += 1
        return inside or ([around] if around >= 0 else [])

    def chunk_centrality(self, chunks: list[tuple[str, int, int]]) -> NDArray[np.float32]:
        """The most central definition of each chunk (path, first line, last line); 0 where there is none. Shape (n,)."""
        import numpy as np

        best = [max((float(self.centrality[i]) for i in self.at(*chunk)), default=0.0) for chunk in chunks]
        return np.array(best, np.float32)

    def neighbours(self, path: str, symbol: str) -> list[Neighbour]:
        """What a definition mentions and what mentions it, the heaviest first. `symbol` is its qualified name."""
        found: dict[tuple[int, bool], float] = {}
        i = bisect_left(self._paths, path)
        while i < len(self._paths) and self._paths[i] == path:
            if self.definitions[i].qualified == symbol:
                for edge in self._by_source[self._source_starts[i] : self._source_starts[i + 1]]:
                    key = int(self.targets[edge]), True
                    found[key] = found.get(key, 0.0) + float(self.weights[edge])
                for edge in self._by_target[self._target_starts[i] : self._target_starts[i + 1]]:
                    key = int(self.sources[edge]), False
                    found[key] = found.get(key, 0.0) + float(self.weights[edge])
            i += 1
        order = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return [Neighbour(self.definitions[at], weight, outgoing) for (at, outgoing), weight in order]
