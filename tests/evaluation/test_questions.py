from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gardener.errors import PathNotFound, UsageError
from gardener.evaluation.questions import (
    ALL_PARTS,
    DEVELOPMENT,
    HELD_OUT,
    Question,
    Relevant,
    fingerprint,
    of_part,
    read_questions,
)
from gardener.types import SearchHit


def hit(path: str = "a.py", symbol: str = "Store.get", start: int = 10, end: int = 20) -> SearchHit:
    return SearchHit(
        project="p", path=path, start_line=start, end_line=end, symbol=symbol, kind="method", language="python",
        signature="", docstring="", text="", score=1.0, sources=("lexical",), file_sha256="", chunk_hash="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "answered"),
    [
        (Relevant("a.py"), True),
        (Relevant("b.py"), False),
        (Relevant("a.py", "Store.get"), True),
        (Relevant("a.py", "get"), True),
        (Relevant("a.py", "Cache.get"), False),
        (Relevant("a.py", "put"), False),
        (Relevant("a.py", "put", 12, 15), True),
        (Relevant("a.py", "", 19, 30), False),
        (Relevant("a.py", "", 15, 25), True),
        (Relevant("a.py", "", 1, 100), True),
    ],
)
def test_what_answers_a_question(place: Relevant, answered: bool) -> None:
    assert place.answered_by(hit()) is answered


def test_a_question_file_with_broken_lines_serves_the_rest_and_names_them(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    good = {"id": "one", "query": "where", "relevant": [{"path": "./a.py", "symbol": "f"}]}
    lines = [
        json.dumps(good),
        "",
        "{not json",
        json.dumps([1]),
        json.dumps(good | {"query": " "}),
        json.dumps(good | {"relevant": []}),
        json.dumps(good | {"id": "two", "relevant": [{"path": "b.py", "start_line": 5}]}),
        json.dumps(good | {"id": "three", "relevant": [{"symbol": "x"}]}),
        json.dumps(good),
        json.dumps({"query": "without id", "relevant": [{"path": "b.py", "start_line": 5, "end_line": 9}]}),
        "[" * 5000,
    ]
    file.write_text("\n".join(lines))
    questions, broken = read_questions(str(file))
    assert [question.id for question in questions] == ["one", "10"]
    assert questions[0].relevant == (Relevant("a.py", "f"),)
    assert [line.line for line in broken] == [3, 4, 5, 6, 7, 8, 9, 11]
    assert "there already" in broken[-2].problem


def test_a_file_without_any_question_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"query": 1}\n')
    with pytest.raises(UsageError, match="Line 1"):
        read_questions(str(file))
    with pytest.raises(PathNotFound):
        read_questions(str(tmp_path / "none.jsonl"))
    with pytest.raises(PathNotFound):
        read_questions(str(tmp_path))


def test_the_halves_are_disjoint_complete_and_do_not_depend_on_anything_but_the_id() -> None:
    questions = [Question(str(i), "q", (Relevant("a"),)) for i in range(200)]
    development, held_out = of_part(questions, DEVELOPMENT), of_part(questions, HELD_OUT)
    assert len(development) + len(held_out) == 200 == len(of_part(questions, ALL_PARTS))
    assert 70 < len(held_out) < 130
    assert replace(questions[3], query="other").part == questions[3].part
    assert [question.part for question in questions[:4]] == [HELD_OUT, HELD_OUT, DEVELOPMENT, DEVELOPMENT], (
        "the same for ever"
    )


def test_the_fingerprint_follows_content_and_not_order() -> None:
    one, two = Question("1", "a", (Relevant("x"),)), Question("2", "b", (Relevant("y"),))
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([one, two]) != fingerprint([one, replace(two, query="c")])
