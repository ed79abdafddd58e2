"""Which words of a question carry its meaning, and whether what search found has anything to do with them.

A search always returns its nearest hits, for a question about lasagna too. The test here is made of things
that can be shown to the user: the words of the question, and where they occur in the hits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gardener.types import SearchHit

_MAX_QUESTION = 4000
_MAX_TERMS = 24
_MAX_TEXT = 40_000

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_IDENTIFIER = re.compile(
    r"`([^`\n]{1,120})`"  # quoted by the user
    r"|\b([A-Za-z_]\w*(?:(?:\.|::|->|#)[A-Za-z_]\w*)+)\b(?:\(\))?"  # qualified
    r"|\b([A-Za-z_]\w*)\(\)"  # called
    r"|\b(_*[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)+_*)\b"  # snake_case, CONSTANT_CASE
    r"|\b([A-Za-z][a-z0-9]+(?:[A-Z][a-z0-9]*)+|[A-Z]{2,}[a-z][A-Za-z0-9]*)\b"  # camelCase, HTTPAdapter
)
_PLAIN_NAME = re.compile(r"(?<![\w'])[A-Za-z_]\w*")
_TEST_PATH = re.compile(
    r"(?:^|/)(?:tests?|testing|specs?|__tests__)/|(?:^|/)(?:test_|conftest)"
    r"|(?:[._-]test|_spec|\.spec)\.|Tests?\.\w+$"
)
_CHANGES_PATH = re.compile(r"(?i)(?:^|/)(?:change(?:s|log)|history|news|releases?|release[-_]notes)\b[^/]*$")
_FILE_SUFFIX = re.compile(r"\.[a-z]{1,4}$")

_FUNCTION_WORDS = """
    a about above after again all also am an and any anyone anything are as at be because been before being
    below best better between both but by can cannot could did do does doing done down during each either else
    ever every everything few find first for from further get gets give given go goes going good got had has
    have having he hello help her here hey hi him his how i if in into is isn it its itself just kind know
    last let like ll lot make makes many may me mean means might mine more most much must my need needs new
    next no nor not now of off often ok okay on once one only onto or other our out over own part place please
    put quite rather re really s same see seem seems shall she should show so some someone something still
    such t take tell than thank thanks that the their them then there these they thing things this those
    through thus to together too tried try two under until up upon us use used useful uses using usually ve
    very via want was way ways we well were what when where whether which while who whole whom whose why will
    with within without won would yes yet you your
    happen happens exactly actually currently between there's etc vs"""
_QUESTION_WORDS = """
    answer brief call called caller callers calling calls code codebase declaration declared define defined
    defines definition describe detail details enumerate example examples explain explained explanation file
    files folder function functions implement implementation implemented implements invoke invoked invokes
    kinds line lines list locate located location method methods module modules overview program project
    purpose question reference referenced references repo repository responsible role source summary summarise
    summarize symbol symbols usage
    usages variable variables work working works written class classes located"""
_STOP = frozenset(_FUNCTION_WORDS.split()) | frozenset(_QUESTION_WORDS.split())

_IN_NAME, _IN_DOCUMENTATION, _IN_TEXT = 1.0, 0.8, 0.5
_NEAR = 8  # lines within which two words belong together
_BY_PREFIX = 0.7
_MIN_PREFIX = 4
_TWO = 1 + _BY_PREFIX  # two words, one of which may be a beginning


def split_words(text: str) -> list[str]:
    """Lower-case words of text and identifiers alike: "getHTTPAdapter_v2" gives get, http, adapter, v, 2."""
    return [word.lower() for word in _WORD.findall(text)]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A light stem after the ideas of Porter (1980): redirects, redirected, redirection → redirect."""
    if len(word) <= 3 or not word.isascii():
        return word
    if word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix, shortest in (("ing", 6), ("ed", 5), ("ion", 6), ("er", 7), ("ly", 6)):
        if word.endswith(suffix) and len(word) >= shortest:
            word = word[: -len(suffix)]
            if word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


def stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in split_words(text[:_MAX_TEXT]))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a question asks about."""

    words: dict[str, str]
    """Stem → the word as the user wrote it, in the order of the question."""
    identifiers: tuple[str, ...]
    """Names as in code: quoted, qualified, called, snake_case or camelCase."""
    plain_names: tuple[str, ...] = ()
    """Other words that could be a symbol's name ("Session", "send"), with their case."""


def question_terms(question: str) -> Terms:
    """The words and code names in `question` that can tell one chunk from another."""
    question = question[:_MAX_QUESTION]
    identifiers: dict[str, None] = {}
    for match in _IDENTIFIER.finditer(question):
        name = next(group for group in match.groups() if group).strip().rstrip("()")
        if name and not name.isdigit():
            identifiers.setdefault(name)
    words: dict[str, str] = {}
    for word in split_words(question):
        if word in _STOP or (len(word) == 1 and word.isascii()) or len(words) >= _MAX_TERMS:
            continue
        words.setdefault(stem(word), word)
    if not words:  # "what is user.py", "who calls get()": the stop words are the subject
        for name in identifiers:
            words.update({stem(word): word for word in split_words(_FILE_SUFFIX.sub("", name))})
    if not words:  # "what does g do"
        lonely = [w for w in split_words(question) if len(w) == 1 and w not in _STOP]
        words.update({word: word for word in lonely[:1]})
    plain = [
        word
        for word in _PLAIN_NAME.findall(question)
        if word.lower() not in _STOP and word not in identifiers and (len(word) > 1 or word in words)
    ]
    return Terms(words, tuple(identifiers)[:_MAX_TERMS], tuple(dict.fromkeys(plain))[:_MAX_TERMS])


