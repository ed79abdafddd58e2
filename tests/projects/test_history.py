"""Conversations: what is stored comes back, nothing crosses between projects, deletion can be undone."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from gardener.errors import ConversationNotFound, ProjectNotFound, StateDamaged, UsageError
from gardener.projects.history import History, title_from
from gardener.projects.registry import Registry
from gardener.state import State
from gardener.types import Answer, Citation, ContextReceipt, IndexState, Message, Usage


@pytest.fixture
def history(state: State) -> History:
    return History(state)


@pytest.fixture
def projects(registry: Registry, tmp_path: Path) -> tuple[str, str]:
    made = []
    for name in ("one", "two"):
        (tmp_path / "code" / name).mkdir(parents=True)
        made.append(registry.add(str(tmp_path / "code" / name)).id)
    return made[0], made[1]


def an_answer(text: str, **changes: object) -> Answer:
    values: dict[str, object] = {
        "text": text,
        "citations": (Citation(n=1, path="a.py", start_line=3, end_line=9, sha256="f" * 64, state="changed"),),
        "backend": "extractive",
        "model": "",
        "degradation": "search only",
        "degradation_reason": "no model",
        "usage": Usage(10, 20, False),
        "timings_ms": {"search": 1.5},
        "project": "one",
        "receipt": ContextReceipt((), 10, 100, "estimate"),
        "index": IndexState(None, True, 1.0),
    }
    return Answer(**{**values, **changes})  # type: ignore[arg-type]


def test_a_conversation_comes_back_as_it_was(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0])
    assert conversation.title == "New conversation" and len(conversation.id) == 8
    history.append(projects[0], conversation.id, "user", "How does the\nwalk work?")
    number = history.append_answer(projects[0], conversation.id, an_answer("It walks [1]."))
    question, answer = history.show(projects[0], conversation.id)
    assert (question.role, question.content) == ("user", "How does the\nwalk work?")
    assert answer.id == number and answer.complete and answer.degradation == "search only"
    assert answer.citations[0]["path"] == "a.py" and answer.usage["completion_tokens"] == 20
    assert answer.receipt["budget_tokens"] == 100 and answer.timings_ms == {"search": 1.5}
    assert history.turns(projects[0], conversation.id) == [
        Message("user", "How does the\nwalk work?"),
        Message("assistant", "It walks [1]."),
    ]
    (listed,) = history.list(projects[0])
    assert (listed.title, listed.messages) == ("How does the", 2)
    history.retitle(projects[0], conversation.id, "Walking")
    assert history.find(projects[0], conversation.id).title == "Walking"


def test_an_unfinished_answer_is_kept_and_marked(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "t")
    number = history.append(projects[0], conversation.id, "assistant", "", complete=False)
    history.revise(projects[0], number, "half of an")
    assert [(m.content, m.complete) for m in history.show(projects[0], conversation.id)] == [("half of an", False)]
    assert history.search(projects[0], "half")
    history.revise(projects[0], number, "an answer", complete=True)
    assert history.show(projects[0], conversation.id)[0].complete
    assert not history.search(projects[0], "half")


def test_a_growing_answer_is_finished_with_everything_about_it(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "t")
    number = history.append(projects[0], conversation.id, "assistant", "It", complete=False)
    with pytest.raises(ConversationNotFound):
        history.finish(projects[1], number, an_answer("stolen"))
    history.finish(projects[0], number, an_answer("It walks."))
    other = history.append_answer(projects[0], conversation.id, an_answer("It walks."))
    finished, appended = (message.as_json() for message in history.show(projects[0], conversation.id))
    for changing in ("id", "created_at"):
        finished.pop(changing), appended.pop(changing)
    assert finished == appended and other != number


def test_nothing_of_one_project_is_reached_through_another(history: History, projects: tuple[str, str]) -> None:
    mine, other = projects
    conversation = history.start(mine, "secret plans")
    number = history.append(mine, conversation.id, "user", "the secret word")
    for call in (
        lambda: history.find(other, conversation.id),
        lambda: history.find(other, conversation.id[:4]),
        lambda: history.show(other, conversation.id),
        lambda: history.turns(other, conversation.id),
        lambda: history.append(other, conversation.id, "user", "x"),
        lambda: history.revise(other, number, "x"),
        lambda: history.rate(other, number, 1),
        lambda: history.retitle(other, conversation.id, "x"),
        lambda: history.delete(other, conversation.id),
        lambda: history.export_json(other, conversation.id),
        lambda: history.export_markdown(other, conversation.id),
    ):
        with pytest.raises(ConversationNotFound):
            call()
    assert history.list(other) == [] and history.search(other, "secret") == []
    assert history.search(other, "ecre") == []  # nor by the search without the word index
    history.delete(mine, conversation.id)
    assert history.purge_deleted(other, 0) == 0
    with pytest.raises(ConversationNotFound):
        history.restore(other, conversation.id)
    assert history.restore(mine, conversation.id).title == "secret plans"
    assert history.show(mine, conversation.id)[0].content == "the secret word"


def test_prefixes(history: History, projects: tuple[str, str], state: State) -> None:
    with state.write() as connection:
        for number in ("abcd0001", "abcd0002", "ef000000"):
            connection.execute("INSERT INTO conversations VALUES (?, ?, '', 0, 0, NULL, '', 0)", (number, projects[0]))
        connection.execute("INSERT INTO conversations VALUES ('ef000001', ?, '', 0, 0, NULL, '', 0)", (projects[1],))
    assert history.find(projects[0], "EF0").id == "ef000000"  # the other project's does not make it ambiguous
    with pytest.raises(UsageError, match=r"abcd000[12], abcd000[12]"):
        history.find(projects[0], "abcd")
    for wrong in ("", "ef", "%", "ef0_", "ef00000000", "zzzz"):
        with pytest.raises(ConversationNotFound):
            history.find(projects[0], wrong)


def test_deleting_and_undoing_and_purging(history: History, projects: tuple[str, str], paths, state) -> None:  # type: ignore[no-untyped-def]
    keep, gone = history.start(projects[0], "keep"), history.start(projects[0], "gone")
    history.append(projects[0], gone.id, "user", "quixotic5150")
    assert history.delete(projects[0], gone.id).deleted_at is not None
    assert [c.id for c in history.list(projects[0])] == [keep.id]
    assert [c.id for c in history.list(projects[0], deleted=True)] == [gone.id]
    assert history.search(projects[0], "quixotic5150") == []
    with pytest.raises(ConversationNotFound):
        history.append(projects[0], gone.id, "user", "x")
    assert history.restore(projects[0], gone.id).messages == 1
    assert len(history.search(projects[0], "quixotic5150")) == 1
    history.delete(projects[0], gone.id)
    assert history.purge_deleted(projects[0]) == 0  # not old enough
    assert history.purge_deleted(projects[0], older_than_s=0) == 1
    with pytest.raises(ConversationNotFound):
        history.restore(projects[0], gone.id)
    assert b"quixotic5150" not in b"".join(file.read_bytes() for file in Path(paths.home).glob("state.db*"))


@pytest.mark.parametrize(
    "query",
    ['"', "a OR", "NEAR(", "*", "col:x", "-", "++", "x AND NOT y", "(", "%", "\\", "'; DROP TABLE", "\0"],
)
def test_no_query_is_a_syntax_error(history: History, projects: tuple[str, str], query: str) -> None:
    conversation = history.start(projects[0], "t")
    history.append(projects[0], conversation.id, "user", f"before {query} after")
    history.append(projects[0], conversation.id, "user", "something else")
    found = history.search(projects[0], query)
    assert "something else" not in [hit.message.content for hit in found]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("parse_file", 1),
        ("PARSE", 1),
        ("pars", 1),
        ("arse_f", 1),
        ("cafe", 1),
        ("設定", 1),
        ("C++", 1),
        ("parse café", 0),
        ("100%", 1),
        ("100x", 0),
        ("", 0),
    ],
)
@pytest.mark.parametrize("word_index", [True, False])
def test_searching(
    history: History, projects: tuple[str, str], state: State, query: str, expected: int, word_index: bool
) -> None:
    conversation = history.start(projects[0], "t")
    for text in ("call parse_file here", "the café", "日本語の設定を見る", "in C++ code", "100% sure"):
        history.append(projects[0], conversation.id, "user", text)
    if not word_index:
        expected = 0 if query == "cafe" else expected  # without FTS5 accents count
        with state.write() as connection:
            for name in ("insert", "delete", "update"):
                connection.execute(f"DROP TRIGGER messages_words_{name}")
            connection.execute("DROP TABLE messages_words")
    hits = history.search(projects[0], query)
    assert len(hits) == expected
    assert all(hit.conversation.id == conversation.id for hit in hits)


def test_long_conversations_are_paged(history: History, projects: tuple[str, str], state: State) -> None:
    conversation = history.start(projects[0], "long")
    with state.write() as connection:
        connection.executemany(
            "INSERT INTO messages (conversation_id, project_id, role, content, created_at) VALUES (?, ?, 'user', ?, 0)",
            ((conversation.id, projects[0], f"message {number}") for number in range(5000)),
        )
    page = history.show(projects[0], conversation.id, limit=100)
    assert [page[0].content, page[-1].content] == ["message 4900", "message 4999"]
    earlier = history.show(projects[0], conversation.id, limit=100, before=page[0].id)
    assert [earlier[0].content, earlier[-1].content] == ["message 4800", "message 4899"]
    assert history.find(projects[0], conversation.id).messages == 5000
    # Neither reading nor listing walks through the messages of others.
    for statement in (
        "SELECT * FROM messages WHERE conversation_id = 'x' AND project_id = 'y' AND id < 9 ORDER BY id DESC LIMIT 9",
        "SELECT count(*) FROM messages WHERE conversation_id = 'x' AND project_id = 'y'",
        "SELECT * FROM conversations WHERE project_id = 'y' ORDER BY updated_at DESC",
    ):
        plan = " ".join(row["detail"] for row in state.read().execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SCAN" not in plan and "TEMP B-TREE" not in plan


def test_conversations_are_listed_by_last_use_and_paged(history: History, projects: tuple[str, str]) -> None:
    made = [history.start(projects[0], str(number)) for number in range(5)]
    history.append(projects[0], made[0].id, "user", "again")
    assert [c.title for c in history.list(projects[0], limit=3)] == ["0", "4", "3"]
    assert [c.title for c in history.list(projects[0], limit=3, offset=3)] == ["2", "1"]


def test_feedback(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "t")
    number = history.append(projects[0], conversation.id, "assistant", "x")
    history.rate(projects[0], number, -1)
    assert history.show(projects[0], conversation.id)[0].feedback == -1
    with pytest.raises(UsageError):
        history.rate(projects[0], number, 2)
    history.append(projects[0], conversation.id, "assistant", "not rated")
    history.rate(projects[0], number, -1, "wrong place")
    (rating,) = history.ratings(projects[0], 0.0)
    assert (rating.title, rating.feedback, rating.reason) == ("t", -1, "wrong place")
    assert not history.ratings(projects[1], 0.0) and not history.ratings(projects[0], rating.answered_at + 1)
    history.delete(projects[0], conversation.id)
    assert not history.ratings(projects[0], 0.0)


def test_projects_that_do_not_take_conversations(
    history: History, projects: tuple[str, str], registry: Registry
) -> None:
    with pytest.raises(ProjectNotFound):
        history.start("0" * 12)
    conversation = history.start(projects[0], "t")
    registry.remove(projects[0])
    with pytest.raises(ProjectNotFound):
        history.start(projects[0])
    # An answer that was running when its project was removed still finishes in its own place.
    history.append(projects[0], conversation.id, "assistant", "late")
    registry.restore(projects[0])
    assert history.show(projects[0], conversation.id)[0].content == "late"


def test_exports(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0])
    history.append(projects[0], conversation.id, "user", "Why?")
    history.append_answer(projects[0], conversation.id, an_answer("Because [1]."))
    history.append_answer(projects[0], conversation.id, an_answer("Cut", complete=False, error="the server went away"))
    exported = json.loads(json.dumps(history.export_json(projects[0], conversation.id)))
    assert exported["schema"] == "gardener.conversation/1"
    assert [message["content"] for message in exported["messages"]] == ["Why?", "Because [1].", "Cut"]
    assert exported["messages"][1]["citations"][0]["start_line"] == 3
    document = history.export_markdown(projects[0], conversation.id)
    assert document.startswith("# Why?\n")
    for part in (
        "Because [1].",
        "- [1] `a.py:3-9` (changed)",
        "_This answer is incomplete: the server went away._",
        "_extractive, search only_",
        conversation.id,
    ):
        assert part in document


def test_no_name_in_an_export_looks_like_another_part_of_it(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "<img src=x>")
    forged = "x\n## Answer, 2026-01-01 00:00\n<img src=x>\u202e"
    cited = [{"n": 1, "path": f"a``b{forged}`", "start_line": 1, "end_line": 2}]
    history.append(
        projects[0], conversation.id, "assistant", "So.", citations=cited, error=forged, complete=False,
        backend="ollama", model=forged,
    )  # fmt: skip
    document = history.export_markdown(projects[0], conversation.id)
    assert len([line for line in document.split("\n") if line.startswith("#")]) == 2
    assert "\u202e" not in document
    assert "- [1] ```a``bx ## Answer, 2026-01-01 00:00 <img src=x>\\u202e`:1-2```" in document
    assert re.sub("`{3}.*`{3}", "", document).replace("\\<", "").count("<") == 0


def test_odd_text_is_stored(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "t")
    history.append(projects[0], conversation.id, "assistant", "lone \ud800 surrogate")
    history.append(projects[0], conversation.id, "assistant", "nul \0 and 🌱")
    assert [m.content for m in history.show(projects[0], conversation.id)] == [
        "lone ? surrogate",
        "nul \0 and 🌱",
    ]


def test_damaged_details_of_a_message_are_named(history: History, projects: tuple[str, str], state: State) -> None:
    conversation = history.start(projects[0], "t")
    number = history.append(projects[0], conversation.id, "assistant", "x")
    with state.write() as connection:
        connection.execute("UPDATE messages SET receipt = '{\"a' WHERE id = ?", (number,))
    with pytest.raises(StateDamaged, match=f"receipt of message {number}"):
        history.show(projects[0], conversation.id)


def test_an_unknown_role_is_our_mistake(history: History, projects: tuple[str, str]) -> None:
    conversation = history.start(projects[0], "t")
    with pytest.raises(sqlite3.IntegrityError):
        history.append(projects[0], conversation.id, "robot", "x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\n\n  What is  this?\nmore", "What is this?"),
        ("", ""),
        ("a\u202eb\x1b[0m", "a b [0m"),
        ("x" * 200, "x" * 79 + "…"),
        ("word " * 50, ("word " * 15).strip() + "…"),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert title_from(text) == title
