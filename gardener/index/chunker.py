"""Cuts a file into chunks: whole declarations where the language is known, sections and keys in prose and
configuration.

A line ends at "\\n" and nowhere else: "\\r" stays part of the text, and a final newline makes no further
line. The chunks of a file cover each of its lines exactly once, in order, whatever the file holds.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, cast

from gardener.index.languages import TEXT, language_of, refine_language
from gardener.index.packing import Packer

if TYPE_CHECKING:
    from tree_sitter import Parser, Point, Tree
    from tree_sitter_language_pack import SupportedLanguage

    from gardener.index.declared import Grammar
    from gardener.types import Chunk

MAX_PARSED_BYTES: Final = 1_500_000
"""Larger files are chunked by lines: they are data or generated, and a parse takes memory of 20 to 50 times
the file.
"""
_WATCHED_BYTES: Final = 32_768
"""From this size on a parse is watched. The worst input known takes 0.1 s below it."""
_PARSE_SECONDS: Final = 2.0
"""CPU seconds that a watched parse may take; the largest files of real repositories take a tenth."""
_LONG_LINES: Final = 400
"""Mean bytes per line above which a larger file is taken for minified or data."""
_CONFIGURATION_ROWS: Final = 10
"""Keys with fewer rows share a chunk."""
_READ_BYTES: Final = 65_536
_NAME_BYTES: Final = 256

_parsers = threading.local()


def chunk_file(path: str, text: str, language: str | None = None) -> list[Chunk]:
    """The chunks of the file at `path` (POSIX, relative to the project) that holds `text`.

    `language` is what `language_of` gave (found out when None); headers and .txt files may be refined by
    their text. An empty file has no chunks. Never raises on any text. Deterministic, but for files whose
    parse runs out of its two CPU seconds: these are chunked by lines.
    """
    if not text:
        return []
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
        return packer.pack(sections, None)
    if language == TEXT:
        packer.plain_kind = "text"
    packer.own_rows = _CONFIGURATION_ROWS if language in ("yaml", "json") else 4
    items = keyed_outline(language, lines)
    if items is None:
        items = declared_lines(language, lines)
    return packer.pack(items or [], None)


def _from_tree(parser_name: str, grammar: Grammar, packer: Packer, text: str, rows: int) -> list[Chunk]:
    from gardener.index.outline import collect

    source = _encoded(text)
    tree = _parse(parser_name, source, rows)
    if tree is None:
        return packer.pack([], None)
    root = tree.root_node
    packer.own_rows = grammar.own_rows
    packer.collapse_rows = grammar.collapse_rows
    return packer.pack(collect(root, grammar, source), root)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates; only rows and names are taken from these bytes
        return text.encode("utf-8", "replace")


def _parser(name: str) -> Parser:
    """The parser of a bundled grammar: one per thread, because a parser has state."""
    cached: dict[str, Parser] | None = getattr(_parsers, "by_name", None)
    if cached is None:
        cached = _parsers.by_name = {}
    parser = cached.get(name)
    if parser is None:
        from tree_sitter_language_pack import get_parser

        parser = cached[name] = get_parser(cast("SupportedLanguage", name))
    return parser


def _parse(name: str, source: bytes, rows: int) -> Tree | None:
    """The syntax tree, or None when the file is too large, too dense or too slow to parse."""
    size = len(source)
    if size > MAX_PARSED_BYTES or (size > _WATCHED_BYTES and size > _LONG_LINES * rows):
        return None
    parser = _parser(name)
    if size <= _WATCHED_BYTES:
        return parser.parse(source)
    deadline = time.thread_time() + _PARSE_SECONDS

    piece = _READ_BYTES

    def read(offset: int, _: Point) -> bytes:
        return source[offset : offset + piece]

    def late(_: int, __: bool) -> bool:
        return time.thread_time() > deadline

    try:
        tree = parser.parse(read, progress_callback=late)
    except ValueError:  # "Parsing failed": stopped by `late`
        parser.reset()
        return None
    piece = _NAME_BYTES  # `Node.text` reads through the same function from now on
    return tree
