"""A file without the documentation of its functions, line for line, and what that documentation said.

For evaluations: a question taken from documentation must not find the documentation itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gardener.index.languages import language_of, refine_language

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tree_sitter import Node

    from gardener.index.declared import Item

_GENERATED = re.compile(
    r"(?i)\b(?:auto(?:matically)?[- ]?)?generated (?:by|from|with|file|code)\b|\bdo not (?:edit|modify)\b"
)
_SUMMARY = re.compile(r"<summary>(.{1,8000}?)</summary>", re.DOTALL)
_REFERENCE = re.compile(r"<\w+\s+(?:cref|langword|name|href)=\"(?:\w:)?([^\"<>]{1,200})\"\s*/?>")
_DOCUMENTED_KINDS = frozenset({"function", "method"})


class Documented(NamedTuple):
    """A function that has documentation. Lines are 1-based and inclusive, comments above it not counted."""

    symbol: str
    start_line: int
    end_line: int
    documentation: str


class Undocumented(NamedTuple):
    text: str
    """The file with empty lines in place of its functions' documentation."""
    documented: tuple[Documented, ...]


def without_documentation(path: str, text: str) -> Undocumented:
    """Blanks the documentation of every function of a file whose grammar is known; other files stay as they are."""
    from gardener.index.grammars import grammar_for
    from gardener.index.outline import collect
    from gardener.index.parsing import parse

    lines = text.split("\n")
    language = refine_language(language_of(path, lines[0]), path, text)
    table = grammar_for(language)
    if table is None or not text:
        return Undocumented(text, ())
    parser_name, grammar = table
    tree = parse(parser_name, text.encode("utf-8", "replace"), len(lines))
    if tree is None:
        return Undocumented(text, ())
    generated = _GENERATED.search(text, 0, 3000) is not None  # a parser generator documented it, not a person
    items = collect(tree.root_node, grammar, text.encode("utf-8", "replace"))
    documented: list[Documented] = []
    for item, symbol in functions_of(items):
        if not item.doc:
            continue
        rows = _docstring_rows(item.node) if grammar.docstring is not None else _comment_rows(lines, item)
        if not rows:
            continue
        said = _summary("\n".join(lines[row] for row in rows)) or item.doc
        for row in rows:
            lines[row] = ""
        if not generated:
            documented.append(Documented(symbol, item.row + 1, item.end + 1, said))
    return Undocumented("\n".join(lines), tuple(documented))


def _summary(comment: str) -> str:
    """What the <summary> of C# documentation says, with the names that its references hold; "" without one."""
    match = _SUMMARY.search(comment)
    if match is None:
        return ""
    text = "\n".join(line.strip().lstrip("/*").strip() for line in match[1].split("\n"))
    text = _REFERENCE.sub(lambda found: found[1].split("(")[0].rsplit(".", 1)[-1], text)
    return re.sub(r"</?\w[^<>]{0,200}>", "", text).strip()


def functions_of(items: Sequence[Item], around: tuple[str, ...] = ()) -> Iterator[tuple[Item, str]]:
    """Functions and methods with the qualified names that their chunks have."""
    for item in items:
        names = (*around, *item.owner, item.name) if item.name else around
        if item.kind in _DOCUMENTED_KINDS:
            yield item, ".".join(names)
        if item.members:
            yield from functions_of(item.members, names)


def _comment_rows(lines: Sequence[str], item: Item) -> list[int]:
    """Rows of the comments between the start of a declaration and its first code; attributes stay."""
    rows: list[int] = []
    inside = False
    for row in range(item.start, item.row):
        stripped = lines[row].strip()
        if inside or stripped.startswith(("//", "/*", "--", "*")) or _is_hash_comment(stripped):
            rows.append(row)
            if stripped.startswith("/*"):
                inside = True
            if "*/" in stripped:
                inside = False
    return rows


def _is_hash_comment(stripped: str) -> bool:
    return stripped.startswith("#") and not stripped.startswith(("#[", "#![", "#if", "#endif", "#else", "#define"))


def _docstring_rows(node: Node | None) -> list[int]:
    """Rows of the string that a Python body starts with; none when code stands on them, or nothing else follows."""
    if node is not None and node.type == "decorated_definition":
        node = node.child_by_field_name("definition")
    body = node.child_by_field_name("body") if node is not None else None
    if body is None:
        return []
    statements = [child for child in body.named_children if child.type != "comment"]
    if len(statements) < 2 or node is None:
        return []
    first, last = statements[0].start_point[0], statements[0].end_point[0]
    if first == node.start_point[0] or statements[1].start_point[0] == last:
        return []
    return list(range(first, last + 1))
