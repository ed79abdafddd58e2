"""Real packages to measure on, from the package index through pip; downloaded once into .bench/corpus."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.measure import WORK

DJANGO = "Django==5.2.8"
LARGE = (
    DJANGO, "sympy==1.14.0", "SQLAlchemy==2.1.9", "kubernetes==37.0.2", "Faker==40.54.0", "ansible-core==2.19.14",
    "nltk==3.10.4", "networkx==3.6.1", "pylint==4.1.4", "buildbot==4.3.0",
)  # fmt: skip
"""Ten packages of more than 100,000 lines each."""


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
        found = folder.parent.glob("*.tar.gz")
        archive = next(path for path in found if path.name.lower().replace("_", "-").startswith(name))
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
