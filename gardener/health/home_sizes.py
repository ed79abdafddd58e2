"""How much room each part of the home takes, by looking at the sizes of files and at nothing in them."""

from __future__ import annotations

import os
from typing import NamedTuple

from gardener.paths import Paths, index_directory


class HomeSizes(NamedTuple):
    """Bytes as `du` counts them: a file with several names counts once, in the first part that has it."""

    total: int
    projects: dict[str, int]
    """By project id; the folder as a whole."""
    indexed: dict[str, int]
    """Of them, those that hold an index."""
    vectors: int
    models: int
    backups: int

    @property
    def median_project(self) -> float | None:
        """Of the projects with an index; None without any."""
        if not self.indexed:
            return None
        ordered = sorted(self.indexed.values())
        middle = len(ordered) // 2
        return float(ordered[middle]) if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

    def as_values(self) -> dict[str, float]:
        """By the names of gardener.health.samples.METRICS."""
        values = {
            "home": self.total,
            "indexes": sum(self.projects.values()),
            "vectors": self.vectors,
            "models": self.models,
            "backups": self.backups,
            "projects": len(self.projects),
        }
        median = self.median_project
        return {name: float(value) for name, value in values.items()} | (
            {} if median is None else {"project_median": median}
        )


def home_sizes(paths: Paths) -> HomeSizes:
    """Looks at every file of the home once: about 5 µs each. What vanishes meanwhile does not count."""
    seen: set[tuple[int, int]] = set()
    projects: dict[str, int] = {}
    indexed: dict[str, int] = {}
    for name in _folders(paths.projects):
        folder = os.path.join(paths.projects, name)
        projects[name] = _tree(folder, seen)
        if os.path.exists(os.path.join(index_directory(folder), "manifest.db")):
            indexed[name] = projects[name]
    vectors, models = _tree(paths.embeddings, seen), _tree(paths.models, seen)
    backups = _tree(paths.backups, seen)  # after the projects, whose files they share by links
    rest = _tree(paths.home, seen)
    total = sum(projects.values()) + vectors + models + backups + rest
    return HomeSizes(total, projects, indexed, vectors, models, backups)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _tree(folder: str, seen: set[tuple[int, int]]) -> int:
    """Bytes on the disk of all files below a folder that `seen` does not have yet. Follows no link."""
    total, pending = 0, [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    found = entry.stat(follow_symlinks=False)
                    key = (found.st_dev, found.st_ino)
                    if key not in seen:
                        seen.add(key)
                        total += found.st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total
