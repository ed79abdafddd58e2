"""Groups search hits into definitions and orders them by how surely a question means them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gardener.models.base import Evidence
from gardener.models.questions import QuestionKind
from gardener.models.relevance import HitMatch, Relevance, aside
from gardener.types import SearchHit

_OVERVIEW_FILE = re.compile(r"(?i)(?:^|/)(?:readme|overview|introduction|index|about|architecture|docs?)\b[^/]*$")
_CODE_FILE = re.compile(r"(?i)\.(?:py|js|jsx|ts|tsx|go|rs|java|c|h|cpp|cs|rb|php|swift|kt|scala|vue|css)$")


@dataclass(slots=True)
class Definition:
    """One symbol (or section) of one file, with every chunk of it that was found."""

    matches: list[HitMatch]
    callers: list[SearchHit] = field(default_factory=list)

    @property
    def hit(self) -> SearchHit:
        """The best chunk."""
        return self.matches[0].hit

    @property
    def head(self) -> SearchHit:
        """The chunk that comes first in the file: it has declaration and documentation, if any has."""
        return min((match.hit for match in self.matches), key=lambda hit: hit.start_line)

    @property
    def relevant(self) -> bool:
        return any(match.relevant for match in self.matches)

    @property
    def named(self) -> int:
        return max(match.named for match in self.matches)

    @property
    def touched(self) -> bool:
        """Whether it has anything in common with the question."""
        return any(match.strengths or match.mentions for match in self.matches)


def definitions_of(evidence: Sequence[Evidence], relevance: Relevance) -> list[Definition]:
    """The hits grouped by symbol within a file (a long function may be several chunks), best first."""
    found: dict[tuple[str, str, str], Definition] = {}
    for item, match in zip(evidence, relevance.matches, strict=True):
        hit = item.hit
        key = (hit.path, hit.symbol, hit.kind) if hit.symbol else (hit.path, "", str(hit.start_line))
        definition = found.setdefault(key, Definition([]))
        definition.matches.append(match)
        known = {place_of(caller) for caller in definition.callers}
        definition.callers += [caller for caller in item.callers if place_of(caller) not in known]
    return list(found.values())


def by_file(items: Sequence[Definition]) -> list[Definition]:
    """The same definitions with those of one file side by side; a file stands where its best one stood."""
    first: dict[str, int] = {}
    for position, item in enumerate(items):
        first.setdefault(item.hit.path, position)
    return sorted(items, key=lambda item: first[item.hit.path])


def subject_order(match: HitMatch, kind: QuestionKind, question: str) -> tuple[int, bool, bool]:
    """Sort key that brings what the question is about to the front and leaves the search's order otherwise.

    "Where is Session" names one symbol by a plain word; in "how are cookies sent" such a word is only a word.
    Code between definitions is mostly imports, which have every word and say nothing.
    """
    named = match.named if match.named == 3 or kind in ("where", "what", "callers") else 0
    return -named, aside(match.hit.path, question), not match.hit.symbol and match.hit.kind in ("block", "module")


def introduces(path: str) -> bool:
    """Whether a file is one that says what a project is: a README, an overview, a front page."""
    return _OVERVIEW_FILE.search(path) is not None and not _CODE_FILE.search(path)


def place_of(hit: SearchHit) -> tuple[str, int, int]:
    return hit.path, hit.start_line, hit.end_line
