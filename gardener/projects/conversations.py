"""What a conversation is made of, and how it is read from rows of state.db."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gardener.errors import StateDamaged
from gardener.types import Answer, ChatRole, Citation

UNTITLED = "New conversation"
ANSWER_COLUMNS = (
    "content",
    "complete",
    "backend",
    "model",
    "degradation",
    "citations",
    "receipt",
    "usage",
    "timings",
    "error",
    "model_characters",
    "index_state",
    "degradation_reason",
)
"""The columns of `messages` that an answer fills, in the order of `answer_columns`."""


_CITATION_FIELDS = tuple(field.name for field in fields(Citation))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its messages. Times are Unix seconds."""

    id: str
    """Eight hexadecimal digits; any unambiguous beginning of it is accepted where an id is asked for."""
    project_id: str
    title: str
    created_at: float
    updated_at: float
    messages: int
    deleted_at: float | None = None
    parent_id: str = ""
    """The conversation that this one branched off from, "" for none; that one may be deleted by now."""
    shared: int = 0
    """How many messages a branch took over from its parent."""

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "title": self.title,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "messages": self.messages,
            "deleted_at": self.deleted_at,
            "parent": self.parent_id,
            "shared": self.shared,
        }


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it was stored, with everything that was known about the answer."""

    id: int
    conversation_id: str
    role: ChatRole
    content: str
    created_at: float
    complete: bool
    backend: str = ""
    model: str = ""
    degradation: str = ""
    citations: Sequence[Mapping[str, Any]] = ()
    receipt: Mapping[str, Any] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    model_characters: int = 0
    """Where the model's own words end, when it broke off and something else follows; else 0."""
    feedback: int = 0
    """1 for thumbs up, -1 for thumbs down, 0 for none."""
    feedback_reason: str = ""
    index_state: Mapping[str, Any] = field(default_factory=dict)
    """IndexState.as_json when the answer was written; empty for answers from before that was kept."""
    degradation_reason: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "role": self.role,
            "content": self.content,
            "created_at": self.created_at,
            "complete": self.complete,
            "backend": self.backend,
            "model": self.model,
            "degradation": self.degradation,
            "citations": [dict(citation) for citation in self.citations],
            "receipt": dict(self.receipt),
            "usage": dict(self.usage),
            "timings_ms": dict(self.timings_ms),
            "error": self.error,
            "feedback": self.feedback,
            "feedback_reason": self.feedback_reason,
            "index": dict(self.index_state),
            "degradation_reason": self.degradation_reason,
        }


@dataclass(frozen=True, slots=True)
class Rating:
    """What a reader thought of one answer."""

    conversation_id: str
    title: str
    """The conversation's."""
    answered_at: float
    """Unix time in seconds."""
    feedback: int
    """1 for thumbs up, -1 for thumbs down."""
    reason: str


@dataclass(frozen=True, slots=True)
class HistoryHit:
    """A message that a search found, with the conversation that it is in."""

    conversation: Conversation
    message: StoredMessage

    def as_json(self) -> dict[str, object]:
        return {"conversation": self.conversation.as_json(), "message": self.message.as_json()}


def answer_columns(answer: Answer) -> tuple[object, ...]:
    """The values of ANSWER_COLUMNS for an answer."""
    usage = {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "estimated": answer.usage.estimated,
        "cached_tokens": answer.usage.cached_tokens,
    }
    return (
        storable(answer.text),
        answer.complete,
        answer.backend,
        answer.model,
        answer.degradation,
        json.dumps([citation.as_json() for citation in answer.citations]),
        json.dumps(answer.receipt.as_json()),
        json.dumps(usage),
        json.dumps(answer.timings_ms),
        storable(answer.error),
        answer.model_characters,
        json.dumps(answer.index.as_json()),
        storable(answer.degradation_reason),
    )


def storable(text: str) -> str:
    """Text that SQLite can store: lone surrogates, as a model may emit, become replacement characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


def conversation_from(row: sqlite3.Row) -> Conversation:
    return Conversation(
        id=row["id"],
        project_id=row["project_id"],
        title=row["title"] or UNTITLED,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        messages=row["messages"],
        deleted_at=row["deleted_at"],
        parent_id=row["parent_id"],
        shared=row["shared"],
    )


def message_from(row: sqlite3.Row) -> StoredMessage:
    return StoredMessage(
        id=row["id"],
        conversation_id=row["conversation_id"],
        role=row["role"],
        content=row["content"],
        created_at=row["created_at"],
        complete=bool(row["complete"]),
        backend=row["backend"],
        model=row["model"],
        degradation=row["degradation"],
        citations=tuple(_parsed(row, "citations")),
        receipt=_parsed(row, "receipt"),
        usage=_parsed(row, "usage"),
        timings_ms=_parsed(row, "timings"),
        error=row["error"],
        model_characters=row["model_characters"],
        feedback=row["feedback"],
        feedback_reason=row["feedback_reason"],
        index_state=_parsed(row, "index_state"),
        degradation_reason=row["degradation_reason"],
    )


def citation_from(stored: Mapping[str, Any]) -> Citation:
    """A citation as `StoredMessage.citations` keeps it."""
    return Citation(**{name: stored[name] for name in _CITATION_FIELDS if name in stored})


def _parsed(row: sqlite3.Row, column: str) -> Any:
    try:
        return json.loads(row[column])
    except ValueError as error:
        raise StateDamaged(
            f"state.db is damaged: the {column} of message {row['id']} cannot be read ({error}).",
            next_step="gardener doctor",
        ) from error
