"""A conversation as a document: JSON for programs, Markdown for people."""

from __future__ import annotations

import re
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
    """Questions and answers under headings, each answer with its citations and what made it. Local time.

    What was asked and answered stands as it is, Markdown and HTML included; everything around it is one line each, so
    that no name of a file or model looks like another part of the conversation.
    """
    parts = [f"# {_prose(conversation.title)}", f"_{_date(conversation.created_at)}, conversation {conversation.id}_"]
    for message in messages:
        speaker = {"user": "Question", "assistant": "Answer"}.get(message.role, "Note")
        parts.append(f"## {speaker}, {_date(message.created_at)}")
        parts.append(message.content.rstrip())
        if not message.complete:
            parts.append(f"_This answer is incomplete{': ' + _prose(message.error) if message.error else ''}._")
        if message.citations:
            parts.append("\n".join(_citation_line(citation) for citation in message.citations))
        if message.backend:
            made_by = (message.backend, message.model, message.degradation)
            parts.append(f"_{', '.join(_prose(part) for part in made_by if part)}_")
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    """The text on one line, with what hides in it spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode()
        for character in " ".join(text.split())
    )


def _prose(text: str) -> str:
    """The text on one line, without HTML and pictures."""
    return _line(text).replace("<", "\\<").replace("![", "!\\[")


def _code(text: str) -> str:
    """The text on one line as code that ends with it (CommonMark, section 6.1)."""
    line = _line(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _citation_line(citation: Mapping[str, Any]) -> str:
    lines = f"{citation.get('start_line', '?')}-{citation.get('end_line', '?')}"
    state = citation.get("state", "")
    mark = f" ({state})" if state and state != "current" else ""
    place = _code(f"{citation.get('path', '?')}:{lines}")
    return f"- [{citation.get('n', '?')}] {place}{mark}"
