"""Makes an answer's Markdown safe to render: no image, no HTML, no link that the reader did not mean to
follow.

The page's sanitiser and Content-Security-Policy stop what acts; this stops what would look like ours or ask
for a fetch in the first place. Code, fenced or in backticks, is shown literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from string import punctuation

from gardener.models.inert import visible

_FENCE = re.compile(r"^((?:[ \t]*(?:[-*+>]|\d{1,9}[.)]))*[ \t]*)(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$")
_QUOTED = re.compile(r"^[ \t]{0,3}>[ ]?")
_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+#_-]{0,20}")
_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)([^\n]*?)(?<!`)\1(?!`)")
_TAG = re.compile(r"(\\*)<")
_MARKER = re.compile(r"(?<![\\!])\[(\d{1,4})\](?![(:])")
_ENTITIES = {ord(character): f"&#{ord(character)};" for character in punctuation}
_TURNING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)}
_TURNING |= {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}


def inert(markdown: str, link: Callable[[int], str] | None = None, numbers: Collection[int] = ()) -> str:
    """`markdown` with raw HTML shown as text and images as their address; [n] becomes `link(n)` for
    `numbers`. It ends outside code.

    Which part is code is decided here and written so that no renderer can see it otherwise: spans as HTML, blocks in
    fences at the margin, longer than whatever stands in them. Renderers differ about the rest: where a list ends, what
    a backtick in an address belongs to.
    """
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    shown: list[str] = []
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if opening is None:
            shown.append(_prose(lines[at].translate(_TURNING), link, numbers))
            at += 1
            continue
        end = _end_of_code(lines, at + 1, opening.group(2))
        shown += _code(lines[at + 1 : end], opening.group(1), opening.group(3))
        at = end + 1
    return "\n".join(shown)


def _end_of_code(lines: Sequence[str], at: int, fence: str) -> int:
    """The line that closes `fence`, however far it is indented; the end of the text without one."""
    for number in range(at, len(lines)):
        line = lines[number].lstrip(" \t>")
        if line.startswith(fence) and not line.strip().strip(fence[0]):
            return number
    return len(lines)


def _code(lines: Sequence[str], prefix: str, info: str) -> list[str]:
    """A block at the margin of what stood behind `prefix`: blanks, list markers, marks of quotation."""
    quoted, width = ">" in prefix, len(prefix)
    body = []
    for line in lines:
        rest = _QUOTED.sub("", line) if quoted else line
        indent = len(rest) - len(rest.lstrip(" "))
        body.append(visible(rest[min(indent, 0 if quoted else width) :]))
    longest = max((len(run) for line in body for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    language = _LANGUAGE.match(info)
    return [fence + (language.group() if language else ""), *body, fence]


def _prose(line: str, link: Callable[[int], str] | None, numbers: Collection[int]) -> str:
    spans = {match.start(): match for match in _SPAN.finditer(line)}
    edges = [0, *(edge for match in spans.values() for edge in match.span()), len(line)]
    pieces = []
    for start, end in pairwise(edges):
        span = spans.get(start) if end > start else None
        if span is not None and span.end() == end:
            content = span.group(2)
            if content.startswith(" ") and content.endswith(" ") and content.strip():
                content = content[1:-1]
            pieces.append(f"<code>{content.translate(_ENTITIES)}</code>")
        else:
            pieces.append(_quiet(line[start:end], link, numbers))
    return "".join(pieces)


def _quiet(text: str, link: Callable[[int], str] | None, numbers: Collection[int]) -> str:
    # Its backslash goes with an escaped "<": an address would take it and leave the bracket.
    text = _TAG.sub(lambda m: m.group(1)[: len(m.group(1)) // 2 * 2] + "&lt;", text)
    text = text.replace("![", "!\\[").replace("]:", "]\\:").replace("~~~", "\\~\\~\\~")
    text = re.sub(r"\\?`", "&#96;", text)
    if link is None:
        return text
    return _MARKER.sub(lambda m: link(int(m.group(1))) if int(m.group(1)) in numbers else m.group(), text)
