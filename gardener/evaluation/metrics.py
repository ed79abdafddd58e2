"""Retrieval metrics with bootstrap intervals.

Relevance is binary. MRR: https://en.wikipedia.org/wiki/Mean_reciprocal_rank; NDCG with gain 1 and a logarithmic
discount: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002. Intervals: percentile
bootstrap over the questions (Efron and Tibshirani, 1993); comparisons: the same over paired differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gardener.evaluation.questions import Question
    from gardener.types import SearchHit

DEPTH = 10
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one question, or means of many; each from 0 to 1."""

    mrr: float
    """Reciprocal rank of the first relevant hit among ten; 0 when there is none."""
    recall_1: float
    recall_5: float
    recall_10: float
    """Share of the relevant places among the first so many hits."""
    ndcg: float
    """Of the first ten."""


METRICS = tuple(field.name for field in fields(Scores))


class Interval(NamedTuple):
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def score(question: Question, hits: Sequence[SearchHit]) -> Scores:
    """The scores of one question's hits, best first. A place that several hits show counts once, at the first."""
    found: dict[int, int] = {}
    """Index of the relevant place to the 1-based rank where it was first shown."""
    for rank, hit in enumerate(hits[:DEPTH], 1):
        for number, place in enumerate(question.relevant):
            if number not in found and place.answered_by(hit):
                found[number] = rank
                break  # one hit is one result, though it may show two places
    wanted = len(question.relevant)
    ranks = sorted(found.values())
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(wanted, DEPTH) + 1))
    return Scores(
        mrr=1 / ranks[0] if ranks else 0.0,
        recall_1=sum(rank <= 1 for rank in ranks) / wanted,
        recall_5=sum(rank <= 5 for rank in ranks) / wanted,
        recall_10=len(ranks) / wanted,
        ndcg=sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
    )


def intervals(scores: Sequence[Scores]) -> dict[str, Interval]:
    """Mean and interval of each metric. Raises ValueError without scores."""
    import numpy as np

    if not scores:
        raise ValueError("there are no scores")
    table = np.array([[getattr(one, name) for name in METRICS] for one in scores])
    means = _resampled_means(table)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return {name: Interval(float(table[:, i].mean()), float(low[i]), float(high[i])) for i, name in enumerate(METRICS)}


def difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Mean of after - before over the same questions in the same order, with its interval."""
    import numpy as np

    change = np.array(after)[:, None] - np.array(before)[:, None]
    means = _resampled_means(change)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(change.mean()), float(low), float(high))


def _resampled_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of rows drawn with replacement, shape (RESAMPLES, columns); the same for the same table."""
    import numpy as np

    draw = np.random.default_rng(20_260_101)
    rows = len(table)
    return np.stack([table[draw.integers(0, rows, rows)].mean(axis=0) for _ in range(RESAMPLES)])
