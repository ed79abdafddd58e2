"""Questions about a project's symbols: what is defined, who calls it, what it calls."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import NamedTuple

from gardener.errors import NotFoundError
from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.symbol_network import SymbolNetwork
from gardener.index.symbol_resolution import SURENESS, Candidates, Resolution, Resolver, owner_of
from gardener.index.symbol_store import Definition, Mention, SymbolStore
from gardener.index.words import split_identifier


class Edge(NamedTuple):
    """One mention of a definition from inside another (or from the top level of a file)."""

    path: str
    line: int
    """Where the mention stands: 1-based, the first of several in the same definition."""
    caller: Definition | None
    """The innermost definition around it; None at the top level."""
    callee: Definition
    resolution: Resolution
    candidates: int
    """How many definitions the mention may stand for."""
    called: bool = True
    """False where it is only named: handed over, as a type, as a base class."""

    def as_json(self) -> dict[str, object]:
        return {
            "path": self.path,
            "line": self.line,
            "caller": self.caller.qualified if self.caller else "",
            "caller_kind": self.caller.kind if self.caller else "",
            "callee": self.callee.qualified,
            "callee_path": self.callee.path,
            "callee_line": self.callee.start_line,
            "resolution": self.resolution,
            "candidates": self.candidates,
            "relation": "call" if self.called else "reference",
        }


class Callers(NamedTuple):
    definitions: tuple[Definition, ...]
    edges: tuple[Edge, ...]
    unattributed: int
    """Places that mention the name on an object of unknown type, where too many definitions have it to say which."""


class SymbolGraph:
    """Questions about one project's symbols. Reads what it needs."""

    def __init__(self, store: SymbolStore, project: str) -> None:
        self.store = store
        self.project = project
        self.resolver = Resolver(store)
        self._network: SymbolNetwork | None = None

    def network(self) -> SymbolNetwork:
        """All definitions and edges at once, in memory; made anew when the symbols have changed."""
        self.resolver.refresh()
        version = self.store.version()
        if self._network is None or self._network.version != version:
            self._network = SymbolNetwork(self.store, self.resolver, version)
        return self._network

    # ---- questions -----------------------------------------------------------------------------------

    def find(self, symbol: str, path: str = "") -> list[Definition]:
        """The definitions that a user means by `symbol`: "name", "Class.name", "Class::name" or "path/file.py:name".

        Raises NotFoundError with the nearest names.
        """
        self.resolver.refresh()
        if ":" in symbol and "::" not in symbol and not path:
            path, _, symbol = symbol.rpartition(":")
        wanted = symbol.strip().replace("::", ".").replace("#", ".").replace("->", ".").removesuffix("()").strip(".")
        found = self.store.named(wanted.rsplit(".", 1)[-1]) if wanted else []
        if "." in wanted:
            tail = "." + wanted.lower()
            found = [one for one in found if ("." + one.qualified.lower()).endswith(tail) or _module_tail(one, wanted)]
        if path:
            found = [one for one in found if one.path == path or one.path.endswith("/" + path)]
        exact = [one for one in found if one.name == wanted.rsplit(".", 1)[-1]]
        found = exact or found
        if not found:
            near = self._nearest(wanted)
            raise NotFoundError(
                f"'{self.project}' defines no symbol '{symbol[:100]}'."
                + (f" Did you mean {', '.join(near)}?" if near else ""),
                next_step=f'gardener symbols "{near[0] if near else wanted[:40]}" --project "{self.project}"',
            )
        return found

    def search(self, pattern: str, *, kind: str = "", path: str = "", limit: int = 50) -> list[Definition]:
        """Definitions whose name matches, best first: the whole name, its beginning, a part of it, its humps or letters
        in order ("gRC" for get_response_class and getResponseClass). Without a pattern all, in the order of the files.
        """
        from gardener.index.snapshot import path_matcher

        self.resolver.refresh()
        within = path_matcher(path)
        scored = [
            (score, role_of(one.path, one.language) != ROLE_CODE, len(one.qualified), one)
            for one in self.store.definitions()
            if (not kind or one.kind == kind) and within(one.path) and (score := _matches(one, pattern)) is not None
        ]
        scored.sort(key=lambda item: (item[:3], item[3].path, item[3].start_line) if pattern else (item[3].path,))
        return [item[3] for item in scored[:limit]]

    def focus(self, place: str) -> list[Definition]:
        """What `--focus` names: the definitions of a symbol, or all those below a file or folder. [] for ""."""
        if not place:
            return []
        from gardener.index.snapshot import path_matcher

        self.resolver.refresh()
        below = path_matcher(place)
        return [one for one in self.store.definitions() if below(one.path)] or self.find(place)

    def callers(self, symbol: str, path: str = "") -> Callers:
        """Every place that calls one of the definitions of `symbol` or names it otherwise: calls first, the surest
        first, program code before tests."""
        found = self.find(symbol, path)
        targets = {one.id: one for one in found}
        names = {one.name for one in found}
        edges: list[Edge] = []
        unattributed = 0
        for name in sorted(names):
            named = Candidates(self._exactly(name))
            mentions = self.store.mentions_of(name)
            for importing, alias in self.resolver.other_names(name):
                mentions += [
                    one._replace(name=name)
                    for one in self.store.mentions_of(alias)
                    if one.path == importing and not one.receiver
                ]
            around = self.store.by_id(mention.inside for mention in mentions)
            for mention in mentions:
                resolution, candidates = self.resolver.resolve(mention, named, around.get(mention.inside))
                unattributed += bool(mention.called) and not candidates
                edges += [
                    _edge(mention, around.get(mention.inside), one, resolution, len(candidates))
                    for one in candidates
                    if one.id in targets and (mention.called or not _within(around.get(mention.inside), one))
                ]
        return Callers(tuple(found), tuple(_ordered(_one_per_place(edges))), unattributed)

    def callees(self, symbol: str, path: str = "") -> list[Edge]:
        """What the definitions of `symbol` call or name, of what the project itself defines, in the order of the
        lines; what is guessed by name comes last."""
        edges: list[Edge] = []
        known: dict[str, Candidates] = {}
        for caller in self.find(symbol, path):
            inner = {
                one.id: one
                for one in self.store.in_file(caller.path)
                if caller.start_line <= one.start_line and one.end_line <= caller.end_line
            }
            for inside in inner:
                for mention in self.store.mentions_inside(inside):
                    mention = self.resolver.original(mention)
                    if mention.name not in known:
                        known[mention.name] = Candidates(self._exactly(mention.name))
                    resolution, candidates = self.resolver.resolve(mention, known[mention.name], inner[inside])
                    edges += [
                        _edge(mention, caller, one, resolution, len(candidates))
                        for one in candidates
                        if one.id not in inner
                    ]
        first: dict[tuple[int, int], Edge] = {}
        for edge in sorted(edges, key=lambda edge: (edge.path, not edge.called, edge.line, SURENESS[edge.resolution])):
            first.setdefault((edge.caller.id if edge.caller else 0, edge.callee.id), edge)
        return sorted(first.values(), key=lambda edge: (edge.resolution == "name", edge.path, edge.line))

    def _exactly(self, name: str) -> list[Definition]:
        return [one for one in self.store.named(name) if one.name == name]

    def _nearest(self, wanted: str) -> list[str]:
        import difflib

        last = wanted.rsplit(".", 1)[-1].lower()
        names = {one.name.lower(): one.name for one in self.store.definitions()}
        return [names[near] for near in difflib.get_close_matches(last[:100], list(names), n=3, cutoff=0.6)]


