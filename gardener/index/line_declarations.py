"""Declarations that the start of a line gives away, for languages that have no table of their own.

One regular expression per language, tried once on each line; a declaration runs to the next one.
"""

from __future__ import annotations

import re
from typing import Final

from gardener.index.declared import Item
from gardener.index.keyed import item_at

_SCANNED: Final = 300
"""Characters of a line that are looked at."""

_WORDS: Final = {
    "function": (
        "function func def proc sub macro method defn defn- defun defmacro define let modifier template iterator "
        "filter subroutine task query mutation fragment subscription defmethod defmulti deftest"
    ),
    "class": "class contract library mixin extension entity architecture defclass deftype",
    "interface": "interface protocol defprotocol",
    "trait": "trait",
    "struct": "struct input message record defrecord",
    "enum": "enum",
    "type": "type typedef union scalar directive data extend",
    "module": "module namespace ns package program",
    "constant": "val",
}
_KINDS: Final = {word: kind for kind, words in _WORDS.items() for word in words.split()}


def _pattern(words: str, name: str = r"[\w.$:!?*+<>=/-]+", before: str = "", after: str = "") -> re.Pattern[str]:
    return re.compile(rf"{before}(?P<kind>{words})\b!?\s+(?:{after})?(?P<name>{name})")


_LISP = re.compile(
    r"\((?P<kind>defn-?|defun|defmacro|defprotocol|defrecord|define|ns|defmethod|defmulti|deftest|deftype|defclass)"
    r"\*?\s+\(?(?P<name>[^\s()]+)"
)
_ML = _pattern("let|type|module|val", name=r"[\w']+", after=r"(?:rec|inline|private|mutable)\s+")

_DECLARATIONS: Final[dict[str, re.Pattern[str]]] = {
    "make": re.compile(r"(?P<name>[A-Za-z0-9_./%$(){}-]+)(?:\s+[\w./%$(){}-]+){0,20}\s*::?(?![=:])"),
    "dockerfile": re.compile(r"(?i:FROM)\s+(?P<name>\S+(?:\s+(?i:AS)\s+\S+)?)"),
    "graphql": _pattern(
        "type|interface|enum|input|union|scalar|directive|fragment|query|mutation|subscription|extend",
        after=r"(?:type|input|interface|enum)\s+",
    ),
    "fish": _pattern("function"),
    "powershell": re.compile(r"(?i:(?P<kind>function|filter|class|enum))\s+(?P<name>[\w:-]+)"),
    "vim": _pattern("function", name=r"[\w:#.<>]+"),
    "cmake": re.compile(r"\s*(?i:(?P<kind>function|macro))\s*\(\s*(?P<name>\w+)"),
    "solidity": _pattern(
        "contract|library|interface|struct|enum|function|modifier", before=r"(?: {0,4}|\t)(?:abstract\s+)?"
    ),
    "clojure": _LISP,
    "elisp": _LISP,
    "commonlisp": _LISP,
    "scheme": _LISP,
    "racket": _LISP,
    "ocaml": _ML,
    "fsharp": _ML,
    "erlang": re.compile(r"(?P<name>[a-z]\w*)\s*\("),
    "nim": _pattern("proc|func|method|template|macro|iterator|type", name=r"[\w`]+"),
    "dart": _pattern("class|mixin|enum|extension|typedef", before=r"(?:abstract |sealed |base |final |interface )*"),
    "groovy": _pattern("class|interface|enum|trait|def|task", before=r"(?:\w+ )?"),
    "fortran": re.compile(
        r"\s*(?i:(?:\w+\s+){0,3}(?P<kind>subroutine|function|module|program))\s+(?!procedure)(?P<name>\w+)"
    ),
    "verilog": _pattern(
        "module|interface|package|class|task|function",
        before=r"\s*(?:virtual )?",
        after=r"(?:automatic\s+)?",
    ),
    "vhdl": re.compile(r"(?i:(?P<kind>entity|architecture|package|component))\s+(?P<name>\w+)"),
    "batch": re.compile(r":(?P<name>[A-Za-z_]\w*)"),
    "diff": re.compile(r"diff (?:--git a/)?(?P<name>\S+)"),
}


def declared_lines(language: str, lines: list[str]) -> list[Item] | None:
    """The declarations of a file of `language` in order, or None when the language has no pattern here."""
    pattern = _DECLARATIONS.get(language)
    if pattern is None:
        return None
    items: list[Item] = []
    for row, line in enumerate(lines):
        match = pattern.match(line[:_SCANNED]) if line else None
        if match is None:
            continue
        word = (match.groupdict().get("kind") or "").lower()
        lowest = items[-1].row + 1 if items else 0
        name = match["name"].strip(":(")
        item = item_at(row, len(lines) - 1, _KINDS.get(word, "block"), name, lines, lowest)
        if items:
            items[-1].end = item.start - 1
        items.append(item)
    return items
