"""Colours source code for reading: comments, strings, numbers and common keywords, in linear time.

Repository files are hostile input and a lexer per language means hundreds of patterns that may backtrack
for ever while they hold the interpreter. One pattern without nested repetition cannot; it is right about
most lines, and a wrong colour costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from gardener.models.inert import visible

_KEYWORD_LIST = """
abstract and as assert async await begin bool boolean break case catch chan char class const constexpr
continue crate def default defer del delete do double dyn echo elif else elsif end enum esac except
export extends extern False false fi final finally float fn for foreach from fun func function global go
goto guard if impl implements import in include inline instanceof int interface internal is lambda let
long loop match mod module move mut mutable namespace native new nil None nonlocal not null object of
operator or override package pass private protected pub public raise readonly ref require rescue return
sealed select self Self short signed sizeof static string struct super switch synchronized template then
this throw throws trait True true try type typedef typename typeof undefined union unless unsafe
unsigned until use using val var virtual void volatile when where while with yield
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
_HASH_LANGUAGES = "python ruby bash shell perl r yaml toml make dockerfile elixir julia powershell"
_HASH = frozenset(_HASH_LANGUAGES.split())
"""Languages whose comments begin with "#"."""
_DASH = frozenset({"sql", "lua", "haskell", "ada", "elm"})
_PROSE = frozenset({"markdown", "text", "rst", "html", "xml", "json", "csv"})
_STRING = r'"""(?:(?!""").)*(?:""")?|"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?|`[^`\n]*`?'
_NUMBER = r"\b\d[\w.]*"
_WORD = r"[^\W\d]\w*"
_LONGEST_LINE = 400
"""A longer line is data or minified, and colours would not make it readable."""


def _pattern(comment: str) -> re.Pattern[str]:
    return re.compile(f"(?P<c>{comment})|(?P<s>{_STRING})|(?P<n>{_NUMBER})|(?P<w>{_WORD})")


_SLASHES = _pattern(r"//.*|/\*.*?\*/|/\*.*|^\s*\*.*")
_HASHES = _pattern(r"#.*")
_DASHES = _pattern(r"--.*|/\*.*")


def highlighted(lines: Sequence[str], language: str) -> list[str]:
    """The lines as HTML: escaped, with <span class="c|s|n|k"> around what is coloured.

    Give them from the file's first line on: whether a line lies inside a long comment or string depends on
    those before. Characters that hide or turn the reading direction stand there as escapes.
    """
    result: list[str] = []
    inside = ""
    for line in (visible(line.rstrip("\r")) for line in lines):
        if language in _PROSE or len(line) > _LONGEST_LINE:
            result.append(escape(line))
            continue
        if inside:
            end = line.find(inside)
            kind = "c" if inside == "*/" else "s"
            if end < 0:
                result.append(_span(kind, line))
                continue
            end += len(inside)
            result.append(_span(kind, line[:end]) + _coloured(line[end:], language))
            inside = _opened(line[end:], language)
            continue
        result.append(_coloured(line, language))
        inside = _opened(line, language)
    return result


def _opened(line: str, language: str) -> str:
    """What would end the comment or string that `line` leaves open; "" when it leaves none."""
    marks = ('"""', "'''") if language in ("python", "kotlin", "swift", "scala") else ()
    for mark in marks:
        if line.count(mark) % 2:
            return mark
    opening = line.rfind("/*") if language not in _HASH else -1
    return "*/" if opening >= 0 and line.find("*/", opening + 2) < 0 else ""


def _coloured(line: str, language: str) -> str:
    pattern = _HASHES if language in _HASH else _DASHES if language in _DASH else _SLASHES
    pieces: list[str] = []
    at = 0
    for match in pattern.finditer(line):
        kind = match.lastgroup or ""
        if kind == "w":
            if match.group() not in _KEYWORDS:
                continue
            kind = "k"
        pieces += [escape(line[at : match.start()]), _span(kind, match.group())]
        at = match.end()
    pieces.append(escape(line[at:]))
    return "".join(pieces)


def _span(kind: str, text: str) -> str:
    return f'<span class="{kind}">{escape(text)}</span>' if text else ""
