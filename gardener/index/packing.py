"""Packs declarations into chunks: covers every row once, groups the small, splits the large."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from gardener.index.cutting import CLOSERS, Cutter
from gardener.index.declared import Item
from gardener.types import Chunk

if TYPE_CHECKING:
    from tree_sitter import Node

COLLAPSE_CHARACTERS: Final = 480
"""A class of no more characters (and few rows) stays one chunk; four times as much for a block of tests."""
_BLOCK_ROWS: Final = 7
_COMMENT_STARTS: Final = ("#", "//", "/*", "*", "--", "<!--", ";", "%")


class _Draft:
    """A chunk in the making: its last row may still move down."""

    __slots__ = ("doc", "first", "kind", "last", "parents", "signature", "symbol")

    def __init__(
        self,
        first: int,
        last: int,
        kind: str,
        symbol: str,
        signature: str,
        doc: str,
        parents: tuple[str, ...],
    ) -> None:
        self.first = first
        self.last = last
        self.kind = kind
        self.symbol = symbol
        self.signature = signature
        self.doc = doc
        self.parents = parents


class Packer:
    """Makes the chunks of one file. Rows are 0-based and inclusive; each call of `_emit` continues where
    the last ended.
    """

    def __init__(self, path: str, language: str, text: str, lines: list[str]) -> None:
        self._path = path
        self._language = language
        self._text = text
        self._lines = lines
        self._starts = list(accumulate(map((1).__add__, map(len, lines)), initial=0))
        self.plain_kind = "block"
        self.joiner = "."
        self.own_rows = 4
        self.collapse_rows = 8
        self._drafts: list[_Draft] = []
        self._cutter = Cutter(lines, self._starts)

    # ---- Output

    def _emit(
        self,
        first: int,
        last: int,
        kind: str,
        symbol: str,
        signature: str,
        doc: str,
        parents: tuple[str, ...],
    ) -> None:
        self._drafts.append(_Draft(first, last, kind, symbol, signature, doc, parents))

    def _chunks(self) -> list[Chunk]:
        """Without those that hold nothing: a table of blank rows would have thousands."""
        path, language, text, starts = self._path, self._language, self._text, self._starts
        return [
            Chunk(
                path,
                draft.first + 1,
                draft.last + 1,
                language,
                draft.kind,
                draft.symbol,
                draft.signature,
                draft.doc,
                draft.parents,
                held,
            )
            for draft in self._drafts
            if (held := text[starts[draft.first] : starts[draft.last + 1] - 1]) and not held.isspace()
        ]

    # ---- Scopes

    def pack(self, items: list[Item], root: Node | None) -> list[Chunk]:
        """The chunks of the whole file. `items` are its top-level declarations in order; `root` guides the
        cuts.
        """
        if self._lines:
            self._pack_scope(items, 0, len(self._lines) - 1, (), None, root)
        return self._chunks()

    def _pack_scope(
        self,
        items: list[Item],
        first: int,
        last: int,
        parents: tuple[str, ...],
        scope: Item | None,
        node: Node | None,
    ) -> None:
        """Rows `first` to `last`: the members of `scope` (the file when None) and everything between them."""
        at = first  # the next row that no chunk has yet
        taken = first - 1  # the last row that any item has
        small: list[tuple[Item, tuple[str, ...]]] = []
        # An explicit stack of (items, next index, parents): members of namespaces stand in line with their
        # neighbours.
        pending: list[tuple[list[Item], int, tuple[str, ...]]] = [(items, 0, parents)]
        while pending:
            level, index, around = pending.pop()
            while index < len(level):
                item = level[index]
                index += 1
                start, end = max(item.start, taken + 1), min(item.end, last)
                if end < start:
                    continue
                if item.flat and item.members:
                    inner = (*around, *item.owner, item.name) if item.name else (*around, *item.owner)
                    taken = max(taken, min(item.row, end) if item.members[0].start > item.row else start - 1)
                    small.append((item, around))
                    pending.append((level, index, around))
                    level, index, around = item.members, 0, inner
                    continue
                taken = end
                if not self._stands_alone(item, start, end):
                    small.append((item, around))
                    continue
                at = self._flush(at, start - 1, small, parents, scope, node, item)
                small = []
                self._pack_item(item, at, end, around)
                at = end + 1
        at = self._flush(at, last, small, parents, scope, node, None)

    def _stands_alone(self, item: Item, start: int, end: int) -> bool:
        rows = end - start + 1
        if item.kind in ("function", "method"):
            return rows >= 2 if self.own_rows <= 4 else rows >= self.own_rows
        if not item.name and item.kind == "block":  # a test among many
            return rows >= _BLOCK_ROWS or self._cutter.characters(start, end) > 600
        return rows >= self.own_rows or self._cutter.characters(start, end) > 300

    def _pack_item(self, item: Item, first: int, last: int, around: tuple[str, ...]) -> None:
        parents = (*around, *item.owner) if item.owner else around
        symbol = self._symbol(parents, item)
        if item.members and not self._collapses(item, first, last):
            inner = (*parents, item.name) if item.name else parents
            self._pack_scope(item.members, first, last, inner, item, item.node)
            return
        if not self._cutter.too_large(first, last):
            self._emit(first, last, item.kind, symbol, item.signature, item.doc, parents)
            return
        doc = item.doc
        for start, end in self._cutter.parts(first, last, item.node):
            self._emit(start, end, item.kind, symbol, item.signature, doc, parents)
            doc = ""

    def _collapses(self, item: Item, first: int, last: int) -> bool:
        """Whether a declaration with members is small enough to stay one chunk."""
        times = 4 if item.kind in ("block", "rule") else 1
        return (
            last - first < times * self.collapse_rows
            and self._cutter.characters(first, last) <= times * COLLAPSE_CHARACTERS
        )

    # ---- What lies between the declarations that stand alone

    def _flush(
        self,
        first: int,
        last: int,
        small: list[tuple[Item, tuple[str, ...]]],
        parents: tuple[str, ...],
        scope: Item | None,
        node: Node | None,
        following: Item | None,
    ) -> int:
        """Emit rows `first` to `last`; returns the row where the next chunk starts (`first` when they are
        carried over).
        """
        if last < first:
            return max(first, last + 1)
        lines = self._lines
        opening = scope is not None and first <= scope.row
        drafts = self._drafts
        if not opening:
            # Closing brackets and blank rows stay with what they close.
            closing = first
            while closing <= last and lines[closing].strip() in CLOSERS:
                closing += 1
            if closing > first and drafts:
                drafts[-1].last = closing - 1
                first = closing
                if first > last:
                    return first
            elif closing > last and following is not None:
                return first
        if following is not None and last - first < 4:
            if small and first >= small[0][0].start and all(item.flat for item, _ in small):
                return first  # the opening line of a namespace or an impl block goes with its first member
            # So does `describe "..." do`, and "private:" and its like.
            fits = scope is not None and not small and (scope.kind == "block" or not opening)
            if fits and sum(map(bool, lines[first : last + 1])) <= 2:
                return first
        if not small and not opening and last - first < 3:
            # One or two statements touching a declaration go with it: `desc "..."` above, `export(name)`
            # below.
            if drafts and lines[first - 1].strip() and not lines[last].strip():
                drafts[-1].last = last
                return last + 1
            if following is not None and lines[last].strip() and (not drafts or not lines[first - 1].strip()):
                return first
        if not small and not opening:
            place = self._remark_belongs(first, last, following)
            if place == "before" and drafts:
                drafts[-1].last = last
                return last + 1
            if place == "after":
                return first
        if not self._cutter.too_large(first, last):
            self._emit_group(first, last, small, parents, scope)
            return last + 1
        begun = 0  # `small` is in the order of rows: each part takes its own run of it
        for start, end in self._cutter.parts(first, last, node):
            ended = begun
            while ended < len(small) and small[ended][0].row <= end:
                ended += 1
            self._emit_group(start, end, small[begun:ended], parents, scope)
            begun = ended
        return last + 1

    def _remark_belongs(self, first: int, last: int, following: Item | None) -> str:
        """Where a few rows of nothing but comments go: "before", "after", or "" when they stay by
        themselves.
        """
        rows = [line for line in self._lines[first : min(last + 1, first + 12)] if line.strip()]
        if last - first >= 6 or len(rows) > 3 or not all(row.lstrip().startswith(_COMMENT_STARTS) for row in rows):
            return ""
        if following is None:
            return "before"
        here = len(rows[0]) - len(rows[0].lstrip())
        below = self._lines[following.row]
        return "before" if here > len(below) - len(below.lstrip()) else "after"

    def _emit_group(
        self,
        first: int,
        last: int,
        small: list[tuple[Item, tuple[str, ...]]],
        parents: tuple[str, ...],
        scope: Item | None,
    ) -> None:
        named = [(item, around) for item, around in small if first <= item.row <= last]
        alone = bool(named) and all(item.name == named[0][0].name for item, _ in named[1:])
        if scope is not None:
            opening = first <= scope.row <= last
            if alone and not opening:
                self._emit_named(first, last, *named[0])
                return
            doc = scope.doc if opening else ""
            around = parents[:-1] if scope.name else parents
            self._emit(first, last, scope.kind, ".".join(parents), scope.signature, doc, around)
            return
        if alone and (last - first < 8 or named[0][0].flat or self._covered(named, first, last, 4)):
            self._emit_named(first, last, *named[0])
            return
        kinds = {item.kind for item, _ in named}
        kind = kinds.pop() if len(kinds) == 1 and self._covered(named, first, last, 2) else self.plain_kind
        shared = named[0][1] if named and all(around == named[0][1] for _, around in named) else ()
        self._emit(first, last, kind, self.joiner.join(shared), "", "", shared)

    def _emit_named(self, first: int, last: int, item: Item, around: tuple[str, ...]) -> None:
        parents = (*around, *item.owner)
        symbol = self._symbol(parents, item)
        self._emit(first, last, item.kind, symbol, item.signature, item.doc, parents)

    def _symbol(self, parents: tuple[str, ...], item: Item) -> str:
        if not parents:
            return item.name
        return self.joiner.join((*parents, item.name) if item.name else parents)

    def _covered(self, named: list[tuple[Item, tuple[str, ...]]], first: int, last: int, share: int) -> bool:
        """Whether the declarations in `named` make up at least one part in `share` of the rows."""
        rows = sum(min(item.end, last) - item.start + 1 for item, _ in named if not item.flat)
        return share * rows >= last - first + 1
