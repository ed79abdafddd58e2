"""Attacks on the running app over plain sockets and HTTP; each claim of docs/security.md that no other test holds."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from gardener.server import passage
from gardener.server.protocol import PatientProtocol
from gardener.server.watching import NOT_WATCHED
from tests.server.conftest import Gate
from tests.serving import Served


def raw(served: Served, payload: bytes) -> bytes:
    """What comes back for these bytes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", served.app.port), 120) as connection:
        with suppress(OSError):  # it may refuse before the end of what it is sent
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(ConnectionResetError):  # it closed while there was more to read than it cared to
            while piece := connection.recv(65_536):
                received += piece
    return received


@pytest.fixture
def head(served: Served) -> bytes:
    return (
        f"Host: 127.0.0.1:{served.app.port}\r\nAuthorization: Bearer {served.app.token}\r\nConnection: close\r\n"
    ).encode()


@pytest.fixture
def session(served: Served) -> str:
    with served.stranger() as browser:
        cookie = browser.get(f"/enter/{served.edge.access.issue_link()}").headers["set-cookie"]
    return cookie.split(";")[0]


def test_other_programs_cookies_do_not_hide_the_session(served: Served, session: str) -> None:
    name = session.split("=")[0]
    for cookies in (f'{{"a": 1}}; x="; {session}', f"{name}=planted; {session}", f"{session}; {name}=planted", session):
        with served.stranger(Cookie=cookies) as browser:
            assert browser.get("/api/status").status_code == 200, cookies


def test_a_session_cannot_be_chosen_by_somebody_else(served: Served) -> None:
    name = f"gardener_{served.app.port}"
    with served.stranger(Cookie=f"{name}=chosen") as browser:
        entered = browser.get(f"/enter/{served.edge.access.issue_link()}")
    assert "chosen" not in entered.headers["set-cookie"]
    with served.stranger(Cookie=f"{name}=chosen") as attacker:
        assert attacker.get("/api/status").status_code == 401


def test_the_sessions_cookie_is_kept_from_scripts_and_other_sites(served: Served) -> None:
    with served.stranger() as browser:
        cookie = browser.get(f"/enter/{served.edge.access.issue_link()}").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Domain" not in cookie


