"""The main job with a running app: the same commands, the same answers, and a switch that the app sees.

Starting an app is what costs time, so that one serves all tests but the last, which kills it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gardener.paths import Paths
from gardener.server.client import AppClient, find_app


def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gardener.cli.main", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def run_json(*words: str) -> Any:
    return json.loads(run(*words, "--json").stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, exported_models: Path, json_vectors: Path) -> Path:
    made = tmp_path_factory.mktemp("with-the-app") / "home"
    shutil.copytree(exported_models, made / "models")
    shutil.copytree(json_vectors, made / "embeddings")
    for folder in (made, made / "models"):
        folder.chmod(0o700)
    return made


@pytest.fixture(scope="module", autouse=True)
def app(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A served app on a free port, as a user's process."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GARDENER_") and not name.lower().endswith("_proxy")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "gardener.cli.main", "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment | {"GARDENER_HOME": str(home), "GARDENER_OLLAMA_URL": "", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err


@pytest.fixture(autouse=True)
def same_home(own_environment: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARDENER_HOME", str(home))


def wait_for_vectors(project: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = run_json("status")
        if status["project"] == project and status["vectors"] == status["contents"] > 0:
            return
        time.sleep(0.3)
    raise AssertionError(f"the app made no vectors: {status}")


def test_the_main_job_through_the_app(json_project: Path, tmp_path: Path, home: Path) -> None:
    added = run_json("add", str(json_project), "--name", "json")
    assert added["index"]["chunks"] > 20
    assert added["vectors"]["made_by"] == "app"
    wait_for_vectors("json")

    found = run_json("search", "decode a document", "--limit", "3")
    assert found["project"] == "json"
    assert len(found["hits"]) == 3
    assert found["index"]["embedded_fraction"] == 1.0

    answer = run_json("ask", "how does raw_decode work?")
    assert answer["citations"]
    assert {citation["state"] for citation in answer["citations"]} == {"current"}
    assert answer["conversation"]
    follow = run_json("ask", "who calls it?", "--continue")
    assert follow["conversation"] == answer["conversation"]

    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "prices.py").write_text("def price_of_order(order):\n    return sum(order)\n")
    run("add", str(tmp_path / "shop"), "--wait")
    client = AppClient(find_app(Paths(str(home))))  # type: ignore[arg-type]
    assert client.request("GET", "/api/projects")["active"] == "shop"
    run("switch", "json")
    assert client.request("GET", "/api/projects")["active"] == "json"
    models = [model["id"] for model in client.request("GET", "/v1/models")["data"]]
    assert {"gardener/json", "gardener/shop", "gardener/active"} <= set(models)

    (json_project / "json" / "fresh.py").write_text("def zebra_crossing():\n    return 'stripes'\n")
    assert run_json("search", "zebra_crossing")["hits"][0]["path"] == "json/fresh.py"
    run("remove", "shop", "--purge", "--yes")
    assert client.request("GET", "/api/projects")["projects"][0]["name"] == "json"
    run("search", "x", "--project", "shop", code=4)


def test_a_second_app_is_refused_and_ui_finds_the_first(app: subprocess.Popen[str]) -> None:
    assert str(app.pid) in run("serve", "--port", "0", code=7).stderr
    opened = run_json("ui", "--no-browser")
    assert opened["pid"] == app.pid
    assert opened["link"].startswith(opened["url"] + "/enter/")


def test_a_token_opens_the_api_until_it_is_revoked(home: Path) -> None:
    import httpx

    url = run_json("status")["app"]["url"]
    token = run("token", "create", "editor").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{url}/v1/models", headers=headers, timeout=120).status_code == 200
    assert [entry["name"] for entry in run_json("token", "list")["tokens"]] == ["editor"]
    for path in home.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # the app is at work, and its files come and go
            assert token.encode() not in path.read_bytes()
    run("token", "create", "editor", code=1)
    run("token", "revoke", "editor")
    assert httpx.get(f"{url}/v1/models", headers=headers, timeout=120).status_code == 401
    run("token", "revoke", "editor", code=4)


def test_the_same_with_the_app_when_it_is_killed_and_with_the_next(
    app: subprocess.Popen[str], json_project: Path, tmp_path: Path
) -> None:
    run("add", str(json_project), "--name", "again", "--wait")
    (tmp_path / "unindexed").mkdir()
    batch = tmp_path / "batch.jsonl"
    batch.write_text('{"id": 1, "query": ""}\n{"id": 2, "query": "raw_decode"}\n')

    def finds() -> None:
        by_symbol = run_json("search", "--symbol", "raw_decode")["hits"]
        assert [hit["symbol"] for hit in by_symbol] == ["JSONDecoder.raw_decode"]
        answers = run("search", "--batch", str(batch), "--json", code=2).stdout.splitlines()
        assert [bool(json.loads(line).get("hits")) for line in answers] == [False, True]

    finds()
    assert len(run_json("ask", "how are strings decoded?", "--limit", "2")["receipt"]["retrieved"]) == 2
    report = run_json("index", "--rebuild", "--no-vectors")
    assert report["index"]["reason"] == "asked for"
    assert run_json("status")["embedded_fraction"] == 1.0

    app.kill()
    app.wait()
    assert run_json("status")["app"] is None
    finds()

    opened = run_json("ui", "--no-browser")
    assert opened["pid"] != app.pid
    assert run_json("status")["app"]["pid"] == opened["pid"]
    assert run_json("stop")["stopped"] == opened["pid"]
    assert run_json("stop")["stopped"] is None
