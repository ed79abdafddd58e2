"""The main job with a running app: the same commands, the same answers, and a switch that the app sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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


@pytest.fixture
def app(embedder: None) -> Iterator[subprocess.Popen[str]]:
    """A served app on a free port, as a user's process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gardener.cli.main", "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err


def wait_for_vectors(project: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = run_json("status")
        if status["project"] == project and status["vectors"] == status["contents"] > 0:
            return
        time.sleep(0.3)
    raise AssertionError(f"the app made no vectors: {status}")


def test_the_main_job_through_the_app(
    app: subprocess.Popen[str], json_project: Path, tmp_path: Path, home: Path
) -> None:
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
    run("add", str(tmp_path / "shop"))
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


def test_a_second_app_is_refused_ui_finds_the_first_and_stop_ends_it(app: subprocess.Popen[str]) -> None:
    assert str(app.pid) in run("serve", "--port", "0", code=7).stderr
    opened = run_json("ui", "--no-browser")
    assert opened["pid"] == app.pid
    assert opened["link"].startswith(opened["url"] + "/enter/")
    assert run_json("stop")["stopped"] == app.pid
    assert app.wait(20) == 0
    assert run_json("stop")["stopped"] is None


def test_ui_starts_an_app(embedder: None) -> None:
    opened = run_json("ui", "--no-browser")
    try:
        assert run_json("status")["app"]["pid"] == opened["pid"]
    finally:
        run("stop")


def test_a_killed_app_leaves_nothing_in_the_way(app: subprocess.Popen[str], json_project: Path) -> None:
    run("add", str(json_project))
    app.send_signal(signal.SIGKILL)
    app.wait()
    assert run_json("status")["app"] is None
    assert run_json("search", "decode")["hits"]
    opened = run_json("ui", "--no-browser")
    assert opened["pid"] != app.pid
    os.kill(opened["pid"], signal.SIGTERM)


def test_a_token_opens_the_api_until_it_is_revoked(app: subprocess.Popen[str], home: Path) -> None:
    import httpx

    url = run_json("status")["app"]["url"]
    token = run("token", "create", "editor").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    assert [entry["name"] for entry in run_json("token", "list")["tokens"]] == ["editor"]
    assert all(token.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())
    run("token", "create", "editor", code=1)
    run("token", "revoke", "editor")
    assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 401
    run("token", "revoke", "editor", code=4)


def test_the_same_options_with_and_without_the_app(
    app: subprocess.Popen[str], json_project: Path, json_embeddings: None, tmp_path: Path
) -> None:
    run("add", str(json_project), "--name", "json", "--wait")
    (tmp_path / "unindexed").mkdir()
    by_symbol = run_json("search", "--symbol", "raw_decode")["hits"]
    assert [hit["symbol"] for hit in by_symbol] == ["JSONDecoder.raw_decode"]
    assert len(run_json("ask", "how are strings decoded?", "--limit", "2")["receipt"]["retrieved"]) == 2
    batch = tmp_path / "batch.jsonl"
    batch.write_text('{"id": 1, "query": ""}\n{"id": 2, "query": "raw_decode"}\n')
    answers = run("search", "--batch", str(batch), "--json", code=2).stdout.splitlines()
    assert [bool(json.loads(line).get("hits")) for line in answers] == [False, True]
    report = run_json("index", "--rebuild", "--no-vectors")
    assert report["index"]["reason"] == "asked for"
    assert run_json("status")["embedded_fraction"] == 1.0
    run("stop")
    assert [hit["symbol"] for hit in run_json("search", "--symbol", "raw_decode")["hits"]] == ["JSONDecoder.raw_decode"]
    answers = run("search", "--batch", str(batch), "--json", code=2).stdout.splitlines()
    assert [bool(json.loads(line).get("hits")) for line in answers] == [False, True]
