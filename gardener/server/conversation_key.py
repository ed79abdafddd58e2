"""What tells an open page that its conversation, or the list of them, was changed by another page or in a terminal."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gardener.errors import ConversationNotFound

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.server.edge import Edge

LISTED = 200
"""Conversations that a page lists; older ones are found by searching."""


def conversation_key(edge: Edge, project_id: str, conversation_id: str) -> str:
    """Changes when the page has to read the conversation anew. While this app writes an answer in it, its job."""
    if not conversation_id:
        return "new"
    for job in edge.jobs.find(project_id, "answer"):
        if job.conversation == conversation_id and not job.over:
            return f"{conversation_id}:job-{job.id}"
    try:
        return f"{conversation_id}:{edge.gardener.history.revision(project_id, conversation_id)}"
    except ConversationNotFound:
        return f"{conversation_id}:gone"


def conversations_key(gardener: Gardener, project_id: str) -> str:
    """Changes when the list of a project's conversations has to be shown anew."""
    digest = hashlib.sha256()
    for conversation in gardener.history.list(project_id, limit=LISTED):
        digest.update(f"{conversation.id}\0{conversation.title}\0{conversation.updated_at}\n".encode())
    return digest.hexdigest()[:16]
