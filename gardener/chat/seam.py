"""Joins the second half of an answer to the first: nothing said twice, markers with one numbering, fences whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gardener.chat.citations import renumber_markers
from gardener.chat.generation import closing_fence
from gardener.types import Citation, SearchHit

LONGEST_OVERLAP = 400
"""Characters at the end of the first half that the second is compared with, and that are held back until then."""
_SURE_OVERLAP = 16
"""An overlap this long is no coincidence; a shorter one must be a whole line, or a word that is now completed."""
_FENCE_LINE = re.compile(r"\s*(?:`{3,}|~{3,})[^\n`]*\n")


def numbering(kept: Sequence[Citation], sources: Sequence[SearchHit]) -> dict[int, int]:
    """What marker n of the second half (sources[n - 1]) is called in the whole: the number that the first half gave
    to the same lines, else its own, else one that is free."""
    places = {(citation.path, citation.start_line, citation.end_line): citation.n for citation in kept}
    taken = {citation.n for citation in kept}
    free = max([len(sources), *taken]) + 1
    numbers: dict[int, int] = {}
    for n, source in enumerate(sources, 1):
        known = places.get((source.path, source.start_line, source.end_line))
        if known is None and n in taken:
            known, free = free, free + 1
        numbers[n] = n if known is None else known
    return numbers


def overlap(first: str, second: str) -> int:
    """How many characters at the beginning of `second` only repeat the end of `first`."""
    for length in range(min(len(first), len(second), LONGEST_OVERLAP), 0, -1):
        if not first.endswith(second[:length]):
            continue
        before, after = first[-length - 1 : -length], second[length : length + 1]
        begins_line = before in ("", "\n")
        begins_word = not (before.isalnum() or before == "_")
        repeated = second[:length]
        if length >= _SURE_OVERLAP or (begins_line and len(repeated.strip()) >= 3):
            return length
        completed = repeated.isidentifier() and (after.isalnum() or after == "_")
        if begins_word and length >= 3 and completed:
            return length
    return 0


class Seam:
    """Takes the second half piece by piece and gives what can be shown of it, line by line."""

    def __init__(self, first: str, numbers: Mapping[int, int]) -> None:
        self._first = first
        self._numbers = numbers
        self._fence = closing_fence(first).strip()
        """What closes the fence that is open where the next line begins; "" outside of code."""
        self._pending = ""
        self._joined = False
        self._at_line_start = first.endswith("\n") or not first
        self._shown: list[str] = []

    @property
    def text(self) -> str:
        """Everything that was shown."""
        return "".join(self._shown)

    def add(self, piece: str) -> str:
        self._pending += piece
        if not self._joined:
            if len(self._pending) < LONGEST_OVERLAP:
                return ""
            self._join()
        end = self._pending.rfind("\n") + 1
        ready, self._pending = self._pending[:end], self._pending[end:]
        return self._show(ready)

    def end(self) -> str:
        if not self._joined:
            self._join()
        ready, self._pending = self._pending, ""
        return self._show(ready)

    def _join(self) -> None:
        self._joined = True
        begins = _FENCE_LINE.match(self._pending)
        if self._fence and begins and len(begins.group()) < len(self._pending):
            # Opened anew what is still open. A bare fence may also be meant to close it: then text follows that was
            # not said before, and the fence stays.
            rest = self._pending[begins.end() :]
            bare = begins.group().strip() == self._fence
            if not bare or overlap(self._first, rest):
                self._pending = rest
        self._pending = self._pending[overlap(self._first, self._pending) :]

    def _show(self, text: str) -> str:
        shown = "".join(self._line(line) for line in text.splitlines(keepends=True))
        self._shown.append(shown)
        return shown

    def _line(self, line: str) -> str:
        if self._fence:
            marks = line.strip()
            if self._at_line_start and marks.startswith(self._fence) and not marks.strip(self._fence[0]):
                self._fence = ""
            self._at_line_start = True
            return line
        if not self._at_line_start:
            # A code span that the first half left open ends in this line.
            last = self._first.rsplit("\n", 1)[-1]
            self._at_line_start = True
            if last.count("`") % 2 and "`" in line:
                at = line.index("`") + 1
                return line[:at] + renumber_markers(line[at:], self._numbers).text
            return renumber_markers(line, self._numbers).text
        self._fence = closing_fence(line).strip()
        return line if self._fence else renumber_markers(line, self._numbers).text
