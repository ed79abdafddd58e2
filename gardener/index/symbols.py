"""Who calls a symbol: chunks that mention its name, confirmed by a call in their text.

By name, not by type: two functions of one name are not told apart. A symbol graph is a later issue.
"""

from __future__ import annotations

import re

from gardener.index.rank import ROLE_CODE, role_of
from gardener.index.search import Searcher
from gardener.index.words import index_words
from gardener.types import SearchHit

CALLER_CANDIDATES = 60
MOST_CALLERS = 8


def callers_of(searcher: Searcher, symbol: str, limit: int = MOST_CALLERS) -> list[SearchHit]:
    """Chunks whose text calls the last part of `symbol`, code before tests; the definition itself left out."""
    name = symbol.rsplit(".", 1)[-1]
    if not re.fullmatch(r"[^\W\d][\w$?!]*", name) or len(name) < 3:
        return []
    call = re.compile(rf"(?<![\w$])(?:new\s+)?{re.escape(name)}(?:\s*(?:<[^<>()]*>)?\(|!\s*[(\[{{])")
    comment = re.compile(r"^\s*(?://|/?\*|#|--|;|%).*$", re.MULTILINE)
    definition = re.compile(
        rf"\b(?:def|function|func|fn|fun|class|sub|interface|struct|trait)\s+(?:\([^)]*\)\s*)?{re.escape(name)}\b"
    )
    found = []
    for hit in searcher.mentions(index_words(name).split()[:1], CALLER_CANDIDATES):
        own = hit.symbol.rsplit(".", 1)[-1] == name
        if hit.language in ("markdown", "rst", "text"):
            continue
        code = comment.sub("", hit.text)
        body = definition.sub("", code) if own else code
        if hit.symbol == symbol or (own and not call.search(body.split("\n", 1)[-1])):
            continue
        if call.search(definition.sub("", code)):
            found.append(hit)
    found.sort(key=lambda hit: role_of(hit.path, hit.language) != ROLE_CODE)
    return found[:limit]