def _edge(mention: Mention, caller: Definition | None, callee: Definition, resolution: Resolution, of: int) -> Edge:
    return Edge(mention.path, mention.line, caller, callee, resolution, of, bool(mention.called))


def _within(caller: Definition | None, callee: Definition) -> bool:
    """A class that names itself, or a method the class that it is in, is no news."""
    return caller is not None and (
        caller.id == callee.id or (caller.path == callee.path and caller.qualified.startswith(callee.qualified + "."))
    )


def _matches(one: Definition, pattern: str) -> int | None:
    """How a definition's name matches: 0 exactly, up to 5 by letters in their order; None when it does not."""
    if not pattern:
        return 0
    wanted, name, qualified = pattern.lower(), one.name.lower(), one.qualified.lower()
    if pattern in (one.name, one.qualified):
        return 0
    if wanted in (name, qualified):
        return 1
    if name.startswith(wanted) or qualified.startswith(wanted):
        return 2
    if wanted in qualified:
        return 3
    parts = split_identifier(one.name)
    if len(wanted) > 1 and "".join(part[0] for part in parts if part).startswith(wanted):
        return 4
    letters = iter(name)
    if len(wanted) > 2 and wanted.isidentifier() and all(letter in letters for letter in wanted):
        return 5
    return None


def _module_tail(definition: Definition, wanted: str) -> bool:
    """Whether "module.name" means this definition: flask.app.Flask for class Flask in flask/app.py."""
    module, _, _ = wanted.rpartition(".")
    full = posixpath.splitext(definition.path)[0].replace("/", ".") + "." + owner_of(definition)
    return ("." + full.rstrip(".").lower()).endswith("." + module.lower())


def _one_per_place(edges: Iterable[Edge]) -> list[Edge]:
    """One edge for each caller and line, the surest, though the mention may stand for several definitions."""
    best: dict[tuple[str, int], Edge] = {}
    for edge in edges:
        key = (edge.path, edge.line)
        if key not in best or _rank(edge) < _rank(best[key]):
            best[key] = edge
    return list(best.values())


def _rank(edge: Edge) -> tuple[bool, int]:
    return not edge.called, SURENESS[edge.resolution]


def _ordered(edges: list[Edge]) -> list[Edge]:
    def place(edge: Edge) -> tuple[bool, bool, int, str, int]:
        language = edge.callee.language
        return (role_of(edge.path, language) != ROLE_CODE, *_rank(edge), edge.path, edge.line)

    return sorted(edges, key=place)
