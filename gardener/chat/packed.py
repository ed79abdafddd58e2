"""Finds a definition inside a chunk that holds several small ones and is named after none of them.

The chunker packs short neighbours (a row of exception classes, of constants) into one chunk. A question that names
one of them is about its lines, not about the chunk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from gardener.models.relevance import Terms
from gardener.types import SearchHit

_KEYWORDS = (
    "class|def|function|func|fun|fn|interface|struct|enum|trait|type|module|object|protocol|record|const|let|var|val"
    "|static|macro"
)
_KINDS = {"def": "function", "func": "function", "fun": "function", "fn": "function"}
_VALUES = frozenset({"const", "let", "var", "val", "static"})
_CLOSES = re.compile(r"^\s*[)\]}]+[;,]?\s*$|^\s*end\b")
_SPLIT_NAME = re.compile(r"\.|::|->|#")


def unpacked(hits: Sequence[SearchHit], terms: Terms) -> tuple[SearchHit, ...]:
    """The hits; one without a symbol that declares a name of the question is narrowed to that declaration."""
    names = [_SPLIT_NAME.split(name)[-1] for name in terms.identifiers]
    names += [name for name in terms.plain_names if name not in names]
    return tuple(hit if hit.symbol else _narrowed(hit, names) for hit in hits)


def _narrowed(hit: SearchHit, names: Sequence[str]) -> SearchHit:
    lines = hit.text.split("\n")
    for name in names:
        if len(name) < 2 or name not in hit.text:
            continue
        declared = re.compile(
            rf"^(?P<indent>\s*)(?:[\w@]+\s+){{0,4}}?(?P<keyword>{_KEYWORDS})\s+(?:\([^)]*\)\s*)?{re.escape(name)}(?!\w)"
            rf"|^(?P<margin>\s*){re.escape(name)}\s*(?::[^=]+)?=(?!=)"
        )
        for at, line in enumerate(lines):
            match = declared.match(line)
            if match is None:
                continue
            end = _end(lines, at, len(match["indent"] or match["margin"] or ""))
            keyword = match["keyword"] or "const"
            return replace(
                hit,
                start_line=hit.start_line + at,
                end_line=hit.start_line + end - 1,
                text="\n".join(lines[at:end]),
                symbol=name,
                kind="constant" if keyword in _VALUES else _KINDS.get(keyword, keyword),
                signature=line.strip().rstrip("{:").rstrip(),
                docstring="",
            )
    return hit


def _end(lines: Sequence[str], start: int, indent: int) -> int:
    """Index after the last line of the declaration at `start`: what is indented deeper, and what closes it."""
    end = start + 1
    for at in range(start + 1, len(lines)):
        line = lines[at]
        if not line.strip():
            continue
        if len(line) - len(line.lstrip()) <= indent and not _CLOSES.match(line):
            break
        end = at + 1
    return end
