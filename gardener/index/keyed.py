"""Keys and tables of configuration (TOML, YAML, JSON, INI) and declarations that a line's start gives away.

Every outline here takes one pass over the lines and needs no parser: configuration is laid out by indentation,
and the languages in `_DECLARATIONS` put their declarations at the start of a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gardener.index.declared import Item, fold
from gardener.index.documentation import comment_text

_SCANNED: Final = 2000
_LARGE_ROWS: Final = 40
"""A key that holds more rows than this is opened: its own keys become the items."""
_DEEPEST: Final = 4

_TOML_TABLE = re.compile(r"\s*\[{1,2}\s*([^\[\]#]+?)\s*\]{1,2}\s*(?:#.*)?$")
_INI_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*(?:[#;].*)?$")
_YAML_KEY = re.compile(
    r"(\s*)(?:- )?(?:\"([^\"]+)\"|'([^']+)'|([^\s#&*!|>%@`\"'{}\[\],-][^#:{}\[\]]*?|[^\s:]+))\s*:(?:\s|$)"
)
_JSON_KEY = re.compile(r"(\s+)\"((?:[^\"\\]|\\.)*)\"\s*:")

Key = tuple[int, int, str]
"""Row, indentation, name."""


def keyed_outline(language: str, lines: list[str]) -> list[Item] | None:
    """The tables, keys or declarations of a file of `language`, or None when nothing here knows the language."""
    if language == "toml":
        return _tables(_toml_tables(lines), lines, "table")
    if language == "ini":
        return _tables(_matches(lines, _INI_SECTION), lines, "section")
    if language == "yaml":
        return _keys(_yaml_keys(lines), lines)
    if language == "json":
        return _keys(_json_keys(lines), lines)
    pattern = _DECLARATIONS.get(language)
    return _declarations(pattern, lines) if pattern is not None else None


# ---- Configuration


def _matches(lines: list[str], pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    return [
        (row, match[1])
        for row, line in enumerate(lines)
        if "[" in line and (match := pattern.match(line[:_SCANNED]))
    ]


def _toml_tables(lines: list[str]) -> list[tuple[int, str]]:
    found = []
    quote = ""
    for row, full in enumerate(lines):
        line = full[:_SCANNED]
        if quote:
            if line.count(quote) % 2:
                quote = ""
            continue
        for mark in ('"""', "'''"):
            if mark in line and line.count(mark) % 2:
                quote = mark
        if not quote and "[" in line and (match := _TOML_TABLE.match(line)):
            found.append((row, match[1]))
    return found


def _tables(starts: list[tuple[int, str]], lines: list[str], kind: str) -> list[Item]:
    items: list[Item] = []
    for index, (row, name) in enumerate(starts):
        last = starts[index + 1][0] - 1 if index + 1 < len(starts) else len(lines) - 1
        item = _item(
            row, last, kind, fold(name.replace('"', ""), 120), lines, items[-1].row + 1 if items else 0
        )
        if items:
            items[-1].end = item.start - 1
        items.append(item)
    return items


def _yaml_keys(lines: list[str]) -> list[Key]:
    found = []
    for row, full in enumerate(lines):
        line = full[:_SCANNED]
        if ":" not in line or line.lstrip()[:1] in ("#", ""):
            continue
        match = _YAML_KEY.match(line)
        if match is not None:
            name = match[2] or match[3] or match[4]
            found.append((row, len(match[1]), name))
    return found


def _json_keys(lines: list[str]) -> list[Key]:
    return [
        (row, len(match[1].expandtabs(4)), match[2][:200])
        for row, line in enumerate(lines)
        if '"' in line and (match := _JSON_KEY.match(line[:_SCANNED]))
    ]


def _keys(keys: list[Key], lines: list[str]) -> list[Item]:
    """The outermost keys; a large one gives way to the keys inside it. Works on a stack of ranges of `keys`."""
    items: list[Item] = []
    pending: list[tuple[int, int, int, tuple[str, ...]]] = [(0, len(keys), len(lines) - 1, ())]
    while pending:
        first, stop, last, owner = pending.pop()
        if first >= stop:
            continue
        outermost = min(indent for _, indent, _ in keys[first:stop])
        tops = [index for index in range(first, stop) if keys[index][1] == outermost]
        inner: list[tuple[int, int, int, tuple[str, ...]]] = []
        for place, index in enumerate(tops):
            row, _, name = keys[index]
            end_index = tops[place + 1] if place + 1 < len(tops) else stop
            end = keys[end_index][0] - 1 if end_index < stop else last
            if end - row >= _LARGE_ROWS and end_index - index > 2 and len(owner) < _DEEPEST:
                inner.append((index + 1, end_index, end, (*owner, fold(name, 80))))
                end = keys[index + 1][0] - 1
            item = _item(row, end, "section", fold(name, 80), lines, row)
            item.owner = owner
            items.append(item)
        pending.extend(reversed(inner))
    items.sort(key=lambda item: item.row)
    return items


