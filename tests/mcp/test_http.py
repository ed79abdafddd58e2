"""/mcp of the running app: real clients over HTTP, and everybody who is not one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from gardener.app import Gardener
from gardener.mcp import http
from tests.mcp.conftest import PatientBackend, session, two_projects
from tests.serving import Served, serving

GREETING: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def model() -> PatientBackend:
    return PatientBackend()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, model: PatientBackend) -> Iterator[Served]:
    with two_projects(tmp_path_factory.mktemp("http"), model) as gardener, serving(gardener) as app:
        yield app


@asynccontextmanager
async def transport(app: Served) -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {app.app.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as client,
        streamable_http_client(app.url + "/mcp", http_client=client) as streams,
    ):
        yield streams


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_session_over_http(served: Served, mode: str) -> None:
    told: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async def work(client: Client) -> tuple[Any, Any]:
        found = await client.call_tool("search", {"query": "lantern"})
        said = await client.call_tool("ask", {"question": "how is it lit?"}, progress_callback=note)
        return found.structured_content, said.structured_content

    found, said = session(transport(served), work, mode)
    assert (found["project"], found["chosen_by"]) == ("lantern", "active")  # the app's own folder is nobody's
    assert found["hits"]
    assert said["answer"].startswith("The lantern is lit")
    assert told[0] == "Searching"
    jobs = served.edge.jobs.find(kind="answer")
    assert jobs[0].about == "how is it lit?"
    timed = Path(served.gardener.paths.logs, "performance.log").read_text().splitlines()
    actors = {line["event"]: line["actor"] for line in map(json.loads, timed)}
    assert (actors["search"], actors["answer"]) == ("mcp", "mcp")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_cancelled_ask_cancels_its_job(served: Served, model: PatientBackend, mode: str) -> None:
    model.patient = True
    model.begun.clear()
    model.cancelled.clear()

    async def work(client: Client) -> None:
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await client.call_tool("ask", {"question": "is it lit?"})

            tasks.start_soon(ask)
            assert await anyio.to_thread.run_sync(model.begun.wait, 30)
            tasks.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(model.cancelled.wait, 30)

    try:
        session(transport(served), work, mode)
    finally:
        model.patient = False
    assert served.edge.jobs.find(kind="answer")[0].cancel.is_set()


def test_nobody_gets_in_without_a_token(served: Served) -> None:
    with served.stranger(**ACCEPT) as stranger:
        # Without bodies: the guard does not read what it refuses, and a body on its way then resets the connection.
        for method in ("POST", "GET", "DELETE"):
            assert stranger.request(method, "/mcp").status_code == 401
        assert stranger.post("/mcp", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_browser_gets_in_with_nothing(served: Served) -> None:
    with httpx.Client(base_url=served.url, headers=ACCEPT, trust_env=False, timeout=120) as browser:
        entered = browser.get(served.edge.browser_link().removeprefix(served.url))
        assert entered.status_code == 303
        own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
        refused = browser.post("/mcp", json=GREETING, headers=own)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "token-only")
        assert browser.get("/mcp", headers=own).status_code == 403
        foreign = {"Origin": "https://example.com", "Sec-Fetch-Site": "cross-site"}
        assert browser.post("/mcp", headers=foreign).json()["error"]["code"] == "foreign-origin"
    with served.http(**ACCEPT) as client:
        assert client.post("/mcp", headers={"Origin": "https://example.com"}).status_code == 403
        assert client.post("/mcp", headers={"Host": "example.com"}).status_code == 421


def test_what_is_no_message_is_refused_with_a_reason(served: Served) -> None:
    with served.http(**ACCEPT) as client:
        for body in (b"{", b"[]", b'"x"', b""):
            answer = client.post("/mcp", content=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, body
            assert "Traceback" not in answer.text
        assert client.post("/mcp", json=GREETING, headers={"Mcp-Session-Id": "nobody"}).status_code == 404


def test_the_path_may_end_with_a_slash_and_is_counted(served: Served) -> None:
    with served.http(**ACCEPT) as client:
        assert client.post("/mcp/", json=GREETING).status_code == 200
        assert 'route="/mcp"' in client.get("/metrics").text


def test_sessions_are_limited_and_end_with_the_app(gardener: Gardener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_SESSIONS", 1)
    with serving(gardener) as app, app.http(**ACCEPT) as client:
        first = client.post("/mcp", json=GREETING)
        assert first.status_code == 200
        assert client.post("/mcp", json=GREETING).status_code == 503
        ours = {"Mcp-Session-Id": first.headers["Mcp-Session-Id"], "Mcp-Protocol-Version": "2025-06-18"}
        assert client.delete("/mcp", headers=ours).status_code == 200
        second = client.post("/mcp", json=GREETING)
        assert second.status_code == 200
        ours["Mcp-Session-Id"] = second.headers["Mcp-Session-Id"]
        client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=ours)
        with client.stream("GET", "/mcp", headers=ours) as events:  # open while the app goes
            assert events.status_code == 200
            app.edge.shut_down()
            assert list(events.iter_lines()) in ([], [""])
