from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from gardener.git import GitFailed, git_command, git_environment, git_program, safe_git, user_excludes_file


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    (root / "a.py").write_text("x\n")
    return root


def program_in(folder: Path, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o700)


def test_returns_what_git_prints(checkout: Path) -> None:
    assert safe_git(str(checkout), "ls-files", "-z", "--others") == b"a.py\0"


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("add", "a"), ("fetch",), (), ("log", "--ext-diff"), ("cat-file", "--textconv", "x"), ("-p", "log")],
)
def test_only_commands_that_run_nothing_are_allowed(checkout: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        safe_git(str(checkout), *arguments)


def test_commands_that_show_changes_ignore_the_repositorys_diff_programs(checkout: Path) -> None:
    line = git_command(str(checkout), "log", "-p")
    assert line[line.index("log") :] == ["log", "--no-ext-diff", "--no-textconv", "-p"]


def test_failures_say_what_git_said(tmp_path: Path) -> None:
    with pytest.raises(GitFailed) as caught:
        safe_git(str(tmp_path), "ls-files", work_tree=str(tmp_path))
    assert "not a git repository" in caught.value.reason
    assert caught.value.exit_status == 128
    assert str(tmp_path) in caught.value.next_step


def test_no_repository_above_the_work_tree_is_taken(checkout: Path) -> None:
    inner = checkout / "inner"
    inner.mkdir()
    with pytest.raises(GitFailed):
        safe_git(str(inner), "ls-files", "--others", work_tree=str(inner))


def test_missing_git_is_an_error_of_its_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(GitFailed, match="not installed"):
        safe_git(str(checkout), "ls-files")


def test_git_is_never_taken_from_a_relative_folder_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_in(tmp_path, "echo hostile")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}/nonexistent")
    assert git_program() is None


def test_a_git_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_in(tmp_path / "bin", f"cd '{tmp_path}'; sleep 60 & echo $! > new; mv new child; wait")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    for timeout_s in (0.5, 5.0, 50.0):  # where it takes long to start
        with pytest.raises(GitFailed) as caught:
            safe_git(str(tmp_path), "ls-files", timeout_s=timeout_s)
        assert caught.value.timed_out
        if (tmp_path / "child").exists():
            break
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # The child belongs to init or to a subreaper now, and may be a zombie for a moment.
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split(")")[1].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the child of git is still running")


def test_output_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program_in(tmp_path / "bin", "yes")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(GitFailed, match="more than 100000 bytes"):
        safe_git(str(tmp_path), "ls-files", max_output_bytes=100_000)


def test_the_environment_redirects_nothing_and_keeps_the_users_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/elsewhere/index")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "program")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/my/config")
    environment = git_environment()
    assert not {"GIT_DIR", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF"} & set(environment)
    assert environment["GIT_CONFIG_GLOBAL"] == "/my/config"
    assert environment["GIT_ALLOW_PROTOCOL"] == "none"


def test_the_users_ignore_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert user_excludes_file() == f"{tmp_path}/.config/git/ignore"
    config = tmp_path / "config"
    config.write_text("[core]\nexcludesFile = ~/mine\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert user_excludes_file() == f"{tmp_path}/mine"
