from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gardener.errors import Interrupted, UsageError
from gardener.training.examples import (
    COMMIT,
    DOCUMENTATION,
    FUNCTION,
    QUESTION,
    check_enough,
    collect_examples,
    count_of,
)
from tests.conftest import git
from tests.training.conftest import collected

AWS_KEY = "AKIA" + "QWERTYUIOPASDFGH"


def test_real_code(json_project: Path) -> None:
    (json_project / "README.md").write_text(
        "# json\n\n## Speed\n\nScanning is done by an accelerator that is written in C, wherever there is one.\n"
    )
    (json_project / "CHANGELOG.md").write_text(
        "# Changes\n\n## 2.0\n\n" + "Something has changed in this release. " * 9
    )
    found = collected(json_project)
    examples = (*found.train, *found.held_out)
    by_prompt = {example.prompt: example for example in examples}
    body = next(e for e in examples if e.kind == FUNCTION and "`py_scanstring`" in e.prompt)
    assert "Scan the string s for a JSON string" in body.prompt
    assert "```python\ndef py_scanstring(s, end, strict=True," in body.prompt
    assert "chunks = []" in body.completion and "Scan the string s" not in body.completion
    question = next(e for e in examples if e.kind == QUESTION and "`py_scanstring`" in e.completion)
    assert question.path == "json/decoder.py"
    (section,) = [e for e in examples if e.kind == DOCUMENTATION]
    assert section.prompt == "What does `README.md` say about “json > Speed”?"
    assert "accelerator that is written in C" in section.completion
    assert len(by_prompt) == len(examples)


def test_files_are_held_out_whole_and_the_same_ones_every_time(amber: Path) -> None:
    found = collected(amber)
    trained, held = {e.path for e in found.train}, {e.path for e in found.held_out}
    assert held and not trained & held
    assert len(held) == found.held_out_files < 4
    (amber / "zebra.py").write_text("def strolls_along(zebra):\n    return [stripe.invert() for stripe in zebra]\n")
    again = collected(amber)
    assert {e.path for e in again.held_out} - {"zebra.py"} == held
    assert collected(amber) == again


def test_no_secret_gets_in(amber: Path) -> None:
    (amber / "keys.py").write_text(f'def connect_to_cloud(region):\n    return cloud(region, key="{AWS_KEY}")\n')
    found = collected(amber)
    text = repr((*found.train, *found.held_out))
    assert "connect_to_cloud" in text and "[redacted:" in text
    assert AWS_KEY not in text


def test_tests_vendored_code_and_data_are_left_out(amber: Path) -> None:
    function = "def never_seen_in_training(value):\n    return [value.surprise() for value in value.all()]\n"
    for place in ("tests/helper.py", "test_it.py", "legacy/old.py", "third_party/other.py"):
        (amber / place).parent.mkdir(exist_ok=True)
        (amber / place).write_text(function)
    (amber / "table.json").write_text('{"never_seen_in_training": 1}')
    found = collected(amber)
    assert "never_seen_in_training" not in repr((*found.train, *found.held_out))
    (amber / "real.py").write_text(function)
    assert "never_seen_in_training" in repr(collected(amber))


def test_what_stands_twice_counts_once(amber: Path) -> None:
    before = collected(amber)
    for copy in ("copy_one.py", "copy_two.py"):
        (amber / copy).write_bytes((amber / "order.py").read_bytes())
    after = collected(amber)
    bodies = [e.completion for e in (*after.train, *after.held_out) if e.kind == FUNCTION]
    assert len(bodies) == len(set(bodies)) == count_of(FUNCTION, (*before.train, *before.held_out))
    assert after.left_out["duplicate"] >= 12


def test_commits_name_files_and_functions(git_project: Path) -> None:
    scanner = git_project / "json" / "scanner.py"
    scanner.write_text(scanner.read_text().replace("raise StopIteration(idx)", "raise StopIteration(idx + 0)"))
    git(git_project, "commit", "-qam", f"Let the scanner stop where {AWS_KEY} stands")
    examples = collected(git_project)
    found = [e for e in (*examples.train, *examples.held_out) if e.kind == COMMIT]
    assert len(found) == 1
    assert "Let the scanner stop where" in found[0].prompt and AWS_KEY not in found[0].prompt
    assert "`json/scanner.py`: `def py_make_scanner(context):`" in found[0].completion


def test_no_secret_gets_in_through_what_git_shows_above_a_change(git_project: Path) -> None:
    """git's line is of an older text and cut off, where half a key or a line of one looks like nothing."""
    scanner = git_project / "json" / "scanner.py"
    text = scanner.read_text()
    lines = [
        "AWS_SECRET_ACCESS_KEY = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCY' # " + "x" * 30,
        f"settings_of_the_scanner_that_nobody_should_see(where='here', key='{AWS_KEY}'",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA3Tz2mr7SZiAMfQyuvBjM9OiJjRazXBZ1BjP5CE",
    ]
    for count, line in enumerate(lines):
        for number in range(2):
            scanner.write_text(f"{text}\n\n{line}\n    # touched {number}\n")
            git(git_project, "commit", "-qam", f"Let the scanner stop at the mark {count} and {number}")
    scanner.write_text(text)
    git(git_project, "commit", "-qam", "Leave out what the scanner should not know")
    examples = collected(git_project)
    said = "".join(e.completion for e in (*examples.train, *examples.held_out) if e.kind == COMMIT)
    assert "`json/scanner.py`" in said
    for part in ("wJalrXUt", AWS_KEY[:10], "MIIEpAIB"):
        assert part not in said


def test_a_held_out_file_is_not_trained_on_through_a_commit(git_project: Path) -> None:
    names = [path.name for path in (git_project / "json").glob("*.py")]
    for name in names:
        (git_project / "json" / name).write_text((git_project / "json" / name).read_text() + "\n# touched\n")
    git(git_project, "commit", "-qam", "Touch whatever there is in this package")
    found = collected(git_project)
    held = {e.path for e in found.held_out if e.kind != COMMIT}
    assert held & {f"json/{name}" for name in names}
    assert count_of(COMMIT, found.train) == 0 and count_of(COMMIT, found.held_out) == 1


@pytest.mark.parametrize("files", [0, 1])
def test_too_little_is_said_with_numbers(tmp_path: Path, files: int) -> None:
    from tests.tiny_projects import make_tiny_project

    found = collected(make_tiny_project(tmp_path / "small", "amber", files=files))
    with pytest.raises(UsageError, match=rf"{len(found.train)} examples and {len(found.held_out)} held out"):
        check_enough(found, "small")


def test_cancelled(amber: Path) -> None:
    from gardener.index.manifest import FileRecord

    cancel = threading.Event()
    cancel.set()
    record = FileRecord("order.py", 1, 1, "", "python", 1, 1)
    with pytest.raises(Interrupted):
        collect_examples(
            str(amber), {"order.py": record}, max_file_bytes=9, redact=lambda text, path: text, cancel=cancel
        )
