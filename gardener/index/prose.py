"""Sections of prose (Markdown, reStructuredText, AsciiDoc, LaTeX, HTML): from each heading to the next.

One pass over the lines, so the cost is linear whatever the file holds. Rows are 0-based and inclusive.
"""

from __future__ import annotations

import re
from typing import Final

from gardener.index.declared import Item, fold

HEADING_LIMIT: Final = 120
_SCANNED: Final = 2000
"""Characters of a line that are looked at: a longer line is no heading."""

_BLOCK_LEVEL: Final = 7
"""Below every heading: blocks that have an id and no title."""
_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t\r]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*\r?$")
_NO_PARAGRAPH = re.compile(r"\s*(?:$|[-*+>|#]|\d+[.)]\s|</?\w|\[[^\]]*\]:| {4})")
_HTML_HEADING = re.compile(r"<h([1-6])\b[^>]*>(.*)", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\]\n]{0,300}\]\([^)\n]{0,600}\)")
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\](?:\([^)\n]{0,600}\)|\[[^\]\n]{0,300}\])")
_TRANSLATED = re.compile(r"\{%\s*trans(?:late)?\s+[\"']([^\"'\n]{0,200})[\"'][^%\n]{0,100}%\}")
_TEMPLATE = re.compile(r"\{%[^%\n]{0,200}%\}|\{\{[^{}\n]{0,200}\}\}")
_TAG = re.compile(r"<[^<>\n]{0,600}>")
_RST_LINE = re.compile(r"([=\-~^\"'`*+#:._<>])\1{2,}[ \t]*\r?$")
_ASCIIDOC = re.compile(r"(={1,6})[ \t]+(\S.*?)[ \t]*\r?$")
_LATEX = re.compile(r"[ \t]*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?:\[[^\]]*\])?\{(.*)")
_LATEX_LEVELS: Final = {
    "part": 1,
    "chapter": 2,
    "section": 3,
    "subsection": 4,
    "subsubsection": 5,
    "paragraph": 6,
}
_HTML_MARK = re.compile(
    r"<!--|<(script|style|pre|textarea|svg)\b|<h([1-6])\b[^>]*>|\{%-?\s*block\s+([\w-]+)|"
    r"<(?:section|article|main|div|form|table|nav|template|dialog|header|footer|aside|details|fieldset)\b"
    r"[^<>]*?\bid\s*=\s*[\"']?([\w:.-]+)",
    re.IGNORECASE,
)
_COMPONENT_BLOCK = re.compile(r"<(script|template|style)\b", re.IGNORECASE)

Heading = tuple[int, int, str, str]
"""First row, level (1 is outermost), title, the heading as written."""


def prose_outline(language: str, lines: list[str]) -> list[Item] | None:
    """The sections of a file of `language` in order, or None when the language has no headings."""
    if language == "markdown":
        return _sections(_markdown_headings(lines), lines)
    if language == "rst":
        return _sections(_rst_headings(lines), lines)
    if language == "asciidoc":
        return _sections(_asciidoc_headings(lines), lines)
    if language == "latex":
        return _sections(_latex_headings(lines), lines)
    if language == "html":
        return _sections(_html_headings(lines), lines)
    if language in ("vue", "svelte", "astro"):
        return _component_blocks(lines)
    return None


def _title(text: str) -> str:
    """A heading's text without links, images, tags and emphasis."""
    plain = _TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub("", text[:_SCANNED])))
    if "{" in plain:
        plain = _TEMPLATE.sub("", _TRANSLATED.sub(r"\1", plain))
    plain = plain.replace("**", "").replace("`", "").replace("\\_", "_")
    at = plain.find("{#")
    return fold(plain[:at] if at > 0 else plain, HEADING_LIMIT)


def _sections(headings: list[Heading], lines: list[str]) -> list[Item]:
    """Each heading's item ends before the next one. A heading with nothing below it goes with the next
    section.
    """
    items: list[Item] = []
    path: list[tuple[int, str]] = []
    carried = -1
    for index, (row, level, title, written) in enumerate(headings):
        while path and path[-1][0] >= level:
            path.pop()
        last = headings[index + 1][0] - 1 if index + 1 < len(headings) else len(lines) - 1
        item = Item(carried if carried >= 0 else row, row, last, "section", title)
        item.owner = tuple(name for _, name in path if name)
        item.signature = fold(written, 200)
        path.append((level, title))
        following = headings[index + 1] if index + 1 < len(headings) else None
        body = row + 1 if written.lstrip()[:1] in "#<=\\{" else row + 2
        empty = not any(line.strip() for line in lines[body : last + 1]) if last - row < 8 else False
        if empty and following is not None and (following[1] > level or level == _BLOCK_LEVEL):
            carried = item.start
            continue
        carried = -1
        items.append(item)
    return items


