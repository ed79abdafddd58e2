"""What was made with a newer version, carried over into the state of an older one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gardener.paths import Paths
from gardener.state import State
from gardener.upgrade.carry import carry_over, carry_rows


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Paths, Paths]:
    """A newer home that grew from an older one: two projects with a conversation each."""
    older = Paths(str(tmp_path / "older")).ensure()
    with State(older.state_db) as state:
        for number in ("1", "2"):
            add_project(state, number, f"p{number}")
            with state.write() as connection:
                connection.execute(
                    "INSERT INTO conversations (id, project_id, title, created_at, updated_at) VALUES (?, ?, ?, 1, 1)",
                    (number * 8, number * 12, f"talk {number}"),
                )
                connection.execute(
                    "INSERT INTO messages (conversation_id, project_id, role, content, created_at)"
                    " VALUES (?, ?, 'user', ?, 1)",
                    (number * 8, number * 12, f"question {number}"),
                )
    newer = Paths(str(tmp_path / "newer")).ensure()
    with closing(sqlite3.connect(older.state_db)) as source, closing(sqlite3.connect(newer.state_db)) as target:
        source.backup(target)
        target.executescript(
            "ALTER TABLE conversations ADD COLUMN mood TEXT NOT NULL DEFAULT '';"
            "CREATE TABLE moods (name TEXT PRIMARY KEY); PRAGMA user_version = 99"
        )
    return older, newer


def add_project(state: State, number: str, name: str) -> None:
    with state.write() as connection:
        connection.execute(
            "INSERT INTO projects (id, name, name_key, root, created_at, last_used_at) VALUES (?, ?, ?, ?, 1, 1)",
            (number * 12, name, name, f"/{name}"),
        )


def change(paths: Paths, *statements: str) -> None:
    with closing(sqlite3.connect(paths.state_db)) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            database.execute(statement)


def column(paths: Paths, query: str) -> list[object]:
    with closing(sqlite3.connect(paths.state_db)) as database:
        return [row[0] for row in database.execute(query)]


def test_rows_that_were_added_changed_and_deleted(homes: tuple[Paths, Paths]) -> None:
    older, newer = homes
    change(
        newer,
        "UPDATE messages SET feedback = 1 WHERE content = 'question 1'",
        "INSERT INTO messages (conversation_id, project_id, role, content, created_at)"
        " VALUES ('11111111', '111111111111', 'assistant', 'answer 1', 2)",
        "DELETE FROM projects WHERE id = '222222222222'",
        "UPDATE conversations SET mood = 'merry'",
        "INSERT INTO moods VALUES ('merry')",
    )
    counts, left = carry_rows(newer.state_db, older.state_db)
    assert counts == {"projects": 1, "conversations": 1, "messages": 3}
    assert sorted(left) == [
        "the column mood of conversations, which this version does not know",
        "the table moods, which this version does not know",
    ]
    assert column(older, "SELECT content FROM messages ORDER BY id") == ["question 1", "answer 1"]
    assert column(older, "SELECT feedback FROM messages ORDER BY id") == [1, 0]
    assert column(older, "SELECT rowid FROM messages_words WHERE messages_words MATCH 'answer'"), "it can be searched"
    assert b"question 2" not in Path(older.state_db).read_bytes(), "what was deleted since is really gone"
    with State(older.state_db) as state:
        assert not state.check()


def test_names_that_went_from_one_project_to_another(homes: tuple[Paths, Paths]) -> None:
    older, newer = homes
    change(
        newer,
        "UPDATE projects SET name = 'x', name_key = 'x' WHERE id LIKE '1%'",
        "UPDATE projects SET name = 'p1', name_key = 'p1' WHERE id LIKE '2%'",
        "UPDATE projects SET name = 'p2', name_key = 'p2' WHERE id LIKE '1%'",
    )
    assert carry_rows(newer.state_db, older.state_db)[1] == []
    assert column(older, "SELECT name FROM projects ORDER BY id") == ["p2", "p1"]


def test_a_row_that_the_older_version_refuses_is_named_and_nothing_refers_to_it(homes: tuple[Paths, Paths]) -> None:
    older, newer = homes
    with closing(sqlite3.connect(newer.state_db)) as database, database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("UPDATE messages SET role = 'tool', id = 7 WHERE content = 'question 2'")
    _, left = carry_rows(newer.state_db, older.state_db)
    assert len(left) == 1 and left[0].startswith("row 7 of messages: CHECK constraint failed")
    assert column(older, "SELECT content FROM messages") == ["question 1"]


def test_files_of_projects_follow(homes: tuple[Paths, Paths]) -> None:
    older, newer = homes
    for paths, grown in ((older, ""), (newer, "second\n")):
        home = Path(paths.project_home("111111111111"))
        home.mkdir(parents=True)
        (home / "evaluations.jsonl").write_text("first\n" + grown)
        (home / "adapter.json").write_text("older" if paths is older else "newer, and longer")
    (Path(newer.project_home("111111111111")) / "adapters").mkdir()
    (Path(newer.project_home("111111111111")) / "adapters" / "made-since").write_text("new")
    (Path(newer.project_home("111111111111")) / "index").mkdir()
    (Path(newer.project_home("111111111111")) / "index" / "rows").write_text("derived")
    Path(older.project_home("222222222222")).mkdir()
    Path(newer.trash, "222222222222").mkdir(parents=True)
    Path(newer.config).write_text("config_version = 1\n\n[search]\nlimit = 9\n")
    done = carry_over(newer, older.home)
    home = Path(older.project_home("111111111111"))
    assert (home / "evaluations.jsonl").read_text() == "first\nsecond\n"
    assert (home / "adapters" / "made-since").read_text() == "new" and done.files == 2
    assert not (home / "index").exists()
    assert (home / "adapter.json").read_text() == "older"
    assert done.left == [
        "the changes to projects/111111111111/adapter.json",
        "the index of p1, which is made anew by `gardener index`",
    ]
    assert Path(older.trash, "222222222222").is_dir() and not Path(older.project_home("222222222222")).exists()
    assert "limit = 9" in Path(older.config).read_text()
    Path(newer.config).write_text("config_version = 99\n")
    assert "does not understand" in carry_over(newer, older.home).left[-2]
    assert "limit = 9" in Path(older.config).read_text()
