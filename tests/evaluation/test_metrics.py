from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.evaluation.metrics import METRICS, Scores, difference, intervals, score
from gardener.evaluation.questions import Question, Relevant
from tests.evaluation.test_questions import hit


def asked(*paths: str) -> Question:
    return Question("1", "q", tuple(Relevant(path) for path in paths))


def test_one_place_found_third() -> None:
    scores = score(asked("c"), [hit("a"), hit("b"), hit("c")])
    assert scores == Scores(mrr=1 / 3, recall_1=0, recall_5=1, recall_10=1, ndcg=1 / math.log2(4))


def test_a_place_shown_twice_counts_once() -> None:
    scores = score(asked("a", "b"), [hit("a"), hit("a"), hit("b")])
    ideal = 1 + 1 / math.log2(3)
    assert scores.recall_10 == 1
    assert scores.ndcg == pytest.approx((1 + 1 / math.log2(4)) / ideal)


def test_one_hit_cannot_answer_two_places_at_once() -> None:
    question = Question("1", "q", (Relevant("a", "", 1, 3), Relevant("a", "", 4, 6)))
    assert score(question, [hit("a", start=1, end=6)]).recall_10 == 0.5


def test_nothing_found_and_what_comes_after_the_tenth() -> None:
    late = [hit("x")] * 10 + [hit("a")]
    for scores in (score(asked("a"), []), score(asked("a"), late)):
        assert all(getattr(scores, name) == 0 for name in METRICS)


@given(st.lists(st.sampled_from("abcdef"), max_size=14), st.sets(st.sampled_from("abcdef"), min_size=1))
def test_scores_lie_between_0_and_1_and_a_perfect_list_is_1(found: list[str], wanted: set[str]) -> None:
    question = asked(*sorted(wanted))
    scores = score(question, [hit(path) for path in found])
    assert all(0 <= getattr(scores, name) <= 1 for name in METRICS)
    perfect = score(question, [hit(path) for path in sorted(wanted)])
    assert perfect.ndcg == pytest.approx(1)
    assert perfect.mrr == perfect.recall_10 == 1


def test_intervals_hold_the_mean_and_are_the_same_again() -> None:
    scores = [Scores(mrr=i / 40, recall_1=0, recall_5=1, recall_10=1, ndcg=0.5) for i in range(40)]
    table = intervals(scores)
    assert table["mrr"].low < table["mrr"].mean < table["mrr"].high
    assert table["recall_5"] == (1, 1, 1)
    assert table == intervals(scores)
    with pytest.raises(ValueError, match="no scores"):
        intervals([])


def test_a_difference_is_shown_only_when_it_is_there() -> None:
    before = [0.0, 1.0, 0.5, 0.25] * 10
    assert difference(before, before) == (0, 0, 0)
    assert difference(before, [value + 0.1 for value in before]).low > 0
    noisy = difference(before, before[1:] + before[:1])
    assert noisy.low < 0 < noisy.high
