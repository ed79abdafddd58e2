"""Facts about a checkout, compared with what git itself says, and files that are made to mislead."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gardener.projects import checkout
from gardener.projects.checkout import branch, head_commit, repository_root

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
pytestmark = pytest.mark.skipif(
    shutil.which("git") is None and not os.environ.get("GARDENER_REQUIRE_ALL"), reason="git is not installed"
)


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    return result.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def agrees(folder: Path) -> bool:
    ours = head_commit(str(folder)), branch(str(folder))
    name = git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return ours == (git(folder, "rev-parse", "HEAD"), None if name == "HEAD" else name)


def test_a_branch_a_commit_and_a_subfolder(repository: Path) -> None:
    assert agrees(repository)
    git(repository, "switch", "-q", "-c", "feature/ünïcode")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    assert agrees(repository)
    deep = repository / "a" / "b"
    deep.mkdir(parents=True)
    assert agrees(deep)
    assert repository_root(str(deep)) == str(repository)


def test_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert agrees(repository)
    assert branch(str(repository)) is None


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    assert (head_commit(str(tmp_path)), branch(str(tmp_path))) == (None, "trunk")


def test_outside_git(tmp_path: Path) -> None:
    assert (repository_root(str(tmp_path)), head_commit(str(tmp_path)), branch(str(tmp_path))) == (None,) * 3


def test_packed_references(repository: Path) -> None:
    for name in ("mai", "main2", "a/main", "z"):
        git(repository, "branch", name)
    git(repository, "tag", "-a", "-m", "annotated", "main-tag")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert agrees(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "loose again")  # a loose one wins over the packed one
    assert agrees(repository)


def test_packed_references_beyond_the_bound_are_asked_of_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "pack-refs", "--all")
    monkeypatch.setattr(checkout, "_PACKED_REFS_BYTES", 10)
    assert agrees(repository)


def test_linked_worktrees(repository: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(repository, "worktree", "add", "-q", "-b", "other", str(linked))
    git(linked, "commit", "-q", "--allow-empty", "-m", "in the worktree")
    assert agrees(linked) and agrees(repository)
    assert branch(str(linked)) == "other"
    git(repository, "pack-refs", "--all")
    assert agrees(linked)
    git(linked, "checkout", "-q", "--detach")
    assert agrees(linked)


def test_a_submodule(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "sub")
    assert (outer / "sub" / ".git").is_file()
    assert agrees(outer / "sub")


def test_sha256_repositories(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert agrees(tmp_path)
    assert len(head_commit(str(tmp_path)) or "") == 64


def test_reftable_repositories_or_none_when_git_is_too_old(tmp_path: Path) -> None:
    try:
        git(tmp_path, "init", "-q", "--ref-format=reftable")
    except subprocess.CalledProcessError:
        # This git cannot make one, so it cannot read one either: the answer is "unknown", not an error.
        git(tmp_path, "init", "-q")
        (tmp_path / ".git" / "reftable").mkdir()
        (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
        (tmp_path / ".git" / "config").write_text(
            "[core]\nrepositoryformatversion = 1\n[extensions]\nrefstorage = reftable\n"
        )
        assert (head_commit(str(tmp_path)), branch(str(tmp_path))) == (None, None)
        return
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert agrees(tmp_path)


def test_a_symbolic_reference_to_another_and_a_head_that_is_a_link(repository: Path) -> None:
    git(repository, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/alias\n")
    assert head_commit(str(repository)) == git(repository, "rev-parse", "HEAD")
    (repository / ".git" / "HEAD").unlink()
    (repository / ".git" / "HEAD").symlink_to("refs/heads/main")
    assert agrees(repository)


# ---- Hostile repositories --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe",
        b"ref: refs/heads/../../../../secret",
        b"ref: /etc/passwd",
        b"ref: refs/heads/",
        b"ref: refs/heads/a\x1b[31mb",
        b"ref: refs/heads/\xe2\x80\xaegnp.exe",
        b"ref: refs/heads/.hidden",
        b"z" * 40,
        b"0" * 39,
        b"ref: " + b"refs/heads/" + b"a/" * 5000,
    ],
)
def test_a_misleading_head_gives_nothing(repository: Path, content: bytes) -> None:
    (repository.parent / "secret").write_text("f" * 40)
    (repository / ".git" / "HEAD").write_bytes(content)
    assert head_commit(str(repository)) is None
    assert branch(str(repository)) is None


def test_references_in_a_circle_end(repository: Path) -> None:
    (repository / ".git" / "refs" / "heads" / "main").write_text("ref: refs/heads/other\n")
    (repository / ".git" / "refs" / "heads" / "other").write_text("ref: refs/heads/main\n")
    assert head_commit(str(repository)) is None


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "packed-refs", "commondir"])
def test_fifos_and_devices_do_not_block(repository: Path, name: str) -> None:
    file = repository / ".git" / name
    commit = git(repository, "rev-parse", "HEAD")
    if name == "packed-refs":
        (repository / ".git" / "refs" / "heads" / "main").unlink()
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    # git itself waits for ever on some of these
    assert head_commit(str(repository)) == (commit if name == "commondir" else None)
    file.unlink()
    file.symlink_to("/dev/zero")
    head_commit(str(repository))


@pytest.mark.parametrize("target", ["/dev/zero", "/etc", "../nowhere", "\x00", ".", "a" * 10000])
def test_a_git_file_that_points_nowhere_good(tmp_path: Path, target: str) -> None:
    (tmp_path / ".git").write_text(f"gitdir: {target}\n")
    assert repository_root(str(tmp_path)) is None


def test_no_program_of_the_repository_runs(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(trap))
    git(repository, "config", "core.pager", str(trap))
    assert head_commit(str(repository)) is not None
    assert not (tmp_path / "sprung").exists()
