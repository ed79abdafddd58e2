"""An answer that a model once gave to the same question, for when no model can answer now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gardener.chat.citations import ReadLines, verify_again
from gardener.models.inert import prose
from gardener.types import Citation, ProjectContext


@dataclass(frozen=True, slots=True)
class RememberedAnswer:
    """A complete answer of a model to the first question of a conversation, as it was stored."""

    text: str
    """Its markers have the numbers of `citations`."""
    citations: tuple[Citation, ...]
    backend: str
    model: str
    answered_at: float
    """Unix seconds."""

    def introduction(self, why: str) -> str:
        """What is said before it; `why` tells what keeps models from answering now."""
        day = time.strftime("%d %B %Y", time.localtime(self.answered_at))
        who = prose(f"{self.backend} {self.model}".strip(), 120)
        return (
            f"*No model can answer now ({prose(why, 300)}). This is what {who} answered to the same question on {day}; "
            "everything that it cites is still as it was.*\n\n"
        )


Remember = Callable[[ProjectContext, str], Iterator[RememberedAnswer]]
"""Answers of this project to exactly this question, the newest first."""

MOST_TRIED = 5


def recall(remember: Remember, context: ProjectContext, question: str, read: ReadLines) -> RememberedAnswer | None:
    """The newest answer that cites something, and nothing that has changed since; None when there is none."""
    for _, answer in zip(range(MOST_TRIED), remember(context, question), strict=False):
        citations = verify_again(answer.citations, read)
        if citations and all(citation.state == "current" for citation in citations):
            return replace(answer, citations=citations)
    return None
