"""A project's evaluations over time, and whether the last change made search better or worse.

One JSON object a line in the project's own data folder: evaluations belong to the project and go with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from gardener.evaluation.metrics import Interval, difference
from gardener.paths import open_private

if TYPE_CHECKING:
    from gardener.evaluation.evaluate import Evaluation

FILE = "evaluations.jsonl"
COMPARED = ("mrr", "ndcg")
BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference shown"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An evaluation against an earlier one, over the questions that both asked."""

    before_at: float
    questions: int
    changes: Mapping[str, Interval]
    """Mean difference (after - before) and its interval, by metric of COMPARED."""
    differs: tuple[str, ...]
    """What was set up differently: "embedder", "ranking" and so on."""

    @property
    def verdict(self) -> str:
        """By the interval of MRR@10: better or worse only when it leaves zero out."""
        change = self.changes["mrr"]
        if change.low > 0:
            return BETTER
        return WORSE if change.high < 0 else NO_DIFFERENCE

    def as_json(self) -> dict[str, object]:
        return {
            "before_at": self.before_at,
            "questions": self.questions,
            "differs": list(self.differs),
            "verdict": self.verdict,
            **{name: [round(value, 4) for value in change] for name, change in self.changes.items()},
        }


def _compared(evaluation: Evaluation) -> list[list[float]]:
    """The compared metrics of each question, rounded as they are recorded: nothing may differ by its rounding."""
    return [[round(getattr(one, name), 5) for name in COMPARED] for one in evaluation.scores]


def append(home: str, evaluation: Evaluation, *, kept: bool = True) -> None:
    """Adds an evaluation to the project whose data folder is `home`.

    One that is not `kept` is only shown in the history: what was refused must not be what the next one is held against.
    """
    entry = evaluation.as_json() | {
        "kept": kept,
        "by_question": {
            question.id: scores for question, scores in zip(evaluation.questions, _compared(evaluation), strict=True)
        },
    }
    line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")) + "\n"
    with open(os.path.join(home, FILE), "a+b", opener=open_private) as opened:
        if opened.seek(0, os.SEEK_END) and not _ends_a_line(opened):
            line = "\n" + line  # a crash cut the last one off; it must not take this one with it
        opened.write(line.encode("ascii"))


def _ends_a_line(opened: IO[bytes]) -> bool:
    opened.seek(-1, os.SEEK_END)
    return opened.read(1) == b"\n"


def read(home: str) -> list[dict[str, Any]]:
    """All recorded evaluations, oldest first; a line that was cut off by a crash is left out."""
    try:
        with open(os.path.join(home, FILE), encoding="ascii", errors="replace") as opened:
            lines = opened.read().splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("by_question"), dict):
            entries.append(entry)
    return entries


FEWEST_SHARED = 0.5
"""Share of the questions that an earlier evaluation must have asked too to be compared with."""


def compare(home: str, evaluation: Evaluation) -> Comparison | None:
    """Against the latest evaluation that was kept and asked mostly the same questions; None when there is none."""
    after = {question.id: scores for question, scores in zip(evaluation.questions, _compared(evaluation), strict=True)}
    for entry in reversed(read(home)):
        if not entry.get("kept", True):
            continue
        before: dict[str, list[float]] = entry["by_question"]
        shared = [name for name in after if name in before]
        if len(shared) < FEWEST_SHARED * len(after):
            continue
        changes = {
            metric: difference([before[name][i] for name in shared], [after[name][i] for name in shared])
            for i, metric in enumerate(COMPARED)
        }
        known: dict[str, str] = entry.get("setup", {})
        differs = tuple(name for name, value in evaluation.setup.items() if known.get(name) != value)
        return Comparison(float(entry.get("at", 0)), len(shared), changes, differs)
    return None
