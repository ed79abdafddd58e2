"""Asks every question and scores what is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gardener.errors import Interrupted
from gardener.evaluation.metrics import DEPTH, METRICS, Interval, Scores, intervals, score
from gardener.evaluation.questions import Question, fingerprint

if TYPE_CHECKING:
    import threading

    from gardener.types import SearchHit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was asked of one project, and how well each question was answered."""

    questions: tuple[Question, ...]
    scores: tuple[Scores, ...]
    """One per question, in their order."""
    part: str
    setup: Mapping[str, str]
    """What the scores depend on: embedder, ranking, index format, version; "vectors" is "" without them."""
    at: float
    """Seconds since 1970."""
    seconds: float
    notes: tuple[str, ...] = ()
    tables: Mapping[str, Mapping[str, Interval]] = field(init=False)
    """Metric intervals by kind of question, "all" last."""

    def __post_init__(self) -> None:
        tables: dict[str, Mapping[str, Interval]] = {}
        kinds = list(dict.fromkeys(question.kind for question in self.questions))
        for kind in kinds:
            tables[kind] = intervals(
                [one for question, one in zip(self.questions, self.scores, strict=True) if question.kind == kind]
            )
        if len(kinds) > 1:
            tables["all"] = intervals(self.scores)
        object.__setattr__(self, "tables", tables)

    def count(self, kind: str) -> int:
        return len(self.questions) if kind == "all" else sum(question.kind == kind for question in self.questions)

    def as_json(self) -> dict[str, object]:
        return {
            "at": self.at,
            "part": self.part,
            "questions": len(self.questions),
            "questions_fingerprint": fingerprint(self.questions),
            "setup": dict(self.setup),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "kinds": {
                kind: {
                    "questions": self.count(kind),
                    **{name: [round(value, 4) for value in table[name]] for name in METRICS},
                }
                for kind, table in self.tables.items()
            },
        }


def evaluate(
    batches: Sequence[tuple[Sequence[Question], Callable[[str, int], Sequence[SearchHit]]]],
    *,
    part: str,
    setup: Mapping[str, str],
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Scores questions, each batch with the search that is to answer it: `search(query, limit)` gives hits best first.

    Raises Interrupted when `cancel` is set.
    """
    begun = time.monotonic()
    total = sum(len(questions) for questions, _ in batches)
    asked: list[Question] = []
    scores: list[Scores] = []
    for questions, search in batches:
        for question in questions:
            if cancel is not None and cancel.is_set():
                raise Interrupted("The evaluation was interrupted; nothing was recorded.", next_step="gardener eval")
            progress(len(scores), total)
            asked.append(question)
            scores.append(score(question, search(question.query, DEPTH)))
    return Evaluation(
        tuple(asked), tuple(scores), part, setup, time.time(), time.monotonic() - begun, tuple(dict.fromkeys(notes))
    )
