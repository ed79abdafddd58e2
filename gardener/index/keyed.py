"""Keys and tables of configuration: TOML, YAML, JSON, INI.

One pass over the lines and no parser: configuration is laid out by indentation. No pattern here can take more than
linear time.
"""

from __future__ import annotations

import re
from typing import Final

from gardener.index.declared import Item, fold
from gardener.index.documentation import comment_text

_SCANNED: Final = 2000
_LARGE_ROWS: Final = 40
"""A key that holds more rows than this is opened: its own keys become the items."""
_DEEPEST: Final = 4

_TOML_TABLE = re.compile(r"\s*\[{1,2}([^\[\]#]+)\]{1,2}\s*(?:#.*)?$")
_INI_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*(?:[#;].*)?$")
_YAML_KEY = re.compile(r"(\s*)(?:- )?(?:\"([^\"]+)\"|'([^']+)'|([^\s#&*!|>%@`\"'{}\[\],:-][^#:{}\[\]]*))\s*:(?:\s|$)")
_JSON_KEY = re.compile(r"(\s+)\"((?:[^\"\\]|\\.)*)\"\s*:")

_COMMENTS = frozenset(("#", "# ", "##", "//", ";;", "; ", "--", "(*", "%%", "% ", "/*", "* ", "*/"))

Key = tuple[int, int, str]
"""Row, indentation, name."""


def keyed_outline(language: str, lines: list[str]) -> list[Item] | None:
    """The tables or keys of a file of `language`, or None when it is no configuration language."""
    if language == "toml":
        return _tables(_toml_tables(lines), lines, "table")
    if language == "ini":
        return _tables(_matches(lines, _INI_SECTION), lines, "section")
    if language == "yaml":
        return _keys(_yaml_keys(lines), lines)
    if language == "json":
        return _keys(_json_keys(lines), lines)
    return None


# ---- Configuration


def _matches(lines: list[str], pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    return [
        (row, match[1]) for row, line in enumerate(lines) if "[" in line and (match := pattern.match(line[:_SCANNED]))
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
        item = item_at(
            row, last, kind, fold(name.strip().replace('"', ""), 120), lines, items[-1].row + 1 if items else 0
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
            name = match[2] or match[3] or match[4].rstrip()
            found.append((row, len(match[1]), name))
    return found


def _json_keys(lines: list[str]) -> list[Key]:
    return [
        (row, len(match[1].expandtabs(4)), match[2][:200])
        for row, line in enumerate(lines)
        if '"' in line and (match := _JSON_KEY.match(line[:_SCANNED]))
    ]


def _keys(keys: list[Key], lines: list[str]) -> list[Item]:
    """The outermost keys; a large one gives way to the keys inside it. Works on a stack of ranges."""
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
            item = item_at(row, end, "section", fold(name, 80), lines, row)
            item.owner = owner
            items.append(item)
        pending.extend(reversed(inner))
    items.sort(key=lambda item: item.row)
    return items


def item_at(row: int, last: int, kind: str, name: str, lines: list[str], lowest: int) -> Item:
    """An item that takes in the comments right above `row`, but no row above `lowest`."""
    start = row
    while start > lowest and row - start < 40 and lines[start - 1].lstrip()[:2] in _COMMENTS:
        start -= 1
    item = Item(start, row, last, kind, name)
    item.signature = fold(lines[row][:_SCANNED].strip().rstrip("{").rstrip(), 200)
    item.doc = "\n".join(filter(None, map(comment_text, map(str.strip, lines[start:row]))))
    return item
