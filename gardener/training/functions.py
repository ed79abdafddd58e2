"""Functions of a file as a head to go on from and a body, with the documentation apart."""

from __future__ import annotations

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
    """The declaration up to its body, without documentation."""
    body: str
    """The body's lines without documentation, indented as below the head."""
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
        end = _head_end(body)
        start = _line_start(source, item.row, end)
        margin = source[start:end][: len(source[start:end]) - len(source[start:end].lstrip())]
        head, inner = _text(source[start:end], margin), _text(source[end : body.end_byte], margin)
        if head and inner:
            found.append(Function(symbol, item.row + 1, head, inner, said.get((symbol, item.row + 1), "")))
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


def _head_end(body: Node) -> int:
    """The byte after the declaration: before the body, and before comments that stand between the two."""
    above = body.prev_sibling
    while above is not None and "comment" in above.type:
        above = above.prev_sibling
    return above.end_byte if above is not None else body.start_byte


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


def _text(data: bytes, margin: bytes) -> str:
    """Lines without the declaration's own indentation, and without the gaps that blanked documentation leaves."""
    taken = margin.decode("utf-8", "replace")
    lines = [line.rstrip().removeprefix(taken) for line in data.decode("utf-8", "replace").split("\n")]
    lines[0] = lines[0].lstrip(" ")  # of a body it goes on in the head's line
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(line for at, line in enumerate(lines) if line or lines[at - 1])