def _markdown_headings(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    fence = ""
    row = 0
    if lines and lines[0].rstrip() == "---":  # front matter
        for end in range(1, min(len(lines), 200)):
            if lines[end].rstrip() in ("---", "..."):
                row = end + 1
                break
    for at in range(row, len(lines)):
        line = lines[at][:_SCANNED]
        opening = _FENCE.match(line)
        if opening is not None:
            mark = opening[1]
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence) and line.strip() == mark:
                fence = ""
            continue
        if fence:
            continue
        atx = _ATX.match(line) if "#" in line[:10] else None
        if atx is not None:
            title = line[atx.end() :].strip()
            unclosed = title.rstrip("#")
            if unclosed != title and unclosed[-1:] in ("", " ", "\t"):
                title = unclosed
            found.append((at, len(atx[1]), _title(title), line))
            continue
        if at > row and line[:1] in "=- " and _SETEXT.match(line):
            above = lines[at - 1][:_SCANNED]
            if not _NO_PARAGRAPH.match(above) and not (found and found[-1][0] == at - 1):
                found.append((at - 1, 1 if "=" in line else 2, _title(above), above))
            continue
        if "<h" in line or "<H" in line:
            tag = _HTML_HEADING.search(line)
            if tag is not None:
                found.append((at, int(tag[1]), _title(tag[2]), line))
    return found


def _rst_headings(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    levels: dict[tuple[str, bool], int] = {}
    taken = -1
    for at in range(1, len(lines)):
        under = lines[at][:_SCANNED]
        if not under or not _RST_LINE.match(under):
            continue
        title = lines[at - 1][:_SCANNED].rstrip()
        if not title or at - 1 <= taken or len(under.rstrip()) < len(title.strip()):
            continue
        if title[0] in " \t" and not (at >= 2 and lines[at - 2][:3] == under[:3]):
            continue
        if _RST_LINE.match(title) or title.startswith((".. ", "| ", "+-")):
            continue
        over = at >= 2 and lines[at - 2][:_SCANNED].rstrip() == under.rstrip() and at - 2 > taken
        if not over and at >= 2 and lines[at - 2].strip():
            continue  # the last line of a paragraph or a table
        level = levels.setdefault((under[0], over), len(levels) + 1)
        found.append((at - 2 if over else at - 1, level, fold(title.replace("``", ""), HEADING_LIMIT), title.strip()))
        taken = at
    return found


def _asciidoc_headings(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    fenced = False
    for at, full in enumerate(lines):
        line = full[:_SCANNED]
        if line.startswith(("----", "....")):
            fenced = not fenced
        match = None if fenced else _ASCIIDOC.match(line)
        if match is not None:
            found.append((at, len(match[1]), _title(match[2]), line))
    return found


def _latex_headings(lines: list[str]) -> list[Heading]:
    found: list[Heading] = []
    for at, full in enumerate(lines):
        match = _LATEX.match(full[:_SCANNED]) if "\\" in full[:200] else None
        if match is not None:
            found.append((at, _LATEX_LEVELS[match[1]], fold(match[2].rstrip("}\r "), HEADING_LIMIT), full.strip()))
    return found


def _html_headings(lines: list[str]) -> list[Heading]:
    """Headings, template blocks and block elements with an id; what scripts, styles and comments hold is
    passed over.
    """
    found: list[Heading] = []
    until = ""
    for at, full in enumerate(lines):
        line = full[:_SCANNED]
        position = 0
        while position < len(line):
            if until:
                end = line.lower().find(until, position)
                if end < 0:
                    break
                position = end + len(until)
                until = ""
            mark = _HTML_MARK.search(line, position)
            if mark is None:
                break
            position = mark.end()
            if mark[1]:
                until = f"</{mark[1].lower()}"
            elif mark[2]:
                if not (found and found[-1][0] == at):
                    found.append((at, int(mark[2]), _heading_text(lines, at, position), line.strip()))
            elif mark[3] or mark[4]:
                if not (found and found[-1][0] == at):
                    found.append((at, _BLOCK_LEVEL, f"block {mark[3]}" if mark[3] else f"#{mark[4]}", line.strip()))
            else:
                until = "-->"
    return found


def _heading_text(lines: list[str], row: int, position: int) -> str:
    text = lines[row][position:_SCANNED]
    for further in lines[row + 1 : row + 4]:
        if "</h" in text.lower():
            break
        text += " " + further[:_SCANNED]
    end = text.lower().find("</h")
    return _title(text[:end] if end >= 0 else text)


def _component_blocks(lines: list[str]) -> list[Item]:
    """The top-level blocks of a single-file component."""
    starts = [
        (row, match[1].lower()) for row, line in enumerate(lines) if (match := _COMPONENT_BLOCK.match(line[:_SCANNED]))
    ]
    items = []
    for index, (row, name) in enumerate(starts):
        last = starts[index + 1][0] - 1 if index + 1 < len(starts) else len(lines) - 1
        item = Item(row, row, last, "section", name)
        item.signature = fold(lines[row][:_SCANNED], 200)
        items.append(item)
    return items
