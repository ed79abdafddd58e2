"""What git says about a project's folder, read from its files: no process is started, no hook, filter or
fsmonitor of a hostile repository can run, and it costs microseconds.

Only commit ids (hexadecimal) and checked branch names leave this module, whatever the files contain, so a
link that leads out of the repository cannot carry anything else away. Every read is bounded and from
regular files only. Formats: gitrepository-layout(5), gitformat-packed-refs and git-worktree(1). A reftable
repository is the exception: its references are binary, and git itself is asked, through gardener.git.
"""

from __future__ import annotations

import os
import stat

_SMALL_FILE_BYTES = 4096
_PACKED_REFS_BYTES = 32 << 20
"""About 400,000 references; git is asked beyond that."""
_LONGEST_CHAIN = 5
"""Symbolic references to symbolic references, as in git's own SYMREF_MAXDEPTH (refs.h)."""
_PER_WORKTREE = ("refs/bisect/", "refs/worktree/", "refs/rewritten/")
_HEXADECIMAL = frozenset("0123456789abcdef")
_ID_LENGTHS = (40, 64)
"""SHA-1 and SHA-256, in hexadecimal digits."""


def repository_root(path: str) -> str | None:
    """The folder with the `.git` that governs `path`: itself or the nearest above it; None outside git."""
    folder = os.path.realpath(path)
    while True:
        if _git_directory(folder) is not None:
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def head_commit(root: str) -> str | None:
    """The id of the commit that is checked out, 40 or 64 hexadecimal digits; None outside git, before
    the first commit, and when the repository is damaged.
    """
    top = repository_root(root)
    if top is None:
        return None
    git = _git_directory(top)
    assert git is not None
    if _uses_reftable(git):
        return _commit_id(_ask_git(top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"))
    content = _head(git)
    for _ in range(_LONGEST_CHAIN):
        if not content.startswith("ref:"):
            return _commit_id(content)
        name = content[4:].strip()
        if not _is_reference(name):
            return None
        place = git if name.startswith(_PER_WORKTREE) else _common_directory(git)
        content = _read_small(os.path.join(place, name))
        if not content:
            return _packed(place, name, top)
    return None


def branch(root: str) -> str | None:
    """The name of the branch that is checked out ("main", also before its first commit); None when HEAD is
    detached or outside git."""
    top = repository_root(root)
    if top is None:
        return None
    git = _git_directory(top)
    assert git is not None
    if _uses_reftable(git):
        name = _ask_git(top, "rev-parse", "--symbolic-full-name", "HEAD")
    else:
        content = _head(git)
        name = content[4:].strip() if content.startswith("ref:") else ""
    if not _is_reference(name) or not name.startswith("refs/heads/"):
        return None
    return name.removeprefix("refs/heads/")


def git_directory(path: str) -> str | None:
    """The git directory (HEAD, index) of the checkout that `path` is in; None outside git."""
    top = repository_root(path)
    return None if top is None else _git_directory(top)


def _git_directory(folder: str) -> str | None:
    """The git directory of a work tree: `.git`, or where a `.git` file (linked worktree, submodule)
    points.
    """
    place = os.path.join(folder, ".git")
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        content = _read_small(place)
        if not content.startswith("gitdir:"):
            return None
        place = os.path.normpath(os.path.join(folder, content[7:].strip()))
    looks_right = os.path.lexists(os.path.join(place, "HEAD")) and (
        os.path.isdir(os.path.join(place, "objects")) or os.path.isfile(os.path.join(place, "commondir"))
    )
    return place if looks_right else None


def _common_directory(git: str) -> str:
    """Where branches and tags are: the main repository's git directory, for a linked worktree."""
    shared = _read_small(os.path.join(git, "commondir"))
    return os.path.normpath(os.path.join(git, shared)) if shared else git


def _uses_reftable(git: str) -> bool:
    return os.path.isdir(os.path.join(_common_directory(git), "reftable"))


def _head(git: str) -> str:
    path = os.path.join(git, "HEAD")
    try:
        # Before git 1.5.3, and with core.preferSymlinkRefs, HEAD is a symbolic link instead of a file.
        target = os.readlink(path)
    except OSError:
        return _read_small(path)
    return f"ref: {target}" if target.startswith("refs/") else _read_small(path)


def _packed(place: str, name: str, top: str) -> str | None:
    path = os.path.join(place, "packed-refs")
    data = _read_bounded(path, _PACKED_REFS_BYTES + 1)
    if len(data) > _PACKED_REFS_BYTES:
        return _commit_id(_ask_git(top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"))
    end = (b"\n" + data).find(b" " + name.encode("utf-8", "surrogateescape") + b"\n")
    if end < 0:
        return None
    start = data.rfind(b"\n", 0, end - 1) + 1
    return _commit_id(data[start : end - 1].decode("ascii", "replace"))


def _ask_git(top: str, *arguments: str) -> str:
    from gardener.git import GitFailed, safe_git

    try:
        return safe_git(top, *arguments, work_tree=top).decode("utf-8", "replace").strip()
    except GitFailed:
        return ""  # no git, or one too old for this repository: its state is unknown, which None says


def _read_small(path: str) -> str:
    data = _read_bounded(path, _SMALL_FILE_BYTES)
    return data.decode("utf-8", "surrogateescape").strip()


def _read_bounded(path: str, limit: int) -> bytes:
    """Up to `limit` bytes of a regular file; nothing from anything else (opening a FIFO or a device can
    block).
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb", opener=_open_without_waiting) as handle:
            return handle.read(limit) if stat.S_ISREG(os.fstat(handle.fileno()).st_mode) else b""
    except (OSError, ValueError):
        return b""


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _is_reference(name: str) -> bool:
    """The rules of git-check-ref-format(1) that matter for a path: it stays below refs/ and is printable."""
    return (
        name.startswith("refs/")
        and name.isprintable()
        and not name.endswith("/")
        and not any(part in ("", ".", "..") or part.startswith(".") for part in name.split("/"))
        and ".." not in name
        and "\\" not in name
    )


def _commit_id(text: str) -> str | None:
    text = text.strip()
    return text if len(text) in _ID_LENGTHS and _HEXADECIMAL.issuperset(text) else None