@pytest.mark.parametrize(
    "request_line",
    [b"GET /enter/a%0d%0aSet-Cookie:%20x=1 HTTP/1.1", b"GET /api/jobs/a%0d%0aX-Evil:%201 HTTP/1.1"],
)
def test_no_header_can_be_smuggled_into_an_answer(served: Served, head: bytes, request_line: bytes) -> None:
    headers = raw(served, request_line + b"\r\n" + head + b"\r\n").split(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-evil" not in headers and b"set-cookie" not in headers


@pytest.mark.parametrize(
    "lengths",
    [b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: -5\r\n", b"Content-Length: 1_0\r\n"],
)
def test_lengths_that_two_readers_could_read_differently_are_refused(
    served: Served, head: bytes, lengths: bytes
) -> None:
    answer = raw(served, b"POST /api/switch HTTP/1.1\r\n" + head + lengths + b"\r\n{}   ")
    assert answer.split(b" ")[1] == b"400"


def test_a_second_request_behind_a_chunked_body_is_guarded_for_itself(served: Served) -> None:
    first = (
        f"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1:{served.app.port}\r\n"
        f"Authorization: Bearer {served.app.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ).encode()
    answer = raw(served, first + b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert b'"uptime' not in answer and b"lantern" not in answer.split(b"HTTP/1.1")[-1]


def test_headers_are_bounded(served: Served, head: bytes) -> None:
    answer = raw(served, b"GET /livez HTTP/1.1\r\n" + head + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n")
    assert b" 200 " not in answer[:20]


def test_connections_are_bounded_and_free_again_when_they_close(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "most_connections", 8)
    monkeypatch.setattr(PatientProtocol, "header_seconds", 600.0)  # or silence would close them
    held = [socket.create_connection(("127.0.0.1", served.app.port), 120) for _ in range(40)]
    try:
        open_ = list(held)
        while len(open_) > 8:  # a closed one can be read from, an open one has nothing to say
            closed, _, _ = select.select(open_, [], [], 120)
            assert closed
            open_ = [connection for connection in open_ if connection not in closed]
    finally:
        for connection in held:
            connection.close()
    monkeypatch.undo()
    with served.http() as http:
        assert http.get("/api/status").status_code == 200


@pytest.fixture
def routes(served: Served) -> Iterator[list[tuple[str, str]]]:
    with served.http() as http:
        document = http.get("/api/openapi.json").json()
    yield [(method.upper(), path) for path, found in document["paths"].items() for method in found]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"query":"x","limit":' + b"9" * 6_000 + b"}",
        b"\xff\xfe",
        b"",
        b"null",
        b"[]",
    ],
    ids=["deep list", "deep object", "long number", "no text", "nothing", "null", "list"],
)
def test_hostile_json_is_a_clients_error(served: Served, body: bytes, routes: list[tuple[str, str]]) -> None:
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    taking = ["/api/search", "/v1/chat/completions"]
    if body not in (b"", b"null"):  # some routes take nothing, and would do what they are there for
        taking = [*(path for method, path in routes if method == "POST"), "/mcp"]
    with served.http() as http:
        for route in taking:
            answer = http.post(route.replace("{", "").replace("}", ""), content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (route, answer.text)
            assert answer.json()["error"]["message"], route


def test_what_was_sent_is_not_reflected_as_html(served: Served) -> None:
    script = "<script>alert(1)</script>"
    with served.stranger(Accept="text/html") as browser:
        for path in (f"/enter/{script}", f"/{script}"):
            assert script not in browser.get(path).text
    with served.http(Accept="text/html") as http:
        answer = http.get(f"/api/jobs/{script}")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_secret_stands_in_the_log_or_in_an_answer(served: Served, session: str) -> None:
    link = served.edge.access.issue_link()
    with served.stranger() as browser:
        browser.get(f"/enter/{link}")
        browser.get(f"/?token={link}")
    with served.http() as http:
        texts = [http.get(path).text for path in ("/api/status", "/api/settings", "/api/tokens", "/metrics")]
    logs = Path(served.gardener.paths.logs)
    texts += [file.read_text(encoding="utf-8") for file in logs.rglob("*") if file.is_file()] if logs.exists() else []
    for secret in (served.app.token, session.split("=")[1], link):
        assert not any(secret in text for text in texts)


def test_a_token_in_the_address_is_no_credential(served: Served) -> None:
    with served.stranger() as http:
        for name in ("token", "access_token", "api_key"):
            assert http.get("/api/status", params={name: served.app.token}).status_code == 401


def test_a_stream_ends_with_the_token_that_opened_it(
    served: Served, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "CREDENTIAL_SECONDS", 0.02)
    token = served.edge.access.create_client("leaving")
    gate.waiting.clear()
    gate.open.clear()
    with served.http() as owner, served.stranger(Authorization=f"Bearer {token}") as http:
        asked = {"model": "gardener/lantern", "messages": [{"role": "user", "content": "How is it lit?"}]}
        with http.stream("POST", "/v1/chat/completions", json=asked | {"stream": True}) as stream:
            assert stream.status_code == 200 and gate.waiting.wait(120)
            owner.post("/api/tokens/revoke", json={"name": "leaving"}).raise_for_status()
            assert "[DONE]" not in stream.read().decode()
        job = served.edge.jobs.find(kind="answer")[0]
        assert job.cancel.wait(120)
        gate.open.set()
        for _ in job.tail():
            pass
        assert http.get("/api/status").status_code == 401


def test_a_browser_session_is_no_bearer_token_and_the_other_way_round(served: Served, session: str) -> None:
    name, value = session.split("=")
    with served.stranger(Authorization=f"Bearer {value}") as http:
        assert http.get("/api/status").status_code == 401
    with served.stranger(Cookie=f"{name}={served.app.token}") as http:
        assert http.get("/api/status").status_code == 401


def test_every_route_refuses_strangers_foreign_hosts_and_foreign_pages(
    served: Served, routes: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lantern = served.gardener.context("lantern").id
    deadline = time.monotonic() + 120
    while served.edge.watching.state(lantern) == NOT_WATCHED:  # until then it brings the index up to date
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    for job in served.edge.jobs.find():
        deque(job.tail(), maxlen=0)

    def state() -> tuple[str, list[str]]:
        status = served.gardener.status()
        return json.dumps(status, default=str, sort_keys=True), [job.id for job in served.edge.jobs.find()]

    before = state()
    with served.stranger() as nobody, served.http() as http:
        for method, path in [
            *routes,
            ("POST", "/mcp"),
            ("POST", "/gradio_api/upload"),
            ("GET", "/gradio_api/queue/data"),
        ]:
            address = path.replace("{", "").replace("}", "")
            if path not in ("/livez", "/readyz"):
                assert nobody.request(method, address).status_code in (401, 429), path
            assert http.request(method, address, headers={"Host": "evil.example"}).status_code == 421, path
            assert http.request(method, address, headers={"Origin": "http://evil.example"}).status_code == 403, path
            assert http.request(method, address, headers={"Sec-Fetch-Site": "same-site"}).status_code == 403, path
    assert state() == before


def test_httpx_is_what_sends_these_hosts() -> None:
    """The test above would prove nothing if the client put the right Host back."""
    assert httpx.Request("GET", "http://127.0.0.1/", headers={"Host": "evil.example"}).headers["host"] == "evil.example"
