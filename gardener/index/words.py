"""Identifier-aware words: what the full-text index stores and what a question is turned into.

The index holds every identifier whole (lower-cased) and split: `getHTTPResponse2` gives
`gethttpresponse2 get http response 2`, `snake_case_name` gives `snakecasename snake case name`. Each form is reduced to
its English stem, so that "resolving urls" finds `resolve_url`. Done here once per distinct identifier, this costs a
fraction of what LanceDB's stemmer costs per occurrence; the table therefore only splits at white space.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import lru_cache

_IDENTIFIER = re.compile(r"[^\W\d_]\w*|\d+", re.UNICODE)
_PARTS = re.compile(
    r"[A-Z]+(?=[A-Z][a-z])"  # an acronym before a capitalised word: HTTP in HTTPResponse
    r"|[A-Z]?[a-z]+"
    r"|[A-Z]+"
    r"|\d+"
)
_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+")

_CJK = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+)")
"""Han, kana and Hangul: written without spaces, or with word forms that a stemmer would have to know."""

QUERY_CHARACTERS = 20_000
"""So much of a question is looked at for words."""

MAXIMUM_WORD = 64
"""Longer runs (base64, minified names) are noise and would bloat the index."""

STOP_WORDS = frozenset(
    """a an and are as at be been but by can could did do does doing done for from get gets had has have how i if in
    into is it its just let me my of on or our please shall should show so tell than that the their them then there
    these they this those to up us used uses using was we were what when where which while who whom whose why will
    with would you your find code function method class file work works explain""".split()  # noqa: SIM905
)
"""Words of questions that say nothing about code. Dropped from a query only while other words remain."""


@lru_cache(maxsize=1 << 17)
def split_identifier(identifier: str) -> tuple[str, ...]:
    """The lower-case parts of an identifier: ("get", "http", "response", "2") for getHTTPResponse2."""
    if not identifier.isascii():
        return tuple(_split_by_case(identifier))
    return tuple(part.lower() for part in _PARTS.findall(identifier))


def _split_by_case(identifier: str) -> Iterator[str]:
    """The same for other scripts, whose upper-case letters a regular expression cannot name."""
    for run in _LETTERS_OR_DIGITS.findall(identifier):
        start = 0
        for at in range(1, len(run)):
            if run[at].isupper() and run[at - 1].islower():
                yield run[start:at].lower()
                start = at
        yield run[start:].lower()


class _IndexedForms(dict[str, str]):
    """What each run of word characters becomes in the index, made once; source repeats itself, so this is hot.

    Forgets everything at `LIMIT` entries: a bound on memory that costs less than remembering what to evict.
    """

    LIMIT = 200_000

    def __missing__(self, run: str) -> str:
        if len(self) >= self.LIMIT:
            self.clear()
        forms = " ".join(filter(None, map(_forms, _IDENTIFIER.findall(run))))
        self[run] = forms
        return forms


def _forms(identifier: str) -> str:
    return " ".join(map(stem, _words_of(identifier)))


def _words_of(identifier: str) -> tuple[str, ...]:
    """An identifier whole and in parts, lower-case; empty for what is too long to be a word."""
    if not identifier.isascii() and _CJK.search(identifier):
        return tuple(_with_bigrams(identifier))
    if len(identifier) > MAXIMUM_WORD:
        return ()
    parts = split_identifier(identifier)
    if len(parts) <= 1:
        return (identifier.lower(),)
    return (identifier.replace("_", "").lower(), *parts)


def _with_bigrams(identifier: str) -> Iterator[str]:
    """Overlapping pairs of such characters, as Lucene's CJKBigramFilter makes them; the rest as ever."""
    for piece in _CJK.split(identifier):
        if not _CJK.match(piece):
            for word in _IDENTIFIER.findall(piece):
                yield from _words_of(word)
        elif len(piece) == 1:
            yield piece
        else:
            yield from (piece[at : at + 2] for at in range(len(piece) - 1))


def _composed(text: str) -> str:
    """Letters and their accents as one character (Unicode NFC): editors and file systems write either."""
    if text.isascii():
        return text
    import unicodedata

    return unicodedata.normalize("NFC", text)


_stemmers = threading.local()  # one for each thread: libstemmer's objects keep their working buffer


def stem(word: str) -> str:
    """The English stem (Snowball, https://snowballstem.org/algorithms/english/stemmer.html) of a lower-case word."""
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:
        import Stemmer

        stemmer = _stemmers.english = Stemmer.Stemmer("english", 0)
    stemmed: str = stemmer.stemWord(word)
    return stemmed


_indexed_forms = _IndexedForms()

# Everything that is not an ASCII letter, digit or underscore ends a run; bytes of other scripts do not, and the rare
# run that has them is cut by the regular expression. On 18 MB of Python this takes 0.4 s, the expression alone 1.0 s.
_RUNS = bytes(byte if byte >= 0x80 or chr(byte).isalnum() or byte == ord("_") else ord(" ") for byte in range(256))


def index_words(text: str) -> str:
    """The words of a text as the full-text index stores them, in order, space-separated."""
    runs = _composed(text).encode("utf-8", "replace").translate(_RUNS).decode("utf-8").split()
    return " ".join([forms for run in runs if (forms := _indexed_forms[run])])


def identifiers(text: str) -> list[str]:
    """The identifiers and numbers of a text, in order, unchanged."""
    return _IDENTIFIER.findall(text)


def query_words(query: str, limit: int = 48) -> list[str]:
    """The words to look up for a question: distinct, lower-case, stop words dropped while others remain.

    `limit` bounds the work for a pasted page of text; the longest, hence rarest, words are kept then.
    """
    words: dict[str, None] = {}
    for identifier in _IDENTIFIER.findall(_composed(query[:QUERY_CHARACTERS])):
        for word in _words_of(identifier):
            words[word] = None
    useful = [word for word in words if word not in STOP_WORDS and (len(word) > 1 or word.isdigit())]
    chosen = useful or list(words)
    if len(chosen) > limit:
        keep = set(sorted(chosen, key=len, reverse=True)[:limit])
        chosen = [word for word in chosen if word in keep]
    return chosen
