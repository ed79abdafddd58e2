"""Functions of a file as a head to go on from and a body, with the documentation apart."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from gardener.index.undocumented import Documented, functions_of, without_documentation

if TYPE_CHECKING:
    from tree_sitter import Node

_LEVELS = 4
"""How deep below a declaration its body may lie: `export const f = async () => {…}` has it three down."""


class Function(NamedTuple):
    symbol: str
    start_line: int
    """1-based line of the declaration."""
    head: str
    """The declaration up to its body, without documentation, dedented."""
    body: str
    """The body's lines without documentation, dedented."""
    documentation: str


class FunctionsOfFile(NamedTuple):
    functions: tuple[Function, ...]
    documented: tuple[Documented, ...]


def functions_in(path: str, text: str) -> FunctionsOfFile:
    """The functions and methods of a file whose grammar is known; none of any other file."""
    from gardener.index.grammars import grammar_for
    from gardener.index.languages import language_of, refine_language
    from gardener.index.outline import collect
    from gardener.index.parsing import parse

    bare = without_documentation(path, text)
    language = refine_language(language_of(path, text.partition("\n")[0]), path, text)
    table = grammar_for(language)
    if table is None or not text:
        return FunctionsOfFile((), ())
    parser_name, grammar = table
    source = bare.text.encode("utf-8", "replace")
    tree = parse(parser_name, source, bare.text.count("\n") + 1)
    if tree is None:
        return FunctionsOfFile((), ())
    said = {(function.symbol, function.start_line): function.documentation for function in bare.documented}
    found = []
    for item, symbol in functions_of(collect(tree.root_node, grammar, source)):
        body = _body(item.node)
        if body is None or not symbol:
            continue
        start = _line_start(source, item.row, body.start_byte)
        first = source.rfind(b"\n", 0, body.start_byte) + 1
        own_line = not source[first : body.start_byte].strip()
        head = source[start : first if own_line else body.start_byte]
        inner = source[first if own_line else body.start_byte : body.end_byte]
        if head.strip():
            found.append(
                Function(
                    symbol, item.row + 1, _dedented(head), _dedented(inner), said.get((symbol, item.row + 1), "")
                )
            )
    return FunctionsOfFile(tuple(found), bare.documented)


def _body(node: Node | None) -> Node | None:
    """The first body at or below a declaration, level by level."""
    level = [node] if node is not None else []
    for _ in range(_LEVELS):
        for candidate in level:
            body = candidate.child_by_field_name("body")
            if body is not None:
                return body
        level = [child for candidate in level for child in candidate.named_children[:20]]
    return None


def _line_start(source: bytes, row: int, before: int) -> int:
    """The byte at which line `row` (0-based) begins, searched backwards from the byte `before`, which is in or below
    it."""
    below = source.count(b"\n", 0, before) - row
    position = before
    for _ in range(below + 1):
        position = source.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1


def _dedented(data: bytes) -> str:
    lines = [line.rstrip() for line in textwrap.dedent(data.decode("utf-8", "replace")).split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    # Blanked documentation leaves runs of empty lines.
    return "\n".join(line for at, line in enumerate(lines) if line or lines[at - 1])
