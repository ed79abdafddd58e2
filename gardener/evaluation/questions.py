"""What an evaluation asks, and which places answer it; read from a file of JSON lines or mined from a project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gardener.errors import PathNotFound, UsageError

if TYPE_CHECKING:
    from gardener.types import SearchHit

FROM_FILE, FROM_DOCUMENTATION, FROM_COMMITS = "file", "documentation", "commit"
DEVELOPMENT, HELD_OUT, ALL_PARTS = "development", "held-out", "all"
PARTS = (DEVELOPMENT, HELD_OUT, ALL_PARTS)

FILE_LIMIT = 50_000_000
"""Bytes of a question file; larger ones are refused."""
QUERY_LIMIT = 10_000
"""Characters of one question."""


@dataclass(frozen=True, slots=True)
class Relevant:
    """A place that answers a question: a file, or a symbol or lines (1-based, inclusive) of it."""

    path: str
    symbol: str = ""
    start_line: int = 0
    end_line: int = 0
    """0 and 0: any lines."""

    def answered_by(self, hit: SearchHit) -> bool:
        """Whether a hit shows this place: the file; and where a symbol or lines are given, that symbol or half of the
        lines (half of the hit's, should the place be longer than the hit)."""
        if hit.path != self.path:
            return False
        if not self.symbol and not self.end_line:
            return True
        if self.symbol and _same_symbol(hit.symbol, self.symbol):
            return True
        if not self.end_line:
            return False
        common = min(hit.end_line, self.end_line) - max(hit.start_line, self.start_line) + 1
        shorter = min(hit.end_line - hit.start_line, self.end_line - self.start_line) + 1
        return common * 2 >= shorter


def _same_symbol(found: str, wanted: str) -> bool:
    if found == wanted:
        return True
    return "." not in wanted and found.rsplit(".", 1)[-1] == wanted


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    query: str
    relevant: tuple[Relevant, ...]
    kind: str = FROM_FILE

    @property
    def part(self) -> str:
        """The half it belongs to, by its id: the same on every machine and for ever."""
        return HELD_OUT if hashlib.sha256(self.id.encode("utf-8", "replace")).digest()[0] & 1 else DEVELOPMENT


@dataclass(frozen=True, slots=True)
class BrokenLine:
    line: int
    """1-based."""
    problem: str


def of_part(questions: Iterable[Question], part: str) -> list[Question]:
    return [question for question in questions if part == ALL_PARTS or question.part == part]


def fingerprint(questions: Iterable[Question]) -> str:
    """The same for the same questions with the same answers, whatever their order; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for question in sorted(questions, key=lambda question: question.id):
        digest.update(repr((question.id, question.query, question.relevant)).encode("utf-8", "replace"))
    return digest.hexdigest()[:16]


def read_questions(path: str) -> tuple[list[Question], list[BrokenLine]]:
    """Questions of a file with one JSON object a line, and the lines that are not questions.

    `{"id", "query", "relevant": [{"path", "symbol"?, "start_line"?, "end_line"?}], "kind"?}`. Raises PathNotFound, and
    UsageError for a file that is too large or holds no question at all.
    """
    try:
        with open(path, "rb") as opened:
            data = opened.read(FILE_LIMIT + 1)
    except OSError as error:
        raise PathNotFound(
            f"The questions cannot be read: {path}: {error.strerror or error}", next_step="gardener eval --help"
        ) from error
    if len(data) > FILE_LIMIT:
        raise UsageError(
            f"{path} has more than {FILE_LIMIT // 1_000_000} MB; split it.", next_step="gardener eval PART.jsonl"
        )
    questions: list[Question] = []
    broken: list[BrokenLine] = []
    seen: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            question = _question(json.loads(line), str(number))
            if question.id in seen:
                raise ValueError(f'the id "{question.id}" is there already')
        except (ValueError, RecursionError) as error:
            broken.append(BrokenLine(number, str(error) or type(error).__name__))
            continue
        seen.add(question.id)
        questions.append(question)
    if not questions:
        first = f" Line {broken[0].line}: {broken[0].problem}." if broken else ""
        raise UsageError(
            f"{path} holds no question.{first}",
            next_step='{"id": "1", "query": "where are cookies parsed", "relevant": [{"path": "http/cookies.py"}]}',
        )
    return questions, broken


def _question(value: object, default_id: str) -> Question:
    """Raises ValueError that says what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    query = value.get("query")
    if not isinstance(query, str) or not query.strip():
        raise ValueError('"query" must be a text that is not empty')
    if len(query) > QUERY_LIMIT:
        raise ValueError(f'"query" has {len(query):,} characters; at most {QUERY_LIMIT:,} are accepted')
    relevant = value.get("relevant")
    if not isinstance(relevant, list) or not relevant:
        raise ValueError('"relevant" must be a list of places that is not empty')
    name = value.get("id", default_id)
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError('"id" must be a text or a whole number')
    kind = value.get("kind", FROM_FILE)
    if not isinstance(kind, str) or not kind.strip():
        raise ValueError('"kind" must be a text')
    return Question(str(name), query, tuple(_relevant(place) for place in relevant), kind)


def _relevant(value: object) -> Relevant:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str) or not value["path"]:
        raise ValueError('each place in "relevant" needs a "path"')
    symbol = value.get("symbol") or ""
    if not isinstance(symbol, str):
        raise ValueError('"symbol" must be a text')
    lines = [value.get(name) or 0 for name in ("start_line", "end_line")]
    if not all(isinstance(line, int) and not isinstance(line, bool) and line >= 0 for line in lines):
        raise ValueError('"start_line" and "end_line" must be whole numbers from 1')
    start, end = lines
    if bool(start) != bool(end) or start > end:
        raise ValueError('"start_line" and "end_line" belong together, the first not after the last')
    return Relevant(value["path"].removeprefix("./"), symbol, start, end)
