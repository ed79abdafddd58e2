"""All of a project's definitions and resolved mentions in memory, as arrays, for the map to rank them.

Made from the store in one pass (about 10 s for a million lines) and then constant: a snapshot as of one version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
        self.centrality: NDArray[np.float32] = np.bincount(
            self.targets, self.weights, minlength=len(self.definitions)
        ).astype(np.float32)
        """How much each definition is mentioned: the weights of the edges to it, shape (n,)."""
