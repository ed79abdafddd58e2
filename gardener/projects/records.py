"""What the registry tells about a project beyond its context. Not needed to switch, so kept out of that
path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gardener.types import ProjectContext

ProjectState = Literal["ok", "missing", "removed"]
"""Whether the project's folder is there, is gone, or the project itself lies in the trash."""


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """One line of `gardener list`. Times are Unix seconds."""

    context: ProjectContext
    created_at: float
    last_used_at: float
    removed_at: float | None
    active: bool
    state: ProjectState

    def as_json(self) -> dict[str, object]:
        return {
            **self.context.as_json(),
            "created_at": self.created_at,
            "last_used_at": self.last_used_at,
            "removed_at": self.removed_at,
            "active": self.active,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge deleted for good."""

    project_id: str
    name: str
    files: int
    bytes: int
    conversations: int
    messages: int
    vectors: int
    """Vectors that no other project uses."""
    old_copies: tuple[str, ...]
    """Copies of state.db that migrations had kept; they held this project's history too."""
    scrubbed: bool
    """False when other processes kept state.db's log busy; it goes when the last of them ends."""

    def as_json(self) -> dict[str, object]:
        return {
            "project_id": self.project_id,
            "name": self.name,
            "files": self.files,
            "bytes": self.bytes,
            "conversations": self.conversations,
            "messages": self.messages,
            "vectors": self.vectors,
            "old_copies": list(self.old_copies),
            "scrubbed": self.scrubbed,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log."""

    at: float
    kind: str
    project_id: str | None
    data: dict[str, object]
