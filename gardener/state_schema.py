"""The schema of `state.db`, as an ordered list of named migrations. A released one is never edited."""

from __future__ import annotations

import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

APPLICATION_ID = 0x47524E52
"""ASCII "GRNR", in the header of the file: tells Gardener's database from any other SQLite file."""


def _statements(connection: sqlite3.Connection, script: str) -> None:
    # Not executescript(), which commits the transaction that the migration runs in.
    for statement in script.split(";;"):
        if statement.strip():
            connection.execute(statement)


def projects_conversations_events(connection: sqlite3.Connection) -> None:
    """Version 1."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _statements(
        connection,
        """
        CREATE TABLE projects (
            id TEXT PRIMARY KEY CHECK (length(id) = 12),
            name TEXT NOT NULL,
            name_key TEXT NOT NULL,  -- case-folded and NFC-normalised, for uniqueness and look-up
            root TEXT NOT NULL,
            created_at REAL NOT NULL,
            last_used_at REAL NOT NULL,
            backend TEXT NOT NULL DEFAULT 'auto',
            model TEXT NOT NULL DEFAULT '',
            adapter TEXT NOT NULL DEFAULT '',
            trusted INTEGER NOT NULL DEFAULT 0 CHECK (trusted IN (0, 1)),
            removed_at REAL,         -- in the trash since; null while the project is registered
            purging INTEGER NOT NULL DEFAULT 0 CHECK (purging IN (0, 1)),  -- deletion has begun: no way back
            CHECK (purging = 0 OR removed_at IS NOT NULL)
        );;
        CREATE UNIQUE INDEX projects_by_name ON projects (name_key) WHERE removed_at IS NULL;;
        CREATE UNIQUE INDEX projects_by_root ON projects (root) WHERE removed_at IS NULL;;
        CREATE TABLE pointers (
            key TEXT PRIMARY KEY,
            value TEXT,
            generation INTEGER NOT NULL DEFAULT 0,  -- grows with every change
            updated_at REAL NOT NULL
        );;
        CREATE TABLE conversations (
            id TEXT PRIMARY KEY CHECK (length(id) = 8),
            project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
            title TEXT NOT NULL DEFAULT '',
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            deleted_at REAL,
            UNIQUE (id, project_id)
        );;
        CREATE INDEX conversations_by_project ON conversations (project_id, updated_at);;
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id TEXT NOT NULL,
            project_id TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
            content TEXT NOT NULL,
            created_at REAL NOT NULL,
            complete INTEGER NOT NULL DEFAULT 1 CHECK (complete IN (0, 1)),
            backend TEXT NOT NULL DEFAULT '',
            model TEXT NOT NULL DEFAULT '',
            degradation TEXT NOT NULL DEFAULT '',
            citations TEXT NOT NULL DEFAULT '[]',
            receipt TEXT NOT NULL DEFAULT '{}',
            usage TEXT NOT NULL DEFAULT '{}',
            timings TEXT NOT NULL DEFAULT '{}',
            error TEXT NOT NULL DEFAULT '',
            feedback INTEGER NOT NULL DEFAULT 0 CHECK (feedback IN (-1, 0, 1)),
            -- Both columns together, so that a message can never sit in a conversation of another project.
            FOREIGN KEY (conversation_id, project_id)
                REFERENCES conversations (id, project_id) ON DELETE CASCADE
        );;
        CREATE INDEX messages_by_conversation ON messages (conversation_id, project_id, id);;
        CREATE INDEX messages_by_project ON messages (project_id);;
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            project_id TEXT,         -- no foreign key: the log outlives what it tells about
            data TEXT NOT NULL DEFAULT '{}'
        );;
        CREATE INDEX events_by_project ON events (project_id)
        """,
    )
    if _has_fts5(connection):
        _statements(
            connection,
            """
            CREATE VIRTUAL TABLE messages_words USING fts5 (
                content, content = 'messages', content_rowid = 'id',
                tokenize = 'unicode61 remove_diacritics 2'
            );;
            CREATE TRIGGER messages_words_insert AFTER INSERT ON messages BEGIN
                INSERT INTO messages_words (rowid, content) VALUES (new.id, new.content);
            END;;
            CREATE TRIGGER messages_words_delete AFTER DELETE ON messages BEGIN
                INSERT INTO messages_words (messages_words, rowid, content)
                    VALUES ('delete', old.id, old.content);
            END;;
            CREATE TRIGGER messages_words_update AFTER UPDATE OF content ON messages BEGIN
                INSERT INTO messages_words (messages_words, rowid, content)
                    VALUES ('delete', old.id, old.content);
                INSERT INTO messages_words (rowid, content) VALUES (new.id, new.content);
            END
            """,
        )


def _has_fts5(connection: sqlite3.Connection) -> bool:
    return any(row[0] == "ENABLE_FTS5" for row in connection.execute("PRAGMA compile_options"))


def generations(connection: sqlite3.Connection) -> None:
    """Version 2."""
    _statements(
        connection,
        """
        CREATE TABLE generations (      -- one row for each answer; holds no words of it
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            project_id TEXT NOT NULL,   -- no foreign key: the count outlives the project
            project TEXT NOT NULL,
            backend TEXT NOT NULL,
            model TEXT NOT NULL,
            adapter TEXT NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            estimated INTEGER NOT NULL CHECK (estimated IN (0, 1)),
            first_token_ms REAL,
            total_ms REAL NOT NULL,
            load_s REAL NOT NULL,
            level TEXT NOT NULL,
            finish TEXT NOT NULL CHECK (finish IN ('complete', 'incomplete', 'left')),
            cost REAL NOT NULL
        );;
        CREATE INDEX generations_by_time ON generations (at)
        """,
    )


def generations_in_full(connection: sqlite3.Connection) -> None:
    """Version 3."""
    _statements(
        connection,
        """
        -- A language model wrote it; answers that search alone gave are counted, too, and not part of any budget.
        ALTER TABLE generations ADD COLUMN generates INTEGER NOT NULL DEFAULT 1 CHECK (generates IN (0, 1));;
        ALTER TABLE generations ADD COLUMN ended TEXT NOT NULL DEFAULT ''
            CHECK (ended IN ('', 'stop', 'length', 'cancelled', 'error'));;
        ALTER TABLE generations ADD COLUMN problem TEXT NOT NULL DEFAULT '';;
        ALTER TABLE generations ADD COLUMN prompt_s REAL NOT NULL DEFAULT 0;;
        ALTER TABLE generations ADD COLUMN completion_s REAL NOT NULL DEFAULT 0;;
        ALTER TABLE generations ADD COLUMN prefix TEXT NOT NULL DEFAULT ''
            CHECK (prefix IN ('', 'resident', 'restored', 'read'));;
        -- Percent of the daily budget that this answer warned about.
        ALTER TABLE generations ADD COLUMN budget_warned INTEGER NOT NULL DEFAULT 0;;
        CREATE INDEX generations_by_project ON generations (project_id, at);;
        -- Where the model's own words end in an answer that broke off: from there it can be continued.
        ALTER TABLE messages ADD COLUMN model_characters INTEGER NOT NULL DEFAULT 0
        """,
    )


def branches_and_reasons(connection: sqlite3.Connection) -> None:
    """Version 4."""
    _statements(
        connection,
        """
        -- A branch begins with copies of the first `shared` messages of `parent_id` and goes on by itself. No foreign
        -- key: it outlives the conversation that it came from.
        ALTER TABLE conversations ADD COLUMN parent_id TEXT NOT NULL DEFAULT '';;
        ALTER TABLE conversations ADD COLUMN shared INTEGER NOT NULL DEFAULT 0 CHECK (shared >= 0);;
        CREATE INDEX conversations_by_parent ON conversations (project_id, parent_id);;
        -- In the reader's words; empty without a thumb.
        ALTER TABLE messages ADD COLUMN feedback_reason TEXT NOT NULL DEFAULT '';;
        -- How fresh the index was, and why the answer was less than was configured: to be shown again with it.
        ALTER TABLE messages ADD COLUMN index_state TEXT NOT NULL DEFAULT '{}';;
        ALTER TABLE messages ADD COLUMN degradation_reason TEXT NOT NULL DEFAULT ''
        """,
    )


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    projects_conversations_events,
    generations,
    generations_in_full,
    branches_and_reasons,
]
"""Number N (counted from 1) brings schema N-1 to N; `PRAGMA user_version` holds the last one applied."""
