from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import LockedError, NotFoundError
from gardener.evaluation.questions import read_questions
from gardener.evaluation.record import append, compare, read
from gardener.locks import ProcessLock
from gardener.paths import embed_lock
from gardener.project_evaluation import EvaluationRequest, evaluate_project
from gardener.types import ProjectContext

ALL = EvaluationRequest(part="all")


@pytest.fixture
def project(json_project: Path, json_embeddings: None) -> ProjectContext:
    with Gardener() as gardener:
        return gardener.registry.add(str(json_project), "json")


def test_a_project_is_evaluated_with_its_own_documentation(project: ProjectContext) -> None:
    with Gardener() as gardener:
        report = evaluate_project(gardener, project, ALL)
        again = evaluate_project(gardener, project, ALL)
    evaluation = report.evaluation
    assert len(evaluation.questions) >= 4
    assert evaluation.tables["documentation"]["recall_10"].mean > 0.5
    assert report.comparison is None
    assert again.comparison is not None
    assert again.comparison.verdict == "no difference shown"
    assert again.comparison.changes["mrr"] == (0, 0, 0)
    assert not os.path.exists(os.path.join(project.home, "evaluation")), "the copy is removed"
    assert [entry["questions"] for entry in read(project.home)] == [len(evaluation.questions)] * 2


def test_the_documentation_is_not_in_the_index_that_is_searched(project: ProjectContext) -> None:
    from gardener.evaluation.scratch import undocumented_copy

    with Gardener() as gardener:
        gardener.update_index(project)
        records = gardener.index(project).indexer.manifest.files()
        with undocumented_copy(project, records, max_file_bytes=10**6, redact=lambda text, _: text) as copy:
            for path in records:
                original = Path(project.root, path).read_text()
                copied = Path(copy.context.root, path).read_text()
                assert copied.count("\n") == original.count("\n")
            text = "".join(p.read_text() for p in Path(copy.context.root).rglob("*.py"))
            assert copy.documented
            for _, _, function in copy.documented:
                assert function.documentation.split("\n")[0] not in text
            assert Path(copy.context.root).stat().st_mode & 0o077 == 0


def test_secrets_are_not_copied(project: ProjectContext) -> None:
    from gardener.evaluation.scratch import undocumented_copy
    from gardener.index.redact import redact

    secret = "AKIA" + "Q3EGRJD5HZ2XKYWP"
    Path(project.root, "keys.py").write_text(f'KEY = "{secret}"\n')
    with Gardener() as gardener:
        gardener.update_index(project)
        records = gardener.index(project).indexer.manifest.files()
        with undocumented_copy(
            project, records, max_file_bytes=10**6, redact=lambda text, path: redact(text, path).text
        ) as copy:
            assert secret not in Path(copy.context.root, "keys.py").read_text()


def test_two_evaluations_of_one_project_do_not_run_at_once(project: ProjectContext) -> None:
    with ProcessLock(os.path.join(project.home, "evaluation.lock"), "gardener eval"), Gardener() as gardener:
        gardener.update_index(project)
        with pytest.raises(LockedError, match="gardener eval"):
            evaluate_project(gardener, project, ALL)


def test_it_waits_for_whoever_makes_the_vectors(project: ProjectContext, tmp_path: Path) -> None:
    own = tmp_path / "q.jsonl"
    own.write_text(json.dumps({"query": "decode a document", "relevant": [{"path": "json/decoder.py"}]}))
    questions, _ = read_questions(str(own))
    begun, over = threading.Event(), threading.Event()

    def make_vectors() -> None:
        with ProcessLock(embed_lock(project.home), "gardener index --vectors-only"):
            begun.set()
            over.wait(60)

    maker = threading.Thread(target=make_vectors)
    with Gardener() as gardener:
        gardener.update_index(project)
        maker.start()
        assert begun.wait(60)
        with ThreadPoolExecutor(1) as pool:
            evaluation = pool.submit(evaluate_project, gardener, project, EvaluationRequest(questions, part="all"))
            with pytest.raises(TimeoutError):
                evaluation.result(1)  # it would have failed by now
            over.set()
            assert evaluation.result(120).evaluation.count("file") == 1
    maker.join()


def test_a_project_without_questions_says_so(home: Path, tmp_path: Path, embedder: None) -> None:
    root = tmp_path / "bare"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    with Gardener() as gardener:
        context = gardener.registry.add(str(root), "bare")
        with pytest.raises(NotFoundError, match="no documented functions and commits"):
            evaluate_project(gardener, context, ALL)


def test_a_worse_ranking_is_seen(project: ProjectContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.index import search

    request = ALL._replace(vectors=False)
    with Gardener() as gardener:
        evaluate_project(gardener, project, request)
        monkeypatch.setattr(search, "fuse", lambda candidates, *_: -candidates.bm25.astype("float64"))
        comparison = evaluate_project(gardener, project, request).comparison
    assert comparison is not None
    assert comparison.verdict == "worse"


def test_what_the_gate_refused_is_not_what_the_next_is_held_against(
    project: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gardener.index import search

    request = ALL._replace(vectors=False, gate=True)
    with Gardener() as gardener:
        evaluate_project(gardener, project, request)
        monkeypatch.setattr(search, "fuse", lambda candidates, *_: -candidates.bm25.astype("float64"))
        verdicts = [evaluate_project(gardener, project, request).comparison for _ in range(2)]
    assert [one and one.verdict for one in verdicts] == ["worse", "worse"]
    assert [entry["kept"] for entry in read(project.home)] == [True, False, False]


def test_a_cut_off_record_is_survived(project: ProjectContext) -> None:
    with Gardener() as gardener:
        evaluation = evaluate_project(gardener, project, ALL._replace(vectors=False)).evaluation
    with open(os.path.join(project.home, "evaluations.jsonl"), "a") as opened:
        opened.write('{"at": 1, "by_qu')
    assert len(read(project.home)) == 1
    assert compare(project.home, evaluation) is not None
    append(project.home, evaluation)
    assert len(read(project.home)) == 2, "the cut line does not take the next one with it"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gardener.cli.main", "eval", *words], capture_output=True, text=True, check=False
    )


def test_the_command(project: ProjectContext, tmp_path: Path) -> None:
    with Gardener() as gardener:
        gardener.switch("json")
    file = tmp_path / "q.jsonl"
    place = {"path": "json/decoder.py", "symbol": "JSONDecoder.raw_decode"}
    file.write_text(
        json.dumps({"id": "1", "query": "decode a document with trailing data", "relevant": [place]}) + "\nbroken\n"
    )
    partly = run(str(file), "--json")
    assert partly.returncode == 1, "a line was left out"
    assert "line 2" in partly.stderr
    result = json.loads(partly.stdout)
    assert result["kinds"]["file"]["mrr"][0] > 0
    assert result["part"] == "all"
    table = run("--part", "all", "--words-only")
    assert table.returncode == 0, table.stderr
    assert "MRR@10" in table.stdout
    assert "documentation" in table.stdout
    assert all(len(line) <= 80 for line in table.stdout.splitlines()[1:3])
    assert len(run("--history", "--json").stdout.split('"at"')) == 3
    assert run("--kind", "commit").returncode == 4
    assert run("none.jsonl").returncode == 4
    assert run(str(file), "--kind", "commit").returncode == 2
    assert run("--limit", "0").returncode == 2
