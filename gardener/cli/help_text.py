"""Help as it is written in the commands' modules, made to fit a narrow terminal."""

from __future__ import annotations

import re
import textwrap

_LAYOUT = re.compile(r"( +)(\S.*?)(?: {2,}(\S.*))?$")
"""A line that stands for itself: a command, and perhaps what it does behind two spaces."""
_FURTHER = 6
"""Columns before what a line of layout goes on with below itself."""


def fitted(text: str, width: int) -> str:
    """`text` with what is wider than `width` columns wrapped: prose as a paragraph, an example with what it does below
    itself. What fits stays as it was written."""
    return "\n\n".join(_paragraph(part, width) for part in text.split("\n\n"))


def _paragraph(text: str, width: int) -> str:
    lines = text.splitlines()
    if all(len(line) <= width for line in lines):
        return text
    made: list[str] = []
    prose: list[str] = []
    for line in [*lines, ""]:
        if line and not line.startswith(" ") and (prose or len(line) > width or not line.endswith(":")):
            prose.append(line)
            continue
        if prose:
            made += textwrap.wrap(" ".join(prose), width, break_long_words=False, break_on_hyphens=False)
            prose = []
        if line:
            made += _layout(line, width)
    return "\n".join(made) + ("\n" if text.endswith("\n") else "")


def _layout(line: str, width: int) -> list[str]:
    found = _LAYOUT.match(line)
    if len(line) <= width or found is None:
        return [line]
    before, command, does = found.groups()
    column = found.start(3) if does else 0
    if does and column + 20 <= width:  # there is room beside it
        rows = _wrapped(does, " " * column, width)
        return [line[:column] + rows[0].lstrip(), *rows[1:]]
    return [before + command] + (_wrapped(does, " " * _FURTHER, width) if does else [])


def _wrapped(text: str, before: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=before, subsequent_indent=before, break_long_words=False, break_on_hyphens=False
    )
