"""Cuts a file into chunks: whole declarations where the language is known, sections and keys in prose and
configuration.

A line ends at "\\n" and nowhere else: "\\r" stays part of the text, and a final newline makes no further
line. The chunks of a file cover each of its lines exactly once, in order, whatever the file holds; but a run of
blank lines that would be a chunk by itself is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gardener.index.languages import TEXT, language_of, refine_language
from gardener.index.packing import Packer

if TYPE_CHECKING:
    from gardener.index.declared import Grammar, Item
    from gardener.types import Chunk

_CONFIGURATION_ROWS: Final = 10
"""Keys with fewer rows share a chunk."""


def chunk_file(path: str, text: str, language: str | None = None) -> list[Chunk]:
    """The chunks of the file at `path` (POSIX, relative to the project) that holds `text`.

    `language` is what `language_of` gave (found out when None); headers and .txt files may be refined by
    their text. A file of nothing but whitespace has no chunks. Never raises on any text. Deterministic, but for files
    whose parse runs out of its two CPU seconds: these are chunked by lines.
    """
    return chunks_and_items(path, text, language)[0]


def chunks_and_items(path: str, text: str, language: str | None = None) -> tuple[list[Chunk], list[Item]]:
    """The same with the declarations that the chunks were cut by, outermost first; prose and data have none."""
    if not text:
        return [], []
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    language = refine_language(language or language_of(path, lines[0]), path, text)
    packer = Packer(path, language, text, lines)

    from gardener.index.grammars import grammar_for

    table = grammar_for(language)
    if table is not None:
        return _from_tree(*table, packer, text, len(lines))
    from gardener.index.keyed import keyed_outline
    from gardener.index.line_declarations import declared_lines
    from gardener.index.prose import prose_outline

    sections = prose_outline(language, lines)
    if sections is not None:
        packer.joiner = " > "
        packer.own_rows = 4 if language == "html" else 1
        packer.plain_kind = "section" if language == "html" else "text"
        return packer.pack(sections, None), []
    if language == TEXT:
        packer.plain_kind = "text"
    packer.own_rows = _CONFIGURATION_ROWS if language in ("yaml", "json") else 4
    items = keyed_outline(language, lines)
    if items is not None:
        return packer.pack(items, None), []
    items = declared_lines(language, lines) or []
    return packer.pack(items, None), items


def _from_tree(
    parser_name: str, grammar: Grammar, packer: Packer, text: str, rows: int
) -> tuple[list[Chunk], list[Item]]:
    from gardener.index.outline import collect
    from gardener.index.parsing import parse

    source = _encoded(text)
    tree = parse(parser_name, source, rows)
    if tree is None:
        return packer.pack([], None), []
    root = tree.root_node
    packer.own_rows = grammar.own_rows
    packer.collapse_rows = grammar.collapse_rows
    items = collect(root, grammar, source)
    return packer.pack(items, root), items


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates; only rows and names are taken from these bytes
        return text.encode("utf-8", "replace")
