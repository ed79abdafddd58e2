"""Branches of a conversation: a question asked again, in other words or the same, with both answers kept.

A branch is a conversation of its own that begins with copies of its parent's messages. So everything that works on
conversations (turns for the model, search, export, deletion) works on a branch, and nothing has to walk a tree.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from gardener.errors import ConversationNotFound
from gardener.projects.conversations import ANSWER_COLUMNS, Conversation, conversation_from
from gardener.projects.history import SELECT_CONVERSATIONS, find_row
from gardener.state import State

_COPIED = ", ".join(("role", "created_at", *ANSWER_COLUMNS))


def branch(state: State, project_id: str, conversation_id: str, before: int) -> Conversation:
    """A new conversation with copies of the messages before message `before`; thumbs stay with the originals.

    Raises ConversationNotFound when the conversation, or that message in it, does not exist.
    """
    now = time.time()
    with state.write() as connection:
        row = find_row(connection, project_id, conversation_id)
        there = connection.execute(
            "SELECT 1 FROM messages WHERE id = ? AND conversation_id = ? AND project_id = ?",
            (before, row["id"], project_id),
        ).fetchone()
        if there is None:
            raise ConversationNotFound(f"There is no message {before} in conversation {row['id']}.")
        shared = int(
            connection.execute(
                "SELECT count(*) FROM messages WHERE conversation_id = ? AND project_id = ? AND id < ?",
                (row["id"], project_id, before),
            ).fetchone()[0]
        )
        new_id = os.urandom(4).hex()
        while connection.execute("SELECT 1 FROM conversations WHERE id = ?", (new_id,)).fetchone():
            new_id = os.urandom(4).hex()
        connection.execute(
            "INSERT INTO conversations (id, project_id, title, created_at, updated_at, parent_id, shared) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            # Without shared messages the first question gives the title, as in any conversation.
            (new_id, project_id, row["title"] if shared else "", now, now, row["id"], shared),
        )
        connection.execute(
            f"INSERT INTO messages (conversation_id, project_id, {_COPIED}) SELECT ?, project_id, {_COPIED} "
            "FROM messages WHERE conversation_id = ? AND project_id = ? AND id < ? ORDER BY id",
            (new_id, row["id"], project_id, before),
        )
        return conversation_from(find_row(connection, project_id, new_id))


def family(state: State, project_id: str, conversation_id: str) -> Sequence[Conversation]:
    """The conversation and all that are related to it by branching, oldest first; deleted ones too, which tie others.

    Raises ConversationNotFound.
    """
    with state.snapshot() as connection:
        start = find_row(connection, project_id, conversation_id)
        rows = connection.execute(
            f"""
            WITH RECURSIVE related (id) AS (
                SELECT ?
                UNION
                SELECT conversations.parent_id FROM conversations, related
                    WHERE conversations.id = related.id AND project_id = ? AND conversations.parent_id != ''
                UNION
                SELECT conversations.id FROM conversations, related
                    WHERE conversations.parent_id = related.id AND project_id = ?
            )
            {SELECT_CONVERSATIONS} AND id IN (SELECT id FROM related)
            ORDER BY created_at, rowid
            """,
            (start["id"], project_id, project_id, project_id),
        ).fetchall()
    return [conversation_from(row) for row in rows]


def alternatives(kin: Sequence[Conversation], conversation_id: str) -> Mapping[int, Sequence[str]]:
    """Where a conversation has others beside it: position of a message (from 0) → conversation ids, oldest first.

    `kin` is its `family`. Conversations that differ at a position agree on every message before it.
    """
    by_id = {conversation.id: conversation for conversation in kin}
    age = {conversation.id: number for number, conversation in enumerate(kin)}

    def said_by(one: str, position: int) -> tuple[str, int]:
        """Whose own message stands at the position: the one that `one` took it over from, if it did."""
        while one in by_id and by_id[one].parent_id and by_id[one].shared > position:
            one = by_id[one].parent_id
        return one, position

    found: dict[int, Sequence[str]] = {}
    for position in {conversation.shared for conversation in kin if conversation.parent_id}:
        before = said_by(conversation_id, position - 1) if position else None
        others: dict[tuple[str, int], str] = {}
        for other in kin:
            if position and said_by(other.id, position - 1) != before:
                continue
            if other.messages <= position or other.deleted_at is not None:
                continue
            voice = said_by(other.id, position)
            # Of several that share this message too: the one that is shown, else the one used last.
            best = others.get(voice)
            if (
                best is None
                or other.id == conversation_id
                or (best != conversation_id and by_id[best].updated_at < other.updated_at)
            ):
                others[voice] = other.id
        if len(others) > 1 and conversation_id in others.values():
            eldest = sorted(others, key=lambda voice: age.get(voice[0], -1))
            found[position] = tuple(others[voice] for voice in eldest)
    return found
