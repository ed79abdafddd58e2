"""What an index update is told, says on its way, and reports at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gardener.index.walk import FileEntry, WalkResult


class IndexProgress(NamedTuple):
    """How far an update is. `rate` in files per second, `eta_s` in seconds; both None until they mean something."""

    phase: str
    done: int
    total: int
    rate: float | None = None
    eta_s: float | None = None


ProgressCallback = Callable[[IndexProgress], None]


@dataclass(slots=True)
class Difference:
    """What the disk has and the index has not, and the other way round."""

    changed: list[tuple[FileEntry, str]] = field(default_factory=list)
    """Files to read, each with the SHA-256 that the index knows, or ""."""
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    found: WalkResult | None = None
    """The walk that was compared, and when it began (nanoseconds since 1970)."""
    walked_at_ns: int = 0
    head: str | None = None
    """The commit that the index knows."""

    @property
    def files(self) -> int:
        return len(self.changed) + len(self.removed)


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an update did, as `gardener index --json` prints it."""

    added: int
    changed: int
    removed: int
    unchanged: int
    files: int
    chunks: int
    lines: int
    skipped: dict[str, int]
    """Reason to number of files."""
    secrets: int
    secret_files: tuple[str, ...]
    seconds: float
    rebuilt: bool
    reason: str
    """Why the index was built from nothing; "" when it was not."""

    def as_json(self) -> dict[str, object]:
        return {
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "files": self.files,
            "chunks": self.chunks,
            "lines": self.lines,
            "skipped": self.skipped,
            "secrets": self.secrets,
            "secret_files": list(self.secret_files),
            "seconds": round(self.seconds, 3),
            "rebuilt": self.rebuilt,
            "reason": self.reason,
        }
