"""Conversations and their messages, per project.

Every statement names the project's id, in the WHERE clause of the very table it reads: a conversation id of
another project is not found, however it was come by. The schema holds the same line (messages refer to
conversation and project together).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gardener.errors import ConversationNotFound, ProjectNotFound, UsageError
from gardener.projects import transcripts
from gardener.projects.conversations import (
    ANSWER_COLUMNS,
    UNTITLED,
    Conversation,
    HistoryHit,
    Rating,
    StoredMessage,
    answer_columns,
    conversation_from,
    message_from,
    storable,
)
from gardener.state import State, record_event
from gardener.types import Answer, ChatRole, Message

LONGEST_TITLE = 80
LONGEST_REASON = 2_000
SHORTEST_PREFIX = 3
KEPT_IN_TRASH_S = 30 * 24 * 3600.0
"""How long a deleted conversation can be brought back unless `purge_deleted` is told otherwise."""


class History:
    """The conversations of every project in one `state.db`; each call is about one project."""

    def __init__(self, state: State) -> None:
        self._state = state

    # ---- Writing -----------------------------------------------------------------------------------------

    def start(self, project_id: str, title: str = "") -> Conversation:
        """Opens a conversation. Without a title it takes one from its first question. Raises
        ProjectNotFound.
        """
        now = time.time()
        with self._state.write() as connection:
            known = connection.execute(
                "SELECT 1 FROM projects WHERE id = ? AND removed_at IS NULL", (project_id,)
            ).fetchone()
            if known is None:
                raise ProjectNotFound(f"No project {project_id!r} is registered.", next_step="gardener list")
            conversation_id = os.urandom(4).hex()
            while connection.execute("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,)).fetchone():
                conversation_id = os.urandom(4).hex()
            connection.execute(
                "INSERT INTO conversations (id, project_id, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
                (conversation_id, project_id, title_from(title), now, now),
            )
        return Conversation(conversation_id, project_id, title_from(title) or UNTITLED, now, now, 0)

    def append(
        self,
        project_id: str,
        conversation_id: str,
        role: ChatRole,
        content: str,
        *,
        complete: bool = True,
        backend: str = "",
        model: str = "",
        degradation: str = "",
        citations: Sequence[Mapping[str, Any]] = (),
        receipt: Mapping[str, Any] | None = None,
        usage: Mapping[str, Any] | None = None,
        timings_ms: Mapping[str, float] | None = None,
        error: str = "",
    ) -> int:
        """Stores a message durably and returns its id. Raises ConversationNotFound.

        Store the beginning of an answer with complete=False and `revise` it as it grows: what was streamed
        before a crash is kept, and marked as incomplete.
        """
        columns = (
            storable(content),
            complete,
            backend,
            model,
            degradation,
            json.dumps([dict(citation) for citation in citations]),
            json.dumps(dict(receipt or {})),
            json.dumps(dict(usage or {})),
            json.dumps(dict(timings_ms or {})),
            storable(error),
            0,
            "{}",
            "",
        )
        return self._insert(project_id, conversation_id, role, columns)

    def append_answer(self, project_id: str, conversation_id: str, answer: Answer) -> int:
        """Stores a finished answer with all that is known about it; returns the message's id."""
        return self._insert(project_id, conversation_id, "assistant", answer_columns(answer))

    def finish(self, project_id: str, message_id: int, answer: Answer) -> None:
        """Completes a message that was stored while it grew. Raises ConversationNotFound."""
        with self._state.write() as connection:
            changed = connection.execute(
                f"UPDATE messages SET {' = ?, '.join(ANSWER_COLUMNS)} = ? WHERE id = ? AND project_id = ?",
                (*answer_columns(answer), message_id, project_id),
            )
            if changed.rowcount != 1:
                raise ConversationNotFound(f"There is no message {message_id} in this project.")

    def revise(self, project_id: str, message_id: int, content: str, *, complete: bool = False) -> None:
        """Replaces the text of a message that is still growing. Raises ConversationNotFound."""
        with self._state.write() as connection:
            changed = connection.execute(
                "UPDATE messages SET content = ?, complete = ?, model_characters = 0 WHERE id = ? AND project_id = ?",
                (storable(content), complete, message_id, project_id),
            )
            if changed.rowcount != 1:
                raise ConversationNotFound(f"There is no message {message_id} in this project.")

    def rate(self, project_id: str, message_id: int, feedback: int, reason: str = "") -> None:
        """Sets thumbs up (1), thumbs down (-1) or none (0), and why. Raises ConversationNotFound."""
        if feedback not in (-1, 0, 1):
            raise UsageError(f"Feedback is 1, -1 or 0, not {feedback!r}.")
        from gardener.secret_patterns import redact_text

        reason = redact_text(storable(reason.strip()[:LONGEST_REASON])) if feedback else ""
        with self._state.write() as connection:
            changed = connection.execute(
                "UPDATE messages SET feedback = ?, feedback_reason = ? WHERE id = ? AND project_id = ?",
                (feedback, reason, message_id, project_id),
            )
            if changed.rowcount != 1:
                raise ConversationNotFound(f"There is no message {message_id} in this project.")

    def ratings(self, project_id: str, since: float) -> Sequence[Rating]:
        """The rated answers that were given from `since` (Unix time) on, the newest first; not those of deleted
        conversations.
        """
        rows = self._state.read().execute(
            "SELECT messages.conversation_id, title, messages.created_at, feedback, feedback_reason FROM messages"
            " JOIN conversations ON conversations.id = messages.conversation_id AND conversations.deleted_at IS NULL"
            " WHERE messages.project_id = ? AND feedback != 0 AND messages.created_at >= ? ORDER BY messages.id DESC",
            (project_id, since),
        )
        return [Rating(*row) for row in rows]

    def retitle(self, project_id: str, conversation_id: str, title: str) -> None:
        with self._state.write() as connection:
            row = find_row(connection, project_id, conversation_id)
            connection.execute(
                "UPDATE conversations SET title = ? WHERE id = ? AND project_id = ?",
                (title_from(title), row["id"], project_id),
            )

    def delete(self, project_id: str, conversation_id: str) -> Conversation:
        """Hides a conversation; `restore` brings it back until `purge_deleted`. Raises
        ConversationNotFound.
        """
        with self._state.write() as connection:
            row = find_row(connection, project_id, conversation_id)
            self._set_deleted(connection, row, time.time())
            record_event(connection, "conversation.deleted", project_id, conversation=row["id"])
        return self.find(project_id, row["id"], deleted=True)

    def restore(self, project_id: str, conversation_id: str) -> Conversation:
        """Brings a deleted conversation back. Raises ConversationNotFound."""
        with self._state.write() as connection:
            row = find_row(connection, project_id, conversation_id, deleted=True)
            self._set_deleted(connection, row, None)
            record_event(connection, "conversation.restored", project_id, conversation=row["id"])
        return self.find(project_id, row["id"])

    def purge_deleted(self, project_id: str, older_than_s: float = KEPT_IN_TRASH_S) -> int:
        """Deletes for good what was deleted longer ago than `older_than_s` seconds; returns how many
        conversations.
        """
        with self._state.write() as connection:
            gone = connection.execute(
                "DELETE FROM conversations WHERE project_id = ? AND deleted_at <= ?",
                (project_id, time.time() - older_than_s),
            ).rowcount
            if gone and _has_word_index(connection):
                connection.execute("INSERT INTO messages_words (messages_words) VALUES ('rebuild')")
        if gone:
            self._state.scrub()
        return gone

    # ---- Reading -----------------------------------------------------------------------------------------

    def list(
        self, project_id: str, *, limit: int = 50, offset: int = 0, deleted: bool = False
    ) -> Sequence[Conversation]:
        """The conversations of a project, the last used first; those that were deleted instead, when
        asked for.
        """
        rows = self._state.read().execute(
            f"{SELECT_CONVERSATIONS} AND deleted_at IS {'NOT NULL' if deleted else 'NULL'} "
            "ORDER BY updated_at DESC, rowid DESC LIMIT ? OFFSET ?",
            (project_id, limit, offset),
        )
        return [conversation_from(row) for row in rows]

    def find(self, project_id: str, conversation_id: str, *, deleted: bool = False) -> Conversation:
        """By id or the beginning of one. Raises ConversationNotFound, or UsageError when several begin so."""
        return conversation_from(find_row(self._state.read(), project_id, conversation_id, deleted=deleted))

    def show(
        self, project_id: str, conversation_id: str, *, limit: int = 200, before: int | None = None
    ) -> Sequence[StoredMessage]:
        """The last `limit` messages of a conversation (before message `before`), oldest first."""
        with self._state.snapshot() as connection:
            row = find_row(connection, project_id, conversation_id)
            rows = connection.execute(
                "SELECT * FROM messages WHERE conversation_id = ? AND project_id = ? AND id < ? "
                "ORDER BY id DESC LIMIT ?",
                (row["id"], project_id, _NO_LIMIT if before is None else before, limit),
            ).fetchall()
        return [message_from(found) for found in reversed(rows)]

    def message(self, project_id: str, message_id: int) -> StoredMessage:
        """One message of a conversation that is not deleted. Raises ConversationNotFound."""
        found = (
            self._state.read()
            .execute(
                f"{_SELECT_FOUND} WHERE messages.id = ? AND messages.project_id = ? AND deleted_at IS NULL",
                (message_id, project_id),
            )
            .fetchone()
        )
        if found is None:
            raise ConversationNotFound(f"There is no message {message_id} in this project.")
        return message_from(found)

    def revision(self, project_id: str, conversation_id: str) -> str:
        """Changes with the newest message and while that grows; cheap. Raises ConversationNotFound."""
        with self._state.snapshot() as connection:
            row = find_row(connection, project_id, conversation_id)
            newest = connection.execute(
                "SELECT id, complete, CASE WHEN complete THEN 0 ELSE length(content) END AS size, feedback "
                "FROM messages WHERE conversation_id = ? AND project_id = ? ORDER BY id DESC LIMIT 1",
                (row["id"], project_id),
            ).fetchone()
        return "-".join(map(str, newest)) if newest else "empty"

    def turns(self, project_id: str, conversation_id: str, limit: int = 20) -> Sequence[Message]:
        """The last messages as a chat backend sees them, oldest first."""
        return [
            Message(message.role, message.content)
            for message in self.show(project_id, conversation_id, limit=limit)
            if message.content
        ]

    def search(self, project_id: str, query: str, limit: int = 20) -> Sequence[HistoryHit]:
        """Messages of one project that contain every word of the query (the last one may be a beginning)."""
        words = query.replace("\0", " ").split()  # SQLite would take a pattern to end there
        if not words:
            return []
        with self._state.snapshot() as connection:
            rows: Sequence[sqlite3.Row] = []
            if _has_word_index(connection):
                rows = connection.execute(
                    f"{_SELECT_FOUND} JOIN messages_words ON messages_words.rowid = messages.id "
                    "WHERE messages_words MATCH ? AND messages.project_id = ? "
                    "AND conversations.project_id = ? AND deleted_at IS NULL "
                    "ORDER BY messages_words.rank, messages.id DESC LIMIT ?",
                    (_match(words), project_id, project_id, limit),
                ).fetchall()
            if not rows:
                # Also for what the word index cannot cut into words: parts of words, signs, Chinese.
                containing = " AND ".join("messages.content LIKE ? ESCAPE '\\'" for _ in words)
                rows = connection.execute(
                    f"{_SELECT_FOUND} WHERE {containing} AND messages.project_id = ? "
                    "AND conversations.project_id = ? AND deleted_at IS NULL "
                    "ORDER BY messages.id DESC LIMIT ?",
                    (*(f"%{_like(word)}%" for word in words), project_id, project_id, limit),
                ).fetchall()
            return [
                HistoryHit(
                    conversation_from(find_row(connection, project_id, row["conversation_id"])),
                    message_from(row),
                )
                for row in rows
            ]

    def answers_to(self, project_id: str, question: str) -> Iterator[StoredMessage]:
        """Complete answers of models to this very question as the first one of a conversation, the newest first.

        Upper and lower case of ASCII letters and white space around the question do not count. Left out is what
        somebody was not content with, and what was itself only a stand-in.
        """
        rows = self._state.read().execute(
            "SELECT answer.* FROM messages AS question JOIN messages AS answer ON answer.id = ("
            "  SELECT min(id) FROM messages WHERE conversation_id = question.conversation_id AND id > question.id)"
            " JOIN conversations ON conversations.id = question.conversation_id AND conversations.deleted_at IS NULL"
            " WHERE question.project_id = ? AND question.role = 'user' AND lower(trim(question.content)) = lower(?)"
            " AND question.id = (SELECT min(id) FROM messages WHERE conversation_id = question.conversation_id)"
            " AND answer.role = 'assistant' AND answer.complete AND answer.feedback >= 0"
            " AND answer.degradation IN ('full', 'no enhancement') ORDER BY answer.id DESC",
            (project_id, question.strip()),
        )
        return (message_from(row) for row in rows)

    # ---- Export ------------------------------------------------------------------------------------------

    def export_json(self, project_id: str, conversation_id: str) -> dict[str, object]:
        """Everything about one conversation; see transcripts.as_json. Raises ConversationNotFound."""
        return transcripts.as_json(*self._whole(project_id, conversation_id))

    def export_markdown(self, project_id: str, conversation_id: str) -> str:
        """One conversation for reading; see transcripts.as_markdown. Raises ConversationNotFound."""
        return transcripts.as_markdown(*self._whole(project_id, conversation_id))

    def _whole(self, project_id: str, conversation_id: str) -> tuple[Conversation, Sequence[StoredMessage]]:
        with self._state.snapshot():
            conversation = self.find(project_id, conversation_id)
            return conversation, self.show(project_id, conversation.id, limit=_NO_LIMIT)

    def _insert(self, project_id: str, conversation_id: str, role: ChatRole, columns: tuple[object, ...]) -> int:
        now = time.time()
        with self._state.write() as connection:
            row = find_row(connection, project_id, conversation_id)
            cursor = connection.execute(
                "INSERT INTO messages (conversation_id, project_id, role, created_at, "
                f"{', '.join(ANSWER_COLUMNS)}) VALUES (?, ?, ?, ?{', ?' * len(ANSWER_COLUMNS)})",
                (row["id"], project_id, role, now, *columns),
            )
            title = row["title"] or (title_from(str(columns[0])) if role == "user" else "")
            connection.execute(
                "UPDATE conversations SET updated_at = ?, title = ? WHERE id = ? AND project_id = ?",
                (now, title, row["id"], project_id),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _set_deleted(self, connection: sqlite3.Connection, row: sqlite3.Row, at: float | None) -> None:
        connection.execute(
            "UPDATE conversations SET deleted_at = ? WHERE id = ? AND project_id = ?",
            (at, row["id"], row["project_id"]),
        )


_NO_LIMIT = (1 << 62) - 1
SELECT_CONVERSATIONS = (
    "SELECT *, (SELECT count(*) FROM messages WHERE messages.conversation_id = conversations.id "
    "AND messages.project_id = conversations.project_id) AS messages FROM conversations WHERE project_id = ?"
)
_SELECT_FOUND = "SELECT messages.* FROM messages JOIN conversations ON conversations.id = messages.conversation_id"


def title_from(text: str) -> str:
    """The first line with text in it, in one line of at most 80 characters, cut at a word."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = " ".join("".join(character if character.isprintable() else " " for character in line).split())
    if len(line) <= LONGEST_TITLE:
        return line
    cut = line[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[LONGEST_TITLE // 2 :] else cut) + "…"


def find_row(
    connection: sqlite3.Connection, project_id: str, conversation_id: str, *, deleted: bool = False
) -> sqlite3.Row:
    wanted = conversation_id.strip().lower()
    rows: Sequence[sqlite3.Row] = []
    if len(wanted) >= SHORTEST_PREFIX and set(wanted) <= set("0123456789abcdef"):
        rows = connection.execute(
            f"{SELECT_CONVERSATIONS} AND deleted_at IS {'NOT NULL' if deleted else 'NULL'} "
            "AND substr(id, 1, ?) = ? ORDER BY updated_at DESC LIMIT 3",
            (project_id, len(wanted), wanted),
        ).fetchall()
    if len(rows) > 1:
        raise UsageError(
            f"Several conversations begin with {conversation_id!r}: {', '.join(row['id'] for row in rows)}.",
            next_step="gardener history list",
        )
    if not rows:
        where = "among the deleted ones of this project" if deleted else "in this project"
        raise ConversationNotFound(
            f"There is no conversation {conversation_id!r} {where}.",
            next_step="gardener history list --deleted" if deleted else "gardener history list",
        )
    return rows[0]


def _has_word_index(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages_words'").fetchone() is not None


def _match(words: Sequence[str]) -> str:
    # Quoted, so that FTS5 takes nothing in them for its own syntax (https://www.sqlite.org/fts5.html, 3.1).
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    # "C++" is the word "c" to the index; with a star it would be every word that begins with it.
    return " ".join(quoted) + ("*" if words[-1][-1].isalnum() else "")


def _like(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
