"""/api/projects and what belongs to a project: the same core functions as the command line, as JSON."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gardener.app import Gardener
from tests.chat_samples import ScriptedBackend
from tests.conftest import home_with
from tests.serving import Served, serving, write_project


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Iterator[Served]:
    """An app of this module's own: projects come and go here."""
    gardener = Gardener(str(home_with(exported_models, tmp_path_factory.mktemp("own"))))
    with serving(gardener) as served:
        yield served
    gardener.close()


@pytest.fixture
def http(app: Served) -> Iterator[httpx.Client]:
    with app.http() as client:
        yield client


def ended(http: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that a job says, read from its event stream to the end."""
    text = http.get(f"/api/jobs/{job['job']}/events").text
    return [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


def test_a_folder_is_looked_at_then_added_renamed_removed_and_brought_back(
    http: httpx.Client, tmp_path: Path, app: Served
) -> None:
    root = write_project(tmp_path / "lamp", "lamp")
    (root / "keys.py").write_text('AWS = "AKIAIOSFODNN7EXAMPLF"\n')
    (root / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    started = http.post("/api/projects/preview", json={"path": str(root), "exclude": ["README.md"]})
    assert started.status_code == 202
    report = ended(http, started.json())[-1]
    assert report["event"] == "report"
    assert report["files"] == 2
    assert [share["language"] for share in report["languages"]] == ["python"]
    assert {left["reason"] for left in report["left_out"]} >= {"binary-extension"}
    assert report["secrets"] == 1 and report["secret_files"][0][0] == "keys.py"
    assert http.get("/api/projects").json()["projects"] == []  # looking registers nothing

    added = http.post("/api/projects", json={"path": str(root), "vectors": False})
    assert added.status_code == 201
    assert added.json()["active"] is True
    assert ended(http, added.json()["job"])[-1]["files"] == 3
    project = added.json()["project"]["id"]

    assert http.post(f"/api/projects/{project}/rename", json={"name": "candle"}).json()["project"]["name"] == "candle"
    one = http.get("/api/projects/candle").json()
    assert one["project"]["files"] == 3 and one["index"]["fresh"] is True
    assert http.post("/api/projects/candle/trust", json={"trusted": True}).json()["project"]["trusted"] is True
    assert http.get("/api/settings/index.exclude", params={"project": "candle"}).json()["value"] == []

    assert http.post("/api/projects/candle/remove").json()["purged"] is False
    assert http.get("/api/projects").json() == {"projects": [], "active": None}
    removed = http.get("/api/projects", params={"removed": True}).json()["projects"]
    assert [(one["name"], one["state"]) for one in removed] == [("candle", "removed")]
    restored = http.post("/api/projects/candle/restore")
    assert restored.status_code == 200, restored.text
    assert restored.json()["project"]["id"] == project
    refused = http.post("/api/projects/candle/purge", json={"confirm": "lamp"})
    assert refused.status_code == 400
    said = app.edge.jobs.find(project)
    assert said and http.post("/api/projects/candle/purge", json={"confirm": "candle"}).json()["purged"] is True
    for job in said:  # what they said goes as they end, with the next look at which projects there are
        deque(job.tail(), maxlen=0)
    deadline = time.monotonic() + 120
    while {http.get(f"/api/jobs/{job.id}").status_code for job in said} != {404}:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    assert root.exists() and http.get("/api/projects", params={"removed": True}).json()["projects"] == []


@pytest.mark.parametrize("path", ["src", "../..", ""])
def test_a_relative_folder_is_refused(http: httpx.Client, path: str) -> None:
    for route in ("/api/projects", "/api/projects/preview"):
        assert http.post(route, json={"path": path}).status_code in (400, 422)


def test_the_whole_disk_is_not_looked_at_by_accident(http: httpx.Client) -> None:
    for path in ("/", "~"):
        assert http.post("/api/projects/preview", json={"path": path}).status_code == 400


def test_a_project_removed_while_it_answers(http: httpx.Client, tmp_path: Path, app: Served) -> None:
    held, free = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        held.set()
        assert free.wait(120)

    app.gardener.backends.register("scripted", lambda: ScriptedBackend(on_event=wait))
    added = http.post("/api/projects", json={"path": str(write_project(tmp_path / "torch", "torch"))}).json()
    ended(http, added["job"])
    job = http.post("/api/ask", json={"question": "How is the torch lit?"}).json()
    assert held.wait(120)
    removed = http.post("/api/projects/torch/remove")
    assert removed.status_code == 200, removed.text
    free.set()
    events = ended(http, job)
    assert http.get(f"/api/jobs/{job['job']}").json()["state"] in ("cancelled", "failed")
    assert "internal" not in [event["error"]["code"] for event in events if event["event"] == "error"]
    after = http.post("/api/search", json={"query": "torch", "project": "torch"})
    assert (after.status_code, after.json()["error"]["code"]) == (404, "project-not-found")
    assert "trash" in after.json()["error"]["message"]
    back = http.post("/api/projects/torch/restore").json()["project"]
    assert http.post("/api/search", json={"query": "torch", "project": back["id"]}).json()["hits"]
    kept = http.get("/api/conversations", params={"project": "torch"}).json()["conversations"]
    shown = http.get(f"/api/conversations/{kept[0]['id']}", params={"project": "torch"}).json()["messages"]
    assert shown[0]["content"] == "How is the torch lit?"


def test_settings_have_their_origin_and_are_checked(http: httpx.Client) -> None:
    before = http.get("/api/settings/search.limit").json()
    assert (before["set"], before["origin"]["layer"]) == (False, "default")
    changed = http.post("/api/settings/set", json={"key": "search.limit", "value": before["default"] + 1}).json()
    assert (changed["value"], changed["origin"]["layer"]) == (before["default"] + 1, "user file")
    for value in ("many", -1, True):
        wrong = http.post("/api/settings/set", json={"key": "search.limit", "value": value})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "config"), value
    assert http.post("/api/settings/set", json={"key": "search.limits", "value": 3}).status_code == 404
    listed = {one["key"]: one["value"] for one in http.get("/api/settings").json()["settings"]}
    assert listed["search.limit"] == before["default"] + 1
    unset = http.post("/api/settings/unset", json={"key": "search.limit"}).json()
    assert (unset["was_set"], unset["value"]) == (True, before["default"])


def test_tokens_are_listed_without_their_secret_and_end_at_once(http: httpx.Client, app: Served) -> None:
    token = app.edge.access.create_client("editor")
    with app.stranger(Authorization=f"Bearer {token}") as editor:
        assert editor.get("/v1/models").status_code == 200
        listed = http.get("/api/tokens")
        assert [one["name"] for one in listed.json()["tokens"]] == ["editor"]
        assert token not in listed.text and "digest" not in listed.text
        assert http.post("/api/tokens/revoke", json={"name": "editor"}).status_code == 200
        assert editor.get("/v1/models").status_code == 401
    assert http.post("/api/tokens/revoke", json={"name": "editor"}).status_code == 404


def test_models_adapters_embedder_usage_disk_and_health_are_what_the_command_line_shows(
    http: httpx.Client, tmp_path: Path
) -> None:
    added = http.post("/api/projects", json={"path": str(write_project(tmp_path / "wick", "wick"))}).json()
    ended(http, added["job"])
    recommended = http.get("/api/models/recommend", params={"runtime": "ollama"}).json()
    assert recommended["models"] and recommended["budget_bytes"] > 0
    first = recommended["models"][0]["id"]
    checked = http.get("/api/models/check", params={"name": first, "runtime": "ollama"}).json()
    assert checked["fit"] == recommended["models"][0]["fit"]
    unknown = http.get("/api/models/check", params={"name": first + "x"})
    assert unknown.status_code == 404 and "Did you mean" in unknown.json()["error"]["message"]
    assert set(http.get("/api/models").json()) == {"models", "problems"}
    assert http.post("/api/models/use", json={"name": "nothing-of-that-name"}).status_code == 404
    assert http.get("/api/adapters", params={"project": "wick"}).json()["adapters"] == []
    assert http.post("/api/adapters/use", json={"name": "none", "project": "wick"}).status_code in (404, 503)
    assert http.post("/api/adapters/off", json={"project": "wick"}).json()["was"] == ""
    assert http.get("/api/embedder").json()["embedder"] == "packaged"
    assert http.post("/api/embedder/cancel").status_code == 404
    leaving = {"spec": "openai:text-embedding-3-small", "url": "https://api.example.com/v1"}
    refused = http.post("/api/embedder/use", json=leaving)
    assert refused.status_code == 400 and "api.example.com" in refused.json()["error"]["message"]
    assert http.get("/api/embedder").json()["embedder"] == "packaged"
    assert http.get("/api/usage", params={"by": "model", "days": 1}).json()["today"]
    assert http.get("/api/disk").json()["projects"]
    findings = http.get("/api/health").json()
    assert findings["ok"] is True and {one["check"] for one in findings["findings"]}
    assert ended(http, http.post("/api/health", json={"deep": False}).json())[-1]["findings"]
    assert ended(http, http.post("/api/disk/clean").json())[-1]["event"] == "report"
    assert http.get("/api/evaluations", params={"project": "wick"}).json()["evaluations"] == []


def test_an_evaluation_is_a_job_that_can_be_cancelled_and_says_what_is_missing(
    http: httpx.Client, tmp_path: Path
) -> None:
    root = tmp_path / "mute"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    added = http.post("/api/projects", json={"path": str(root)}).json()
    ended(http, added["job"])
    last = ended(http, http.post("/api/evaluate", json={"project": "mute", "words_only": True}).json())[-1]
    assert last["event"] == "error" and last["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/api/projects", {"path": "/tmp", "nmae": "x"}),
        ("/api/projects/x/rename", {"name": ["x"]}),
        ("/api/settings/set", {"key": "search.limit", "value": {"a": 1}}),
        ("/api/tokens/revoke", {}),
        ("/api/train", {"steps": 0}),
        ("/api/embedder/use", {"spec": 5}),
        ("/api/models/pull", {"name": "x\u0000"}),
        ("/api/search", {"query": "half \ud800 a pair"}),
        ("/api/messages/1/feedback", {"feedback": 2}),
        ("/api/messages/1/feedback", {"feedback": True}),
        ("/api/search", {"query": "x", "limit": "9"}),
        ("/api/search", {"query": "x", "limit": True}),
        ("/api/search", {"query": "x", "limit": 9.0}),
        ("/api/search", {"query": "x", "no_tests": "yes"}),
        ("/api/index", {"rebuild": 1}),
        ("/api/train", {"learning_rate": "0.1"}),
        ("/api/maintenance", {"seconds": "60"}),
    ],
)
def test_wrong_bodies_are_refused_and_say_why(http: httpx.Client, route: str, body: dict[str, Any]) -> None:
    answer = http.post(route, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "invalid-request"
