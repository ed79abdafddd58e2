"""/api/conversations at sizes that happen, and /api/source on a file of a million lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gardener.app import Gardener
from gardener.server.events import JsonObject
from gardener.server.jobs import Job
from tests.serving import Served, serving, write_project

MESSAGES = 5_000
LONG = "The lantern burns. " * 270_000
"""5.1 million characters."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    base = tmp_path_factory.mktemp("long")
    gardener = Gardener(str(base / "home"), flags={"index.max_file_bytes": 10_000_000})
    root = write_project(base / "lantern")
    (root / ".gardenerignore").write_text("lines.txt\n")
    (root / "src" / "lines.txt").write_text("".join(f"{number}\n" for number in range(1, 1_000_001)))
    context = gardener.registry.add(str(root))
    gardener.update_index(context)
    gardener.switch("lantern")
    with serving(gardener) as served:
        yield served
    gardener.close()


@pytest.fixture
def http(app: Served) -> Iterator[httpx.Client]:
    with app.http() as client:
        yield client


@pytest.fixture(scope="module")
def long_one(app: Served) -> str:
    """A conversation of 5,000 messages."""
    gardener = app.gardener
    project = gardener.context("lantern").id
    made = gardener.history.start(project, "a long one")
    with gardener.state.write() as connection:
        connection.executemany(
            "INSERT INTO messages (conversation_id, project_id, role, content, created_at, complete) "
            "VALUES (?, ?, ?, ?, ?, 1)",
            [
                (made.id, project, "assistant" if number % 2 else "user", f"message {number}", 1_800_000_000.0 + number)
                for number in range(MESSAGES)
            ],
        )
    return made.id


def test_a_conversation_of_5000_messages_is_paged_without_a_gap(http: httpx.Client, long_one: str) -> None:
    seen: list[str] = []
    before: int | None = None
    earlier = True
    while earlier:
        params = {"limit": 2_000, **({"before": before} if before else {})}
        page = http.get(f"/api/conversations/{long_one}", params=params).json()
        seen = [message["content"] for message in page["messages"]] + seen
        before, earlier = page["messages"][0]["id"], page["earlier"]
    assert seen == [f"message {number}" for number in range(MESSAGES)]
    newest = http.get(f"/api/conversations/{long_one}", params={"limit": 2}).json()
    assert [message["content"] for message in newest["messages"]] == ["message 4998", "message 4999"]
    assert newest["conversation"]["messages"] == MESSAGES
    exported = http.get(f"/api/conversations/{long_one}/export", params={"format": "json"}).json()
    assert len(exported["messages"]) == MESSAGES


def test_a_conversation_is_renamed_branched_rated_deleted_and_brought_back(http: httpx.Client, long_one: str) -> None:
    messages = http.get(f"/api/conversations/{long_one}", params={"limit": 3}).json()["messages"]
    renamed = http.post(f"/api/conversations/{long_one}/rename", json={"title": "about <b>lanterns</b>"}).json()
    assert renamed["conversation"]["title"] == "about <b>lanterns</b>"
    branched = http.post(f"/api/conversations/{long_one}/branch", json={"before": messages[0]["id"]})
    assert branched.status_code == 201
    assert branched.json()["conversation"]["shared"] == MESSAGES - 3
    rated = http.post(
        f"/api/messages/{messages[-1]['id']}/feedback", json={"feedback": -1, "reason": "it is of brass"}
    ).json()["message"]
    assert (rated["feedback"], rated["feedback_reason"]) == (-1, "it is of brass")
    gone = branched.json()["conversation"]["id"]
    assert http.post(f"/api/conversations/{gone}/delete").json()["deleted"]["id"] == gone
    assert http.get(f"/api/conversations/{gone}").status_code == 404
    assert [one["id"] for one in http.get("/api/conversations?deleted=true").json()["conversations"]] == [gone]
    assert http.post(f"/api/conversations/{gone}/restore").json()["restored"]["id"] == gone
    hits = http.get("/api/conversations/search", params={"q": "4321", "limit": 5}).json()["hits"]
    assert {hit["message"]["content"] for hit in hits} == {"message 4321"}
    assert http.post("/api/messages/999999999/feedback", json={"feedback": 1}).status_code == 404


def test_an_answer_of_5_mb_arrives_whole(http: httpx.Client, app: Served) -> None:
    history, project = app.gardener.history, app.gardener.context("lantern").id
    made = history.start(project, "long")
    history.append(project, made.id, "assistant", LONG)
    shown = http.get(f"/api/conversations/{made.id}").json()["messages"]
    assert [len(message["content"]) for message in shown] == [len(LONG)]
    assert LONG.rstrip() in http.get(f"/api/conversations/{made.id}/export").text


def test_5_mb_are_streamed_whole_to_a_reader_and_to_one_who_comes_later(http: httpx.Client, app: Served) -> None:
    def write(job: Job) -> Iterator[JsonObject]:
        for at in range(0, len(LONG), 10_000):
            yield {"event": "text", "text": LONG[at : at + 10_000]}

    job = app.edge.jobs.start("answer", app.gardener.context("lantern").id, "long", "how long?", write)
    for _ in ("while it is written", "afterwards"):
        said: list[str] = []
        with http.stream("GET", f"/api/jobs/{job.id}/events") as events:
            said = [json.loads(line[6:]).get("text", "") for line in events.iter_lines() if line.startswith("data: ")]
        assert "".join(said) == LONG
    half = app.edge.jobs.get(job.id).as_json()["events"] // 2
    with http.stream("GET", f"/api/jobs/{job.id}/events", params={"offset": half}) as events:
        rest = [json.loads(line[6:]).get("text", "") for line in events.iter_lines() if line.startswith("data: ")]
    assert LONG.endswith("".join(rest)) and len(rest) > half


@pytest.mark.parametrize("start", [1, 500_000, 999_990])
def test_a_window_of_a_file_of_a_million_lines(http: httpx.Client, start: int) -> None:
    found = http.get("/api/source", params={"path": "src/lines.txt", "start": start, "end": start + 9}).json()
    assert found["lines"] == [str(number) for number in range(start, start + 10)]
    assert (found["start_line"], found["total_lines"]) == (start, 1_000_000)


def test_a_file_that_cannot_be_shown_says_why(http: httpx.Client, app: Served) -> None:
    (Path(app.gardener.context("lantern").root) / "huge.txt").write_bytes(b"x\n" * 6_000_000)
    answer = http.get("/api/source", params={"path": "huge.txt", "start": 1, "end": 5}).json()
    assert (answer["exists"], answer["reason"]) == (False, "too-large")


def test_no_request_gets_a_million_lines_at_once(http: httpx.Client) -> None:
    answer = http.get("/api/source", params={"path": "src/lines.txt", "start": 1, "end": 10**12})
    assert answer.json()["lines"] == [str(number) for number in range(1, 5_001)]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "src/../../x", "src/\0", "..\\..\\x", ".git/config"])
def test_source_stays_inside_the_project(http: httpx.Client, path: str) -> None:
    answer = http.get("/api/source", params={"path": path, "start": 1, "end": 5})
    assert answer.status_code in (400, 404) or answer.json()["exists"] is False


def test_a_link_out_of_the_project_is_not_followed(http: httpx.Client, app: Served, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside\n")
    root = Path(app.gardener.context("lantern").root)
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    answer = http.get("/api/source", params={"path": "link.txt", "start": 1, "end": 5})
    assert "outside" not in answer.text.replace("link.txt", "")
