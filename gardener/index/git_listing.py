"""Listing the files of a git checkout by asking git, safely (gardener/git.py)."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING

from gardener.git import GitFailed, git_program, safe_git, user_excludes_file

if TYPE_CHECKING:
    from gardener.index.walk import Walk

MAX_REPOSITORIES = 100
"""Repositories inside one project for which git is started; the rest is walked without it."""
TIMEOUT_S = 20.0
"""Seconds for one git command; more than a cold cache needs for a million files."""
MAX_TOTAL_S = 60.0
"""Seconds that git may take for one walk, over all repositories."""

_UNREADABLE = re.compile(r"warning: could not open directory '(.+)': (.+)\Z")


class GitListing:
    """Lists the trees of one walk with git, as long as git answers."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._usable = git_program() is not None
        self._asked = 0
        self._deadline = time.monotonic() + MAX_TOTAL_S
        self._settings: tuple[str, ...] | None = None

    def list_tree(self, prefix: str) -> bool:
        """Reports the files of the tree at `prefix` to the walk; False when git cannot name them all."""
        folder = (self._walk.base + prefix).rstrip("/") or "/"
        top = checkout_of(folder) if prefix == "" else folder
        if top is None:
            return False
        if not self._usable or self._asked >= MAX_REPOSITORIES or time.monotonic() > self._deadline:
            self._note(prefix, "git was not asked")
            return False
        self._asked += 1
        try:
            return self._ask(prefix, folder, top)
        except GitFailed as error:
            self._usable = not error.timed_out
            self._note(prefix, error.reason)
            return False

    def _note(self, prefix: str, reason: str) -> None:
        place = prefix.rstrip("/") or "the project"
        note = f"git could not list {place} ({reason}); ignore files were applied without it."
        self._walk.notes.append(note.encode("utf-8", "backslashreplace").decode())

    def _ask(self, prefix: str, folder: str, top: str) -> bool:
        untracked: list[str] = []
        warnings: list[str] = []
        failures: list[GitFailed] = []

        def list_untracked() -> None:
            try:
                untracked.extend(self._ignoring(folder, top, "--others", warnings=warnings))
            except GitFailed as error:
                failures.append(error)

        # git spends most of its time on reading the folders; meanwhile the tracked files are looked at here.
        # It starts first: a file that is added in between is then seen twice rather than not at all.
        other = threading.Thread(target=list_untracked, name="gardener-untracked")
        other.start()
        try:
            tracked = _names(folder, top, "ls-files", "-z", "--cached")
            self._walk.add_names(prefix, tracked, True)
        finally:
            other.join()
        if failures:
            raise failures[0]
        if not tracked and not untracked and folder != top:
            # The repository around it ignores this folder (a library below .venv, a project in a home directory
            # that is under git), so it is no part of that repository.
            return False
        self._walk.add_names(prefix, untracked, False)
        for warning in warnings:
            if found := _UNREADABLE.match(warning):
                self._walk.skip(prefix + found[1].removeprefix("./"), "unreadable", found[2])
        if self._walk.explain:
            for name in self._ignoring(folder, top, "--others", "--ignored", "--directory"):
                self._walk.skip_ignored(prefix + name)
        return True

    def _ignoring(self, folder: str, top: str, *options: str, warnings: list[str] | None = None) -> list[str]:
        return _names(
            folder,
            top,
            "ls-files",
            "-z",
            "--exclude-standard",
            *options,
            settings=self._excludes(),
            warnings=warnings,
        )

    def _excludes(self) -> tuple[str, ...]:
        # The repository's own core.excludesFile may name any file of the disk; the user's takes its place.
        if self._settings is None:
            self._settings = (f"core.excludesFile={user_excludes_file()}",)
        return self._settings


def checkout_of(folder: str) -> str | None:
    """The top of the git checkout that `folder` (absolute, resolved) lies in; None outside git."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _names(
    folder: str,
    top: str,
    *arguments: str,
    settings: tuple[str, ...] = (),
    accept: tuple[int, ...] = (0,),
    warnings: list[str] | None = None,
) -> list[str]:
    output = safe_git(
        folder,
        *arguments,
        work_tree=top,
        settings=settings,
        accept=accept,
        warnings=warnings,
        timeout_s=TIMEOUT_S,
    )
    return os.fsdecode(output).split("\0")[:-1]
