"""Makes evidence out of search hits: which of them the question is about, and where these are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gardener.chat.packed import unpacked
from gardener.models.base import Evidence
from gardener.models.definitions import introduces, subject_order
from gardener.models.excerpt import call_line, called_as
from gardener.models.questions import question_kind
from gardener.models.relevance import aside, judge, question_terms
from gardener.types import SearchHit

_DEFINITIONS_WITH_CALLERS = 3
_CALLERS_EACH = 4
_CALLERS_ASKED_FOR = 12
_CALLER_MARGIN = 2
_NOT_CALLED = frozenset({"section", "text", "module", "table", "rule", "block", ""})


def with_callers(
    question: str, query: str, hits: Sequence[SearchHit], callers: Callable[[str], Sequence[SearchHit]]
) -> tuple[Evidence, ...]:
    """The hits in their order, narrowed where they are packed; the subjects of the question with their callers.

    `query` is what was searched for, `callers(symbol)` gives whole chunks that call a symbol.
    """
    kind = question_kind(question)
    terms = question_terms(query)
    hits = unpacked(hits, terms)
    if kind in ("list", "overview"):
        return tuple(map(Evidence, hits))
    matches = judge(terms, hits).matches
    subjects = sorted(
        (m for m in matches if m.relevant and m.hit.symbol and m.hit.kind not in _NOT_CALLED),
        key=lambda match: subject_order(match, kind, query),
    )
    most = _CALLERS_ASKED_FOR if kind == "callers" else _CALLERS_EACH
    found: dict[tuple[str, int], tuple[SearchHit, ...]] = {}
    # A long definition is several chunks; its callers are the same for all of them.
    distinct = {(match.hit.path, match.hit.symbol): match.hit for match in reversed(subjects)}
    for hit in list(reversed(distinct.values()))[:_DEFINITIONS_WITH_CALLERS]:
        sites = [
            site
            for caller in (callers(called_as(hit.symbol)) if called_as(hit.symbol) else ())
            if (caller.path, caller.start_line) != (hit.path, hit.start_line)
            if (site := call_site(caller, hit.symbol)) is not None
        ]
        sites.sort(key=lambda site: aside(site.path, query))
        found[hit.path, hit.start_line] = tuple(sites[:most])
    return tuple(Evidence(hit, found.get((hit.path, hit.start_line), ())) for hit in hits)


def introductions_first(hits: Sequence[SearchHit]) -> tuple[SearchHit, ...]:
    """Chunks of files that introduce a project first: the nearest to its root first, each from its top."""
    return tuple(
        sorted(
            hits,
            key=lambda hit: (
                (0, hit.path.count("/"), hit.path, hit.start_line) if introduces(hit.path) else (1, 0, "", 0)
            ),
        )
    )


def call_site(caller: SearchHit, symbol: str) -> SearchHit | None:
    """The lines of `caller` around its call of `symbol`, so that a citation points at the call itself."""
    line = call_line(caller, symbol)
    if line is None:
        return None
    lines = caller.text.split("\n")
    at = line.number - caller.start_line
    first, last = max(0, at - _CALLER_MARGIN), min(len(lines), at + _CALLER_MARGIN + 1)
    return replace(
        caller,
        start_line=caller.start_line + first,
        end_line=caller.start_line + last - 1,
        text="\n".join(lines[first:last]),
    )
