"""Continues an answer that broke off: the model gets the conversation, what it had said, and goes on from there."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gardener.chat.answer import CITES_NOTHING, Answerer
from gardener.chat.citations import UNKNOWN, renumber_markers, verify_again
from gardener.chat.generation import Generation
from gardener.chat.prompt import MESSAGE_OVERHEAD
from gardener.chat.seam import Seam, numbering
from gardener.errors import BackendUnavailable
from gardener.types import Answer, AnswerEvent, Citation, Message, ProjectContext, Retrieved, TextDelta

GO_ON = (
    "Your answer was cut off. Go on exactly where it stops, in the middle of a word or of a code block if need be. "
    "Repeat nothing of it, do not greet, and say nothing about the interruption."
)
_MOST_OF_BUDGET = 0.5
"""What the model sees of the first half is at most this share of the prompt; of a longer one it sees the end."""


@dataclass(frozen=True, slots=True)
class Partial:
    """An answer as far as it got."""

    text: str
    citations: tuple[Citation, ...]


def go_on(
    answerer: Answerer,
    context: ProjectContext,
    question: str,
    history: Sequence[Message],
    partial: Partial,
    *,
    cancel: threading.Event,
    limit: int,
) -> Iterator[AnswerEvent]:
    """Retrieved, then only the new text as it comes, then one Answer with the whole.

    `history` is what came before the question. Only a language model can continue; nothing stands in for one: when it
    fails, the Answer has what there was before and what came, and says why. Raises BackendUnavailable when no model
    can be asked, and what the search raises.
    """
    started = time.perf_counter()
    plan = answerer.plan(context)
    choice = plan.choice
    if not choice.backend.capabilities.generates:
        raise BackendUnavailable(
            f"Only a language model can continue an answer. {choice.reason}".strip(),
            next_step=choice.next_step or "gardener status",
        )
    found = answerer.retrieve(context, question, history, limit)
    timings = {"search": (time.perf_counter() - started) * 1000}

    def count(text: str) -> int:
        return choice.backend.count_tokens(text, choice.model).tokens + MESSAGE_OVERHEAD

    seen = _ending(partial.text, lambda text: count(text) <= plan.budget_tokens * _MOST_OF_BUDGET)
    reserve = count(seen) + count(GO_ON)
    prompt, request = answerer.request(context, plan, found, history, reserve)
    numbers = numbering(partial.citations, prompt.sources)
    theirs = renumber_markers(seen, {kept: n for n, kept in numbers.items()}).text
    theirs = re.sub(rf" ?{re.escape(UNKNOWN)}", "", theirs)
    messages = (*prompt.messages, Message("assistant", theirs), Message("user", GO_ON))
    receipt = replace(
        prompt.receipt,
        prompt_tokens=prompt.receipt.prompt_tokens + reserve,
        budget_tokens=prompt.receipt.budget_tokens + reserve,
    )
    prompt = replace(prompt, receipt=receipt)
    generation = Generation(
        choice.backend.name, choice.model_name, choice.degradation, choice.reason, started,
        warnings=list(found.notes), next_step=choice.next_step,
    )  # fmt: skip
    yield Retrieved(found.hits, receipt, found.index, choice.backend.name, choice.model_name, True)

    seam = Seam(partial.text, numbers)
    # The backend as its own last resort: no other answer is put behind half of this one.
    for event in generation.run(choice, choice.backend, replace(request, messages=messages), cancel):
        if not isinstance(event, TextDelta):
            yield event
        elif shown := seam.add(event.text):
            yield TextDelta(shown)
    if rest := seam.end():
        yield TextDelta(rest)

    timings["total"] = (time.perf_counter() - started) * 1000
    second = answerer.settled(context, found, prompt, generation, timings)
    yield _whole(second, partial, seam, verify_again(partial.citations, answerer.read_lines(context)), numbers)


def _whole(
    second: Answer, partial: Partial, seam: Seam, checked: tuple[Citation, ...], numbers: dict[int, int]
) -> Answer:
    said_before = {citation.n for citation in partial.citations}
    new = (replace(citation, n=numbers[citation.n]) for citation in second.citations)
    citations = (*checked, *(citation for citation in new if citation.n not in said_before))
    warnings = tuple(warning for warning in second.warnings if warning != CITES_NOTHING or not citations)
    return replace(second, text=partial.text + seam.text, citations=citations, warnings=warnings)


def _ending(text: str, fits: Callable[[str], bool]) -> str:
    """As much of the end of `text` as fits, from the beginning of a line on where there is one."""
    while text and not fits(text):
        half = text[len(text) // 4 + 1 :]
        text = half.split("\n", 1)[1] if "\n" in half[:-1] else half
    return text
