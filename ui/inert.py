"""Makes an answer's Markdown safe to render: no image, no HTML, no link that the reader did not mean to
follow.

The page's sanitiser and Content-Security-Policy stop what acts; this stops what would look like ours or ask
for a fetch in the first place. Code, fenced or in backticks, is left as it is: Markdown shows it literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from itertools import pairwise

_FENCE = re.compile(r"^[ ]{0,3}(?:(?:[-*+>]|\d{1,9}[.)])[ ]+)*(`{3,}|~{3,})")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:[^\n]*?)(?<!`)\1(?!`)")
_TAG = re.compile(r"(\\*)<")
_MARKER = re.compile(r"(?<![\\!])\[(\d{1,4})\](?![(:])")


def inert(markdown: str, link: Callable[[int], str] | None = None, numbers: Collection[int] = ()) -> str:
    """`markdown` with raw HTML shown as text and images as their address; [n] becomes `link(n)` for
    `numbers`.
    """
    lines: list[str] = []
    fence = ""
    for line in markdown.split("\n"):
        opening = _FENCE.match(line)
        if fence:
            lines.append(line)
            if opening and opening.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if opening:
            fence = opening.group(1)
            lines.append(line)
            continue
        lines.append(_prose(line, link, numbers))
    return "\n".join(lines)


def _prose(line: str, link: Callable[[int], str] | None, numbers: Collection[int]) -> str:
    spans = [(match.start(), match.end()) for match in _SPAN.finditer(line)]
    edges = [0, *(edge for span in spans for edge in span), len(line)]
    pieces = [
        line[start:end] if (start, end) in spans else _quiet(line[start:end], link, numbers)
        for start, end in pairwise(edges)
    ]
    return "".join(pieces)


def _quiet(text: str, link: Callable[[int], str] | None, numbers: Collection[int]) -> str:
    # A "<" behind a backslash is literal already, and "\\&lt;" would show the entity's name.
    text = _TAG.sub(lambda m: m.group() if len(m.group(1)) % 2 else m.group(1) + "&lt;", text)
    text = text.replace("![", "!\\[")
    if link is None:
        return text
    return _MARKER.sub(lambda m: link(int(m.group(1))) if int(m.group(1)) in numbers else m.group(), text)