def term_match(term: str, bag: frozenset[str]) -> float:
    """1.0 when `bag` has the stem, 0.7 when one begins the other (auth, authenticate), else 0.0."""
    if term in bag:
        return 1.0
    if len(term) >= _MIN_PREFIX:
        for other in bag:
            if len(other) >= _MIN_PREFIX and (other.startswith(term) or term.startswith(other)):
                return _BY_PREFIX
    return 0.0


def names(identifier: str, symbol: str) -> bool:
    """Whether `identifier` means `symbol`: equal to it or to its last parts, whatever the case."""
    wanted = re.split(r"\.|::|->|#", identifier.lower().strip("()"))
    have = re.split(r"\.|::|->|#", symbol.lower())
    return bool(wanted[-1]) and have[-len(wanted) :] == wanted


@dataclass(frozen=True, slots=True)
class HitMatch:
    """How one hit answers to the question's terms."""

    hit: SearchHit
    strengths: dict[str, float]
    """Stem → 0.0 to 1.0; a match in a name counts more than one in the text."""
    named: Literal[0, 1, 2, 3]
    """How surely the question names this symbol or file: 3 by a code name, 2 by a word of the same spelling,
    1 by a word that differs in case, 0 not."""
    mentions: bool
    """A code name of the question occurs in the hit's text."""
    relevant: bool


def aside(path: str, question: str) -> bool:
    """Whether the file only accompanies the code (tests, change lists) and the question asks for no such."""
    if _TEST_PATH.search(path):
        return not re.search(r"(?i)\b(?:tests?|tested|testing|spec|fixtures?)\b", question)
    if _CHANGES_PATH.search(path):
        return not re.search(r"(?i)\b(?:chang\w*|history|version|release\w*|since|new|news|deprecat\w*)\b", question)
    return False


@dataclass(frozen=True, slots=True)
class Relevance:
    matches: tuple[HitMatch, ...]
    """One per hit, in the order of the hits."""
    missing: tuple[str, ...]
    """Words of the question that occur in no hit, as the user wrote them."""

    @property
    def relevant(self) -> bool:
        return any(match.relevant for match in self.matches)


CLOSE = 0.4
"""Cosine from which a chunk is about the question whatever its words (all-MiniLM-L6-v2). On two code bases the best
hits of questions that had no answer there were at 0.22 at the most, of those that had one between 0.32 and 0.69."""


def judge(terms: Terms, hits: Sequence[SearchHit]) -> Relevance:
    """Whether the hits have to do with the question, hit by hit.

    A hit is relevant when it bears or mentions a code name of the question; when its name has one of the
    words and it has half of them; when it has two that are two fifths, one in its name or documentation; when
    it has three fifths near each other; or when the question's only word occurs in it. One common word in
    passing ("recipe" in a comment, for "recipe for lasagna") is not enough, nor is a long table in which
    everything occurs somewhere.
    """
    matches = tuple(_match(terms, hit) for hit in hits)
    missing = tuple(word for key, word in terms.words.items() if not any(key in match.strengths for match in matches))
    return Relevance(matches, missing)


def _match(terms: Terms, hit: SearchHit) -> HitMatch:
    place = _FILE_SUFFIX.sub("", hit.path)
    fields = (
        (_IN_NAME, stems(f"{hit.symbol} {place} {hit.signature}")),
        (_IN_DOCUMENTATION, stems(hit.docstring)),
        (_IN_TEXT, stems(hit.text)),
    )
    strengths: dict[str, float] = {}
    for key in terms.words:
        best = max(weight * term_match(key, bag) for weight, bag in fields)
        if best:
            strengths[key] = best
    file_name = hit.path.rsplit("/", 1)[-1]
    named_as: Literal[0, 1, 2, 3] = 0
    if any(
        (bool(hit.symbol) and names(name, hit.symbol)) or name in (hit.path, file_name) for name in terms.identifiers
    ):
        named_as = 3
    elif hit.symbol and hit.kind != "section":
        last = re.split(r"\.|::|->|#", hit.symbol)[-1]
        if last in terms.plain_names:
            named_as = 2
        elif last.lower() in map(str.lower, terms.plain_names):
            named_as = 1
    mentions = any(_mentioned(name, hit.text) for name in terms.identifiers)
    whole = {key for key in strengths if any(key in bag for _, bag in fields)}
    found = len(whole) + _BY_PREFIX * (len(strengths) - len(whole))
    asked = max(1, len(terms.words))
    named = any(value > _IN_TEXT for value in strengths.values())
    borne = any(value == _IN_NAME for value in strengths.values())
    relevant = (
        named_as == 3
        or mentions
        or (borne and found / asked >= 0.5)
        or (named and found >= _TWO and found / asked >= 0.4)
        or (asked == 1 and bool(found))
        or (hit.similarity is not None and hit.similarity >= CLOSE)
        or (len(whole) / asked >= 0.6 and _together(whole, hit.text))
    )
    return HitMatch(hit, strengths, named_as, mentions, relevant)


def _together(strengths: Collection[str], text: str) -> bool:
    """Whether three fifths of the words occur within a few lines of `text`."""
    needed = math.ceil(len(strengths) * 0.6)
    seen = [{key for key in strengths if term_match(key, bag)} for bag in map(stems, text[:_MAX_TEXT].split("\n"))]
    return any(len(set().union(*seen[at : at + _NEAR])) >= needed for at in range(len(seen)) if seen[at])


def _mentioned(name: str, text: str) -> bool:
    last = re.split(r"\.|::|->|#", name)[-1]
    return len(last) > 2 and re.search(rf"(?<!\w){re.escape(last)}(?!\w)", text[:_MAX_TEXT]) is not None
