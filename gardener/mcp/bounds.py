"""Keeps repository text bounded and inert on its way to a client."""

from __future__ import annotations

from gardener.models.inert import visible

HIT_CHARACTERS = 6_000
"""Most text of one search hit; chunks are nearly always shorter."""
LABEL_CHARACTERS = 500
"""Most characters of a name, a signature or a note."""


def shown(text: str) -> str:
    """`text` with control, bidirectional and invisible characters as escapes; tabs and line breaks stay."""
    return visible(text.replace("\r\n", "\n"))


def label(text: str) -> str:
    """A name or a signature: shown, and bounded."""
    text = shown(text)
    return text if len(text) <= LABEL_CHARACTERS else text[: LABEL_CHARACTERS - 1] + "…"


class Budget:
    """The characters of repository text that one result may still hold."""

    def __init__(self, characters: int) -> None:
        self.left = characters
        self.cut = False
        """Whether anything had to be cut."""

    def take(self, text: str, most: int | None = None) -> tuple[str, bool]:
        """The beginning of `text` that fits, cut after a whole line where there is one, and whether it was cut."""
        text = shown(text)
        room = max(0, min(self.left, most if most is not None else self.left))
        if len(text) <= room:
            self.left -= len(text)
            return text, False
        self.cut = True
        end = text.rfind("\n", 0, room)
        kept = text[: end if end > 0 else room]
        self.left -= len(kept)
        return kept, True

    def take_lines(self, lines: list[str]) -> list[str]:
        """As many of the lines as fit; of a first line that does not fit, its beginning."""
        kept: list[str] = []
        for line in lines:
            line = shown(line.rstrip("\r")).replace("\n", "\\n")
            if len(line) + 1 > self.left:
                self.cut = True
                if not kept:
                    kept.append(line[: self.left])
                break
            self.left -= len(line) + 1
            kept.append(line)
        return kept
