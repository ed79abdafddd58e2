"""A conversation as a document: JSON for programs, Markdown for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gardener.projects.conversations import Conversation, StoredMessage

SCHEMA = "gardener.conversation/1"
"""The number grows when the shape of `as_json` changes."""


def as_json(conversation: Conversation, messages: Sequence[StoredMessage]) -> dict[str, object]:
    """Everything that is stored about the conversation, oldest message first."""
    return {
        "schema": SCHEMA,
        "project_id": conversation.project_id,
        "conversation": conversation.as_json(),
        "messages": [message.as_json() for message in messages],
    }


def as_markdown(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    """Questions and answers under headings, each answer with its citations and what made it. Local time."""
    parts = [f"# {conversation.title}", f"_{_date(conversation.created_at)}, conversation {conversation.id}_"]
    for message in messages:
        speaker = {"user": "Question", "assistant": "Answer"}.get(message.role, "Note")
        parts.append(f"## {speaker}, {_date(message.created_at)}")
        parts.append(message.content.rstrip())
        if not message.complete:
            parts.append(f"_This answer is incomplete{': ' + message.error if message.error else ''}._")
        if message.citations:
            parts.append("\n".join(_citation_line(citation) for citation in message.citations))
        if message.backend:
            made_by = (message.backend, message.model, message.degradation)
            parts.append(f"_{', '.join(part for part in made_by if part)}_")
    return "\n\n".join(parts) + "\n"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _citation_line(citation: Mapping[str, Any]) -> str:
    lines = f"{citation.get('start_line', '?')}-{citation.get('end_line', '?')}"
    state = citation.get("state", "")
    mark = f" ({state})" if state and state != "current" else ""
    return f"- [{citation.get('n', '?')}] `{citation.get('path', '?')}:{lines}`{mark}"
