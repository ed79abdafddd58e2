"""What every stream of a model's text needs: thinking told from answering, and stop strings that never show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gardener.types import TextDelta, ThinkingDelta

THINK = (("<think>", "</think>"), ("<thinking>", "</thinking>"))


_MOST_BLANK = 4_096
"""Characters of blanks that an answer may begin with before they count as its text."""


class TextStream:
    """Takes pieces of text as they come and gives events; holds back what may be the beginning of a mark.

    `stop`: strings that end the text and are no part of it. `marks`: pairs around what the model thinks; (): none is
    looked for. `thinking`: the text begins inside of such a pair, because the prompt has opened it.
    """

    def __init__(
        self, stop: Sequence[str] = (), marks: Sequence[tuple[str, str]] = (), *, thinking: bool = False
    ) -> None:
        self._stop = tuple(mark for mark in stop if mark)
        self._marks = tuple(marks)
        self._closing = marks[0][1] if thinking and marks else ""
        self._held = ""
        self._thought = False
        """A pair has closed: the empty lines after it are no part of the answer, whenever they come."""
        self._said = False
        """Something of the answer itself has been given; a pair may open before that only."""
        self.stopped = False
        """A stop string came: nothing more is given."""

    def add(self, piece: str) -> Iterator[TextDelta | ThinkingDelta]:
        self._held += piece
        yield from self._flow(end=False)

    def end(self) -> Iterator[TextDelta | ThinkingDelta]:
        """What was held back, when nothing more comes."""
        yield from self._flow(end=True)

    def _flow(self, *, end: bool) -> Iterator[TextDelta | ThinkingDelta]:
        while self._held and not self.stopped:
            if self._closing:
                at = self._held.find(self._closing)
                if at >= 0:
                    if self._held[:at]:
                        yield ThinkingDelta(self._held[:at])
                    self._held = self._held[at + len(self._closing) :]
                    self._closing, self._thought = "", True
                    continue
                ready = len(self._held) if end else _safe(self._held, (self._closing,))
                if ready:
                    yield ThinkingDelta(self._held[:ready])
                    self._held = self._held[ready:]
                return
            if self._thought and not self._said:
                self._held = self._held.lstrip("\n")
            if not self._said and self._marks:
                start = self._held.lstrip()
                opened = next((pair for pair in self._marks if start.startswith(pair[0])), None)
                if opened:
                    self._held, self._closing = start[len(opened[0]) :].lstrip("\n"), opened[1]
                    continue
                blank = not start and len(self._held) < _MOST_BLANK
                if not end and (blank or (start and any(pair[0].startswith(start) for pair in self._marks))):
                    return
            cut = min((at for at in (self._held.find(mark) for mark in self._stop) if at >= 0), default=-1)
            if cut >= 0:
                text, self._held, self.stopped = self._held[:cut], "", True
            else:
                ready = len(self._held) if end else _safe(self._held, self._stop)
                text, self._held = self._held[:ready], self._held[ready:]
            if text:
                self._said = True
                yield TextDelta(text)
            return


def _safe(text: str, marks: Sequence[str]) -> int:
    """How much of the text cannot be the beginning of a mark."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        if any(mark.startswith(text[start:]) for mark in marks):
            return start
    return len(text)
