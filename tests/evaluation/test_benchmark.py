"""The parts of the retrieval benchmark that could be wrong without anybody seeing it in the table."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from benchmarks.retrieval import systems
from benchmarks.retrieval.compare import GARDENER, Asked, _scores
from benchmarks.retrieval.corpora import Chunk, prepare
from benchmarks.retrieval.packages import Package, _sdist_link
from gardener.evaluation.metrics import Scores
from gardener.evaluation.questions import Question, Relevant

PACKAGE = Package("a-b", "1.2", "pypi")


def chunk(path: str, text: str) -> Chunk:
    return Chunk(path, 1, 3, "", text, path)


CHUNKS = [
    chunk("cookie.py", "def parse_cookie(header): return header.split(';')"),
    chunk("date.py", "def parse a date from a header"),
    chunk("empty.py", "pass"),
]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", '<a href="../f/a_b-1.2.tar.gz#sha256=00ff">x</a><a href="a_b-1.2-py3-none-any.whl">w</a>'),
        (
            "application/vnd.pypi.simple.v1+json",
            '{"files": [{"url": "w.whl", "hashes": {}}, {"url": "../f/a_b-1.2.tar.gz", "hashes": {"sha256": "00ff"}}]}',
        ),
    ],
)
def test_the_sdist_is_found_in_both_forms_of_the_index(kind: str, body: str) -> None:
    request = httpx.Request("GET", "http://localhost/simple/a-b/")
    answer = httpx.Response(200, headers={"content-type": kind}, text=body, request=request)
    assert _sdist_link(answer, PACKAGE) == ("http://localhost/simple/f/a_b-1.2.tar.gz", "00ff")
    with pytest.raises(RuntimeError, match="no sdist of a-b 9"):
        _sdist_link(answer, PACKAGE._replace(version="9"))


def test_bm25_ranks_by_words_and_leaves_out_what_has_none() -> None:
    assert systems.bm25(CHUNKS)("date", 10) == [CHUNKS[1]]


def test_fusion_prefers_what_both_sides_found() -> None:
    a, b, c = CHUNKS
    search = systems.fused(lambda query, limit: [a, b], lambda query, limit: [c, b])
    assert search("q", 2) == [b, a]


def test_the_copy_has_no_documentation_and_questions_have_their_answers_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.retrieval import corpora

    source = tmp_path / "source"
    source.mkdir()
    text = 'def top(path):\n    """Opens the file that stands at a path."""\n    return open(path)\n'
    (source / "a.py").write_text(text)
    (source / "README.md").write_text("# a\n")
    (source / ".gitignore").write_text("*.py\n")
    monkeypatch.setattr(corpora, "WORK", tmp_path / "work")
    both = prepare("a 1", source, 10)
    assert sorted(path.name for path in both.copy.iterdir()) == ["README.md", "a.py"]
    code = prepare("a 1", source, 10, code_only=True)
    assert [path.name for path in code.copy.iterdir()] == ["a.py"]
    assert (code.copy / "a.py").read_text() == text.replace('    """Opens the file that stands at a path."""', "")
    assert [question.relevant for question in both.questions] == [(Relevant("a.py", "top", 1, 3),)]


def test_ahead_is_gardener_less_the_other() -> None:
    rows = []
    for i in range(20):
        good, bad = Scores(1, 1, 1, 1, 1), Scores(0.5, 0.5, 0, 1, 1)
        rows.append(Asked("p", Question(str(i), "q", (Relevant("a"),)), "python", {GARDENER: good, "bm25": bad}))
    table = _scores(rows)["systems"]
    assert table["bm25"]["ahead"] == [0.5, 0.5, 0.5]
    assert table[GARDENER]["ahead"] == [0, 0, 0]
