"""Signatures in one line, and documentation without comment markers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gardener.index.declared import SIGNATURE_LIMIT, Declared, Grammar, fold, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

DOCSTRING_LIMIT: Final = 8000

_DIRECTIVES: Final = (
    "eslint-", "tslint:", "@ts-", "prettier-ignore", "biome-ignore", "istanbul ignore", "c8 ignore",
    "v8 ignore",
    "go:", "+build", "nolint", "NOLINT", "clang-format", "rubocop:", "noqa", "pylint:", "type: ignore",
    "fmt: o",
    "phpcs:", "@phpstan-", "@psalm-suppress", "swiftlint:", "ktlint", "scalastyle:", "shellcheck ", "!/",
    "#region",
    "region ", "frozen_string_literal", "sourceMappingURL", "webpackChunkName", "jshint", "global ",
)  # fmt: skip
_XML_TAG: Final = re.compile(r"</?[A-Za-z][^<>]{0,200}>")


def comment_text(comment: str) -> str:
    """A comment without its markers; "" for a directive to a tool and for a line drawn with punctuation."""
    if comment.startswith(("/*", "{-", "--[[", "<!--", "#=")):
        inner = comment.removeprefix("<!--").removesuffix("-->").removeprefix("--[[").removesuffix("]]")
        inner = inner.removeprefix("/*").removesuffix("*/").removeprefix("{-").removesuffix("-}")
        inner = inner.removeprefix("#=").removesuffix("=#").lstrip("*!|")
        lines = [line.strip().removeprefix("*").strip() for line in inner.split("\n")]
        text = "\n".join(lines).strip().rstrip("*").rstrip()
    else:
        text = comment.strip().lstrip("/#-;%!|").strip() if comment[:1] in "/#-;%" else comment.strip()
    if not text or text.startswith(_DIRECTIVES) or not any(map(str.isalnum, text[:200])):
        return ""
    return text


def clean_docstring(raw: str) -> str:
    """A string literal's content as documentation: quotes and prefix gone, common indentation removed."""
    text = raw.lstrip("rRbBuUfF")
    quote = text[:3] if text[:3] in ('"""', "'''") else text[:1]
    text = text.removeprefix(quote).removesuffix(quote) if quote else text
    lines = text.expandtabs().split("\n")
    if len(lines) == 1:
        return text.strip()[:DOCSTRING_LIMIT]
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    cleaned = [lines[0].strip(), *(line[margin:].rstrip() for line in lines[1:])]
    return "\n".join(cleaned).strip()[:DOCSTRING_LIMIT]


def signature_of(node: Node, declared: Declared, grammar: Grammar, source: bytes) -> str:
    head = declared.head or node
    start = head.start_byte
    if grammar.annotations:
        start = _after_annotations(head, grammar.annotations)
    body = declared.body
    if body is not None:
        piece = source[start : body.start_byte]
        stop = body.start_byte
    else:
        piece = source[start : min(head.end_byte, start + 2 * SIGNATURE_LIMIT)]
        stop = head.end_byte
    if b"//" in piece or b"#" in piece or b"/*" in piece:
        piece = _without_comments(head, start, stop, grammar.comments, source)
    text = fold(piece.decode("utf-8", "replace"))
    if body is None and declared.kind not in ("constant", "type") and " {" in text:
        text = text[: text.index(" {")]
    if body is None and declared.kind == "constant" and len(text) > 160:
        text = text[:159].rstrip() + "…"
    text = text.removesuffix("=>").removesuffix("\\")
    return text.rstrip("{:;= \t") if text[-1:] in "{:;= \t" else text


def _after_annotations(head: Node, annotations: frozenset[str]) -> int:
    """Byte where a declaration starts when the annotations in front of it are left out."""
    node = head
    start = head.start_byte
    for _ in range(3):
        inner = None
        for child in node.children:
            kind = child.type
            if kind in annotations:
                start = child.end_byte
            elif kind == "modifiers" and child.child_count:
                inner = child
                break
            else:
                return start
        if inner is None:
            return start
        last = inner.children[-1]
        if last.type in annotations:
            return last.end_byte
        node = inner
    return start


def _without_comments(head: Node, start: int, stop: int, comments: frozenset[str], source: bytes) -> bytes:
    """Source from `start` to `stop` less the comments between; looks only into nodes that lie there."""
    gaps: list[tuple[int, int]] = []
    pending = [head]
    visits = 0
    while pending and visits < 400:
        node = pending.pop()
        for child in node.children:
            visits += 1
            first, last = child.byte_range
            if first >= stop or visits > 400:
                break
            if last <= start:
                continue
            if child.type in comments:
                gaps.append((first, last))
            elif child.child_count and last <= stop:
                pending.append(child)
    if not gaps:
        return source[start : min(stop, start + 2 * SIGNATURE_LIMIT)]
    pieces = []
    at = start
    for first, last in sorted(gaps):
        pieces.append(source[at : max(at, first)])
        at = max(at, last)
    pieces.append(source[at:stop])
    return b" ".join(pieces)[: 2 * SIGNATURE_LIMIT]


def leading_documentation(comments: list[Node]) -> str:
    texts = [text for text in (comment_text(text_of(node)) for node in comments[-200:]) if text]
    doc = "\n".join(texts)
    if "<summary>" in doc:  # C#'s documentation is XML
        doc = "\n".join(line for line in _XML_TAG.sub("", doc).split("\n") if line.strip())
    return doc[:DOCSTRING_LIMIT]
