"""Real packages to measure on, from the package index through pip; downloaded once into .bench/corpus."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.measure import WORK

DJANGO = "Django==5.2.8"


def sdist(requirement: str) -> Path:
    """The unpacked source distribution of `name==version`; downloads it when it is not there."""
    name = requirement.replace("==", "-").lower()
    folder = WORK / "corpus" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
             "--no-build-isolation", "-d", str(folder.parent), requirement],
            check=True,
        )  # fmt: skip
        archive = next(path for path in folder.parent.glob("*.tar.gz") if path.name.lower().startswith(name))
        with tarfile.open(archive) as opened:
            opened.extractall(folder.parent / "unpacking", filter="data")
        (folder.parent / "unpacking" / archive.name.removesuffix(".tar.gz")).rename(folder)
    return folder


def git_checkout(folder: Path) -> Path:
    """The same tree as a git repository with one commit, which the walk and `git status` both need."""
    if not (folder / ".git").is_dir():
        identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
        for command in (["init", "-q"], ["add", "-A", "-f"], [*identity, "commit", "-q", "-m", "sources"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
    return folder
