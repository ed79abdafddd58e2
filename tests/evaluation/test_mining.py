from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gardener.evaluation.mining import commit_questions, documentation_questions, question_of, sample
from gardener.evaluation.questions import Question, Relevant
from gardener.index.undocumented import Documented


@pytest.mark.parametrize(
    ("documentation", "symbol", "question"),
    [
        ("Parse reads a header from the text.\n\nLong story.", "Parse", "reads a header from the text."),
        ("Split a cookie into its parts.\n@param text what", "split", "Split a cookie into its parts."),
        ("@return [Array] the parts of the cookie header", "parts", "the parts of the cookie header"),
        ("@param text what is split into parts here", "parts", ""),
        ("Too short.", "f", ""),
        ("TODO say what this function really does here", "f", ""),
        ("Opens the file at a path. Reads it all. And closes it.", "f", "Opens the file at a path. Reads it all."),
        ("Give the {@link Store} that holds <b>all</b> things", "f", "Give the Store that holds all things"),
        ("1 2 3 4 5 6 7 8 9 == 0 != 1", "f", ""),
    ],
)
def test_what_documentation_asks(documentation: str, symbol: str, question: str) -> None:
    assert question_of(documentation, symbol) == question


def test_tests_and_texts_of_more_than_one_function_ask_nothing() -> None:
    text = "Writes all the bytes to the sink."
    documented = [
        ("a.py", "python", Documented("f", 1, 3, text)),
        ("b.py", "python", Documented("g", 1, 3, text)),
        ("tests/test_a.py", "python", Documented("h", 1, 3, "Writes nothing at all to any sink.")),
        ("a.rs", "rust", Documented("tests.reads", 7, 9, "Checks that every byte is really read.")),
        ("c.py", "python", Documented("K.m", 5, 9, "Reads every byte that is left over.")),
    ]
    questions = documentation_questions(documented)
    assert [question.relevant for question in questions] == [(Relevant("c.py", "K.m", 5, 9),)]


def test_commit_subjects_ask_for_the_files_they_touched(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "core.hooksPath=/dev/null"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(subject: str, *names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(path.read_text() + "x\n" if path.exists() else "x\n")
        git("add", "-A")
        git("commit", "-q", "-m", subject)

    git("init", "-q")
    commit("fix(parser): keep quotes in cookie values (#12)", "src/cookie.py", "src/ü b.py")
    commit("Bump version to 2.0 after the release", "src/cookie.py")
    commit("docs: say what the parser really does", "src/cookie.py")
    commit("Explain how the cookie parser came to be", "README.md")
    commit("Rename everything in one go, carefully", *(f"f{i}.py" for i in range(7)))
    commit("Remove the old reader of cookies", "src/gone.py")
    (tmp_path / "src/gone.py").unlink()
    commit("Short one", "src/cookie.py")
    indexed = {"src/cookie.py", "src/ü b.py", "README.md", *(f"f{i}.py" for i in range(7))}
    questions = commit_questions(str(tmp_path), indexed)
    assert [question.query for question in questions] == ["keep quotes in cookie values"]
    assert {place.path for place in questions[0].relevant} == {"src/cookie.py", "src/ü b.py"}


def test_a_folder_without_git_has_no_commits(tmp_path: Path) -> None:
    assert commit_questions(str(tmp_path), {"a.py"}) == []


def test_a_sample_stays_the_same_when_others_come() -> None:
    questions = [Question(str(i), "q", (Relevant("a"),)) for i in range(100)]
    small = sample(questions, 10)
    assert small == sample(reversed(questions), 10)
    assert set(small) < set(sample(questions, 50))