# ---- Declarations at the start of a line

_KINDS: Final = {
    "function": "function", "func": "function", "def": "function", "proc": "function", "sub": "function",
    "macro": "function", "method": "function", "defn": "function", "defn-": "function", "defun": "function",
    "defmacro": "function", "define": "function", "let": "function", "val": "constant", "modifier": "function",
    "template": "function", "iterator": "function", "filter": "function", "subroutine": "function", "task": "function",
    "class": "class", "contract": "class", "library": "class", "mixin": "class", "extension": "class", "abstract": "class",
    "interface": "interface", "protocol": "interface", "defprotocol": "interface", "trait": "trait",
    "struct": "struct", "input": "struct", "message": "struct", "record": "struct", "defrecord": "struct",
    "enum": "enum", "type": "type", "union": "type", "scalar": "type", "directive": "type", "data": "type", "extend": "type",
    "module": "module", "namespace": "module", "ns": "module", "package": "module", "program": "module",
    "entity": "class", "architecture": "class", "query": "function", "mutation": "function", "fragment": "function",
    "subscription": "function",
}  # fmt: skip


def _pattern(
    words: str, name: str = r"[\w.$:!?*+<>=/-]+", before: str = "", after: str = ""
) -> re.Pattern[str]:
    return re.compile(rf"{before}(?P<kind>{words})\b!?\s+(?:{after})?(?P<name>{name})")


_LISP = re.compile(
    r"\((?P<kind>defn-?|defun|defmacro|defprotocol|defrecord|define|ns|defmethod|defmulti|deftest|deftype|defclass)\*?\s+\(?(?P<name>[^\s()]+)"
)
_ML = _pattern(
    "let|type|module|val|and|exception", name=r"[\w']+", after=r"(?:rec|inline|private|mutable)\s+"
)
_MAKE = re.compile(r"(?P<name>[A-Za-z0-9_./%$(){}-]+)(?:\s+[\w./%$(){}-]+){0,20}\s*::?(?![=:])")

_DECLARATIONS: Final[dict[str, re.Pattern[str]]] = {
    "make": _MAKE,
    "dockerfile": re.compile(r"(?i:FROM)\s+(?P<name>\S+(?:\s+(?i:AS)\s+\S+)?)"),
    "graphql": _pattern("type|interface|enum|input|union|scalar|directive|fragment|query|mutation|subscription|extend", after=r"(?:type|input|interface|enum)\s+"),
    "fish": _pattern("function"),
    "powershell": re.compile(r"(?i:(?P<kind>function|filter|class|enum))\s+(?P<name>[\w:-]+)"),
    "vim": _pattern("function", name=r"[\w:#.<>]+"),
    "cmake": re.compile(r"\s*(?i:(?P<kind>function|macro))\s*\(\s*(?P<name>\w+)"),
    "solidity": _pattern("contract|library|interface|struct|enum|function|modifier", before=r"(?: {0,4}|\t)(?:abstract\s+)?"),
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
    "fortran": re.compile(r"\s*(?i:(?:\w+\s+){0,3}(?P<kind>subroutine|function|module|program))\s+(?!procedure)(?P<name>\w+)"),
    "verilog": _pattern("module|interface|package|class|task|function", before=r"\s*(?:virtual )?", after=r"(?:automatic\s+)?"),
    "vhdl": re.compile(r"(?i:(?P<kind>entity|architecture|package|component))\s+(?P<name>\w+)"),
    "batch": re.compile(r":(?P<name>[A-Za-z_]\w*)"),
    "diff": re.compile(r"diff (?:--git a/)?(?P<name>\S+)"),
}  # fmt: skip


def _declarations(pattern: re.Pattern[str], lines: list[str]) -> list[Item]:
    items: list[Item] = []
    match_line: Callable[[str], re.Match[str] | None] = pattern.match
    for row, line in enumerate(lines):
        match = match_line(line[:_SCANNED]) if line else None
        if match is None:
            continue
        word = (match.groupdict().get("kind") or "").lower()
        item = _item(
            row,
            len(lines) - 1,
            _KINDS.get(word, "block"),
            match["name"].strip(":("),
            lines,
            items[-1].row + 1 if items else 0,
        )
        if items:
            items[-1].end = item.start - 1
        items.append(item)
    return items


def _item(row: int, last: int, kind: str, name: str, lines: list[str], lowest: int) -> Item:
    """An item whose start takes in the comments right above `row`, down to the row `lowest` and not further."""
    start = row
    while (
        start > lowest
        and row - start < 40
        and lines[start - 1].lstrip()[:2]
        in ("#", "# ", "##", "//", ";;", "; ", "--", "(*", "%%", "% ", "/*", "* ", "*/")
    ):
        start -= 1
    item = Item(start, row, last, kind, name)
    item.signature = fold(lines[row][:_SCANNED].strip().rstrip("{").rstrip(), 200)
    item.doc = "\n".join(filter(None, map(comment_text, map(str.strip, lines[start:row]))))
    return item
