"""Says a sentence of ours again without what was put into it: only words that stand in Gardener's own source come out.

A finding, a log line or an error is made of an f-string and of names, paths and texts. Cutting those out by searching
for them would miss one. So it goes the other way: the sentence is compared with every text in the source, the constant
parts of the one that fits are kept, and everything between them becomes "…". Numbers are kept where the source itself
formats a number (`:,`, `:.0f`, `len(…)`).
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

BLANK = "…"
_LEAST = 6
"""Letters that the constant parts of a text must have together: shorter ones fit what is not ours."""
_LONGEST = 4_000
_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?%?")
_AMOUNT = re.compile(
    r"-?\d[\d,]*(\.\d+)? ?(B|[kKMGT]i?B|s|min|h|h \d+ min|days|(project|file|chunk|backup|vector|folder)s?)( ago)?"
)
_NUMBER_FORMAT = re.compile(r"[+-]?\d*,?(\.\d+)?[dfg%,]")
_COUNTS = frozenset({"len", "round", "int", "abs", "sum", "min", "max"})
_AMOUNTS = frozenset({"counted", "size", "duration", "_ago"})
_NESTED = 3
_WORTH_A_LOOK = 12
"""Characters of what was put in from which it may be a sentence of ours itself."""
_LOGGED = re.compile(r"%(?:\.\d+)?[sdfr]")


class Phrase(NamedTuple):
    """`parts` are the constants, with one slot between each two; `slots` say what may be shown of each."""

    parts: tuple[str, ...]
    slots: tuple[str, ...]
    """ "number", "amount", or "" for what is never shown."""

    @property
    def letters(self) -> int:
        return sum(character.isalpha() for part in self.parts for character in part)


@lru_cache(maxsize=1)
def phrases() -> tuple[Phrase, ...]:
    """Every text of the program with at least a word, those with the most constant letters first. About a second."""
    import gardener

    found: set[Phrase] = set()
    for path in _sources(os.path.dirname(os.path.abspath(gardener.__file__))):
        with open(path, encoding="utf-8") as source:
            found.update(_texts(ast.parse(source.read())))
    return tuple(sorted((one for one in found if one.letters >= _LEAST), key=lambda one: (-one.letters, one.parts)))


def said_without_particulars(text: str, known: Sequence[Phrase] | None = None, depth: int = 0) -> str:
    """What of `text` is ours; "…" when nothing is."""
    text = text[:_LONGEST]
    known = phrases() if known is None else known
    for phrase in known:
        filled = _fit(phrase, text)
        if filled is not None:
            shown = [_shown(kind, value, known, depth) for kind, value in zip(phrase.slots, filled, strict=True)]
            said = "".join(part + slot for part, slot in zip(phrase.parts, [*shown, ""], strict=True))
            return re.sub(f"{BLANK}{{2,}}", BLANK, said)
    return BLANK


def _shown(kind: str, value: str, known: Sequence[Phrase], depth: int) -> str:
    pattern = {"number": _NUMBER, "amount": _AMOUNT}.get(kind)
    if pattern is not None and pattern.fullmatch(value):
        return value
    if depth < _NESTED and len(value) >= _WORTH_A_LOOK:
        return said_without_particulars(value, known, depth + 1)
    return BLANK if value else ""


def _fit(phrase: Phrase, text: str) -> list[str] | None:
    """The texts of the slots, the shortest from the left; None when the constants are not there in order."""
    first, last = phrase.parts[0], phrase.parts[-1]
    if len(phrase.parts) == 1:
        return [] if text == first else None
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return None
    filled = []
    at, end = len(first), len(text) - len(last)
    for part in phrase.parts[1:-1]:
        found = text.find(part, at, end)
        if found < 0:
            return None
        filled.append(text[at:found])
        at = found + len(part)
    return [*filled, text[at:end]]


def _sources(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names) if name.endswith(".py"))


def _texts(tree: ast.AST) -> Iterator[Phrase]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= _LONGEST:
            pieces = _LOGGED.split(node.value)
            if len(pieces) == 1:
                yield Phrase((node.value,), ())
            else:  # a format of the logging module
                yield Phrase(tuple(pieces), tuple("number" if one[-1] in "df" else "" for one in
                                                  _LOGGED.findall(node.value)))  # fmt: skip
        elif isinstance(node, ast.JoinedStr):
            yield _formatted(node)


def _formatted(node: ast.JoinedStr) -> Phrase:
    parts, slots = [""], []
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts[-1] += str(value.value)
        elif isinstance(value, ast.FormattedValue):
            slots.append(_kind(value))
            parts.append("")
    return Phrase(tuple(parts), tuple(slots))


def _kind(value: ast.FormattedValue) -> str:
    """A text cannot be formatted with `:,` or `:.0f`: what stands there is a number, whatever it is called."""
    spec = value.format_spec
    if isinstance(spec, ast.JoinedStr) and len(spec.values) == 1 and isinstance(spec.values[0], ast.Constant):
        return "number" if _NUMBER_FORMAT.fullmatch(str(spec.values[0].value)) else ""
    if isinstance(value.value, ast.Call) and isinstance(value.value.func, ast.Name):
        name = value.value.func.id
        return "number" if name in _COUNTS else "amount" if name in _AMOUNTS else ""
    return ""
