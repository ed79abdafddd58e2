"""An answer whose usage is counted exactly once, however it ends: said to the end, cut off, or left by its reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from gardener.models.base import estimate_tokens
from gardener.types import Answer, AnswerEvent, ProjectContext, Retrieved, TextDelta, ThinkingDelta, Usage
from gardener.usage import Generation

Record = Callable[[Generation], tuple[str, ...]]


def metered_answer(
    context: ProjectContext, events: Iterator[AnswerEvent], record: Record, cancel: threading.Event
) -> Iterator[AnswerEvent]:
    """The same events; what `record` has to say is added to the answer's warnings.

    Nothing is counted before a backend is asked. When nobody waits for the last event, the tokens are estimates.
    """
    begun: Retrieved | None = None
    said: list[str] = []
    started = time.perf_counter()
    first_token_ms: float | None = None
    counted = False
    adapter = context.adapter
    try:
        for event in events:
            if isinstance(event, Retrieved):
                begun = event
            elif isinstance(event, TextDelta | ThinkingDelta):
                said.append(event.text)
                if first_token_ms is None:
                    first_token_ms = _milliseconds(started)
            elif isinstance(event, Answer):
                counted = True
                warnings = record(_of_answer(context, event))
                event = replace(event, warnings=(*event.warnings, *warnings))
            yield event
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()
        if begun is not None and not counted:
            left = cancel.is_set() or _left_by_reader()
            record(
                Generation(
                    project_id=context.id,
                    project_name=context.name,
                    backend=begun.backend,
                    model=begun.model,
                    adapter=adapter if begun.generates else "",
                    generates=begun.generates,
                    usage=Usage(begun.receipt.prompt_tokens, estimate_tokens("".join(said)).tokens),
                    first_token_ms=first_token_ms,
                    total_ms=_milliseconds(started),
                    level="full" if begun.generates else "search only",
                    finish="cancelled" if left else "error",
                    problem="cancelled" if left else "unknown",
                    complete=False,
                    left=left,
                )
            )


def _of_answer(context: ProjectContext, answer: Answer) -> Generation:
    return Generation(
        project_id=context.id,
        project_name=context.name,
        backend=answer.backend,
        model=answer.model,
        adapter=context.adapter if answer.generates else "",
        generates=answer.generates,
        usage=answer.usage,
        first_token_ms=answer.timings_ms.get("first_token"),
        total_ms=answer.timings_ms.get("total", 0.0),
        level=answer.degradation,
        finish=answer.finish,
        problem=answer.problem,
        complete=answer.complete,
    )


def _left_by_reader() -> bool:
    import sys

    return sys.exc_info()[0] is GeneratorExit


def _milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000
