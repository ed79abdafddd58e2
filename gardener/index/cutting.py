"""Cuts what is too large for one chunk, at the start of statements where a tree says where they start."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_ROWS: Final = 60
MAX_CHARACTERS: Final = 2400
"""A chunk larger than either is cut. Chosen so that an embedder that reads 256 tokens sees a good part of
each.
"""
CLOSERS: Final = frozenset(
    (
        "",
        "}",
        "};",
        "})",
        "});",
        "},",
        "}}",
        ")",
        ");",
        "),",
        "]",
        "];",
        "],",
        "end",
        "*/",
        "}\\",
        "?>",
        "#endif",
        "fi",
    )
)
"""Rows that only close something, stripped."""
_BOUNDARY_VISITS: Final = 20_000


class Cutter:
    """Knows the sizes of row ranges of one file and divides the large ones. Rows are 0-based and
    inclusive.
    """

    def __init__(self, lines: list[str], starts: list[int]) -> None:
        self._lines = lines
        self._starts = starts

    def characters(self, first: int, last: int) -> int:
        return self._starts[last + 1] - self._starts[first]

    def too_large(self, first: int, last: int) -> bool:
        return last > first and (last - first >= MAX_ROWS or self.characters(first, last) > MAX_CHARACTERS)

    def parts(self, first: int, last: int, node: Node | None) -> list[tuple[int, int]]:
        """Consecutive row ranges that cover `first` to `last`, each within the limits unless a single row
        is not.

        Cuts fall at the start of statements, as far out in the tree as possible and as even as possible.
        """
        depths = _statement_rows(node, first, last) if node is not None else {}
        starts = self._starts
        parts = []
        at = first
        while self.too_large(at, last):
            rows, characters = last - at + 1, self.characters(at, last)
            count = max(-(-rows // MAX_ROWS), -(-characters // MAX_CHARACTERS), 2)
            # The furthest row at which the next part may start.
            furthest = min(at + MAX_ROWS, bisect_right(starts, starts[at] + MAX_CHARACTERS) - 1, last)
            furthest = max(furthest, at + 1)
            ideal = bisect_right(starts, starts[at] + max(characters // count, 1)) if characters > rows * 40 else 0
            ideal = min(max(ideal or at + rows // count, at + 1), furthest)
            nearest = at + max((ideal - at) // 2, 1)
            cut = self._best_cut(nearest, furthest, ideal, depths)
            parts.append((at, cut - 1))
            at = cut
        parts.append((at, last))
        return parts

    def _best_cut(self, nearest: int, furthest: int, ideal: int, depths: dict[int, int]) -> int:
        if depths:
            choices = [(depths[row], abs(row - ideal), row) for row in range(nearest, furthest + 1) if row in depths]
            if choices:
                return min(choices)[2]
        lines = self._lines
        best, best_score = furthest, 1 << 30
        for row in range(nearest, furthest + 1):
            line = lines[row]
            if not line or line.isspace():
                continue
            score = (len(line) - len(line.lstrip())) * 4 + abs(row - ideal)
            if lines[row - 1].strip():
                score += 24
            if line.strip() in CLOSERS:
                score += 40
            if score < best_score:
                best, best_score = row, score
        return best


def _statement_rows(node: Node, first: int, last: int) -> dict[int, int]:
    """Rows within `first`+1 to `last` where a statement starts, with its depth below `node`.

    Looks only into nodes of several rows that reach into the range. A statement right under its comment is
    left out, so that the two stay together.
    """
    rows: dict[int, int] = {}
    pending = [(node, 0)]
    visits = 0
    while pending and visits < _BOUNDARY_VISITS:
        parent, depth = pending.pop()
        remark_end = -9
        for child in parent.named_children:
            span = child.range
            start, end = span.start_point[0], span.end_point[0]
            visits += 1
            if start > last or visits > _BOUNDARY_VISITS:
                break
            if end < first:
                continue
            if start > first and start - 1 != remark_end:
                rows[start] = min(depth, rows.get(start, depth))
            if "comment" in child.type:
                remark_end = _end_of_remark(start, end, span.end_point[1])
            elif end - start >= 4 and depth < 60:
                pending.append((child, depth + 1))
    return rows


def _end_of_remark(start: int, end: int, column: int) -> int:
    """Last row of a comment node; a comment that ends in column 0 has its newline counted in."""
    return end - 1 if column == 0 and end > start else end
