"""The symbols of one file: what it defines, what each definition mentions, what it imports. Plain tuples, because they
travel from a worker process by the hundred thousand."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from gardener.index.imports import imports
from gardener.index.references import MOST_REFERENCES, calls, code_of
from gardener.index.uses import is_parameter, uses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gardener.index.declared import Item

DefinitionRow = tuple[str, str, str, int, int, str]
"""Name, qualified name, kind, first and last line (1-based, inclusive; comments above not counted), signature."""
ReferenceRow = tuple[int, str, str, int, bool]
"""Position of the innermost definition around it (-1: none), name, receiver, first line where it stands, and whether
it is called there rather than only named."""
ImportRow = tuple[str, str, str]
"""Module, name, alias: `references.Import`."""

MOST_DEFINITIONS = 20_000
_HEADER_LINES = 8
"""A definition's own name stands within so many lines of its start."""


class FileSymbols(NamedTuple):
    definitions: tuple[DefinitionRow, ...] = ()
    references: tuple[ReferenceRow, ...] | None = ()
    """None: not looked for yet; `placed_references` finds them later, from the same text."""
    imports: tuple[ImportRow, ...] = ()


NO_SYMBOLS = FileSymbols()
_CALLS_WITHOUT_PARENTHESES = frozenset({"ruby", "scala"})
_C_TYPE = re.compile(r"\b([A-Za-z_]\w*)[\s*&]+(?=\w)")
_UNNAMED = frozenset({"section", "rule", "block", "table", "text"})


def file_symbols(language: str, text: str, items: Sequence[Item], *, with_references: bool = True) -> FileSymbols:
    """What a file defines, mentions and imports; `items` are the declarations that its chunks were cut by."""
    definitions = tuple(sorted(_definitions(items, ()), key=lambda row: (row[3], -row[4]))[:MOST_DEFINITIONS])
    return FileSymbols(
        definitions,
        placed_references(language, text, definitions) if with_references else None,
        tuple(dict.fromkeys((item.module, item.name, item.alias) for item in imports(language, text))),
    )


def placed_references(language: str, text: str, definitions: Sequence[DefinitionRow]) -> tuple[ReferenceRow, ...]:
    """What a file mentions, each in the innermost of its definitions, which are in the order of their lines."""
    code = code_of(language, text)
    around = _enclosing(definitions)
    starts = [row[3] for row in definitions]

    def innermost(line: int) -> int:
        inside = bisect_right(starts, line) - 1
        while inside >= 0 and definitions[inside][4] < line:
            inside = around[inside]
        return inside

    own = {
        position: row[0]
        for position, row in enumerate(definitions)
        if row[0] + "(" in row[5] or row[0] + "<" in row[5] or row[0] + " (" in row[5] or row[0] + "[" in row[5]
    }
    """Definitions whose header reads like a call of themselves, until it has been seen."""
    found: dict[tuple[int, str, str], int] = {}
    for name, receiver, line in calls(language, code):
        inside = innermost(line)
        if inside in own and own[inside] == name and line - definitions[inside][3] <= _HEADER_LINES:
            del own[inside]
            continue
        found.setdefault((inside, name, receiver), line)
    named = _named(language, code, text, definitions, innermost) if code else {}
    return (
        *((*key, line, True) for key, line in found.items()),
        *((*key, line, called) for key, (line, called) in named.items() if key not in found),
    )


def _named(
    language: str, code: str, text: str, definitions: Sequence[DefinitionRow], innermost: Callable[[int], int]
) -> dict[tuple[int, str, str], tuple[int, bool]]:
    """What is named without parentheses: its first line, and whether that is a call all the same, as in Ruby."""
    members = frozenset(row[0] for row in definitions if row[2] == "method")
    known = {item.alias.split(".", 1)[0] for item in imports(language, text)} - {""}
    known.update(row[0] for row in definitions if row[2] != "method" or language in _CALLS_WITHOUT_PARENTHESES)
    if language in ("c", "cpp"):  # whose types need not begin with a capital
        known.update(name for row in definitions for name in _C_TYPE.findall(row[5]))
    functions = {row[0] for row in definitions if row[2] in ("method", "function")}
    found: dict[tuple[int, str, str], tuple[int, bool]] = {}
    variables: set[tuple[int, str]] = set()
    hidden: dict[tuple[int, str], bool] = {}
    for name, receiver, line, binds in uses(language, code, frozenset(known), members):
        inside = innermost(line)
        if binds:
            variables.add((inside, name))
            continue
        key = (inside, name, receiver)
        if key in found:
            continue
        if not receiver and inside >= 0:
            row = definitions[inside]
            if row[0] == name and line - row[3] <= _HEADER_LINES:
                continue
            if (inside, name) not in hidden:
                hidden[inside, name] = is_parameter(name, row[5])
            if hidden[inside, name]:
                continue
        called = language in _CALLS_WITHOUT_PARENTHESES and name in functions and receiver in ("", "self")
        found[key] = line, called
        if len(found) >= MOST_REFERENCES:
            break
    return {key: value for key, value in found.items() if key[2] or key[:2] not in variables}


def _definitions(items: Sequence[Item], parents: tuple[str, ...]) -> Iterator[DefinitionRow]:
    for item in items:
        names = (*parents, *item.owner, item.name) if item.name else (*parents, *item.owner)
        if item.name and item.kind not in _UNNAMED:
            yield item.name, ".".join(names), item.kind, item.row + 1, item.end + 1, item.signature
        if item.members:
            yield from _definitions(item.members, names)


def _enclosing(definitions: Sequence[DefinitionRow]) -> list[int]:
    """For each definition the position of the innermost one around it, -1 for none."""
    around: list[int] = []
    stack: list[int] = []
    for position, row in enumerate(definitions):
        while stack and definitions[stack[-1]][4] < row[3]:
            stack.pop()
        around.append(stack[-1] if stack else -1)
        stack.append(position)
    return around
