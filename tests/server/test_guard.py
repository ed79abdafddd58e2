"""Every stranger is refused before any effect, on every kind of route; the right caller is let in."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from typing import Any

import pytest

from gardener.server.access import Access
from gardener.server.guard import Guard, cookie_name
from gardener.server.passage import CONTENT_SECURITY_POLICY, Limits
from tests.serving import Served

ROUTES = [
    ("GET", "/api/status"),
    ("POST", "/api/switch"),
    ("POST", "/api/search"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/api/openapi.json"),
    ("GET", "/nowhere"),
]
SWITCH = {"project": "compass"}


def raw(served: Served, request: bytes, timeout: float = 120.0) -> bytes:
    """What the server answers to these very bytes, until it closes or falls silent."""
    with socket.create_connection((served.app.host, served.app.port), timeout) as connection:
        connection.sendall(request)
        pieces = []
        try:
            while piece := connection.recv(65_536):
                pieces.append(piece)
        except TimeoutError:
            pass
        return b"".join(pieces)


def host(served: Served) -> str:
    return f"127.0.0.1:{served.app.port}"


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example", "localhost:1", "[::1]"])
def test_a_foreign_host_is_refused_even_with_the_token(served: Served, name: str) -> None:
    with served.http() as client:
        for path in ("/livez", "/readyz", "/api/status"):
            answer = client.get(path, headers={"Host": name})
            assert answer.status_code == 421
            assert answer.json()["error"]["code"] == "wrong-host"


def test_no_host_or_two_hosts_are_refused(served: Served) -> None:
    for hosts in (b"", b"Host: %s\r\nHost: evil.example\r\n" % host(served).encode()):
        answer = raw(served, b"GET /livez HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert answer.split(b" ")[1] in (b"400", b"421")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_every_name_of_this_machine_is_known(served: Served, name: str) -> None:
    with served.stranger() as client:
        assert client.get("/livez", headers={"Host": f"{name}:{served.app.port}"}).text == "ok\n"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_origin_is_refused(served: Served, method: str, path: str, origin: str) -> None:
    with served.http(Origin=origin) as client:
        answer = client.request(method, path, json=SWITCH)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "foreign-origin"
        assert "access-control-allow-origin" not in answer.headers
    assert served.gardener.context().name == "lantern"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_cross_site_and_other_ports_of_this_machine_are_refused(served: Served, site: str) -> None:
    with served.http(**{"Sec-Fetch-Site": site}) as client:
        assert client.post("/api/switch", json=SWITCH).json()["error"]["code"] == "cross-site"
    assert served.gardener.context().name == "lantern"


def test_a_preflight_from_elsewhere_gets_no_permission(served: Served) -> None:
    with served.stranger(Origin="https://evil.example") as client:
        answer = client.options("/api/switch", headers={"Access-Control-Request-Method": "POST"})
        assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_token_nothing_is_done(served: Served, method: str, path: str) -> None:
    with served.stranger() as client:
        answer = client.request(method, path, json=SWITCH)
        assert answer.status_code in (401, 429)
    assert served.gardener.context().name == "lantern"


def test_a_wrong_token_is_refused_and_the_right_one_still_works(served: Served) -> None:
    with served.stranger() as client:
        for token in ("x", served.app.token[:-1], served.app.token + "x"):
            answer = client.get("/api/status", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in (401, 429)
    with served.http() as client:
        assert client.get("/api/status").status_code == 200


def test_guessing_is_throttled_without_locking_the_owner_out(served: Served) -> None:
    with served.stranger() as client:
        statuses = {client.get("/api/status").status_code for _ in range(40)}
    assert 429 in statuses
    with served.http() as client:
        assert client.get("/api/status").status_code == 200
    with served.stranger() as browser:
        assert browser.get(served.edge.browser_link()).status_code == 303


# ---- the browser's way in ---------------------------------------------------------------------------------


def test_a_link_works_once_and_leaves_no_secret_in_the_address(served: Served) -> None:
    link = served.edge.browser_link()
    with served.stranger() as browser:
        entered = browser.get(link)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
        assert link.rsplit("/", 1)[1] not in cookie
        assert browser.get("/api/status").status_code == 200
    with served.stranger() as other:
        again = other.get(link)
        assert again.status_code in (401, 429)
        assert "set-cookie" not in again.headers


def test_the_token_in_a_query_works_the_same_way(served: Served) -> None:
    code = served.edge.access.issue_link()
    with served.stranger() as browser:
        assert browser.get(f"/?token={code}").headers["location"] == "/"
        assert browser.get("/api/status").status_code == 200


def test_looking_at_a_link_does_not_use_it_up(served: Served) -> None:
    link = served.edge.browser_link()
    with served.stranger() as browser:
        assert browser.head(link).status_code == 405
        assert browser.get(link, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 405
        assert browser.get(link).status_code == 303


def test_a_cookie_alone_changes_nothing_without_an_origin(served: Served) -> None:
    with served.stranger() as browser:
        browser.get(served.edge.browser_link())
        assert browser.post("/api/switch", json=SWITCH).json()["error"]["code"] == "no-origin"
        assert served.gardener.context().name == "lantern"
        own = browser.post("/api/switch", json=SWITCH, headers={"Origin": served.url})
        assert own.status_code == 200
        assert served.gardener.context().name == "compass"


def test_a_made_up_cookie_is_no_session(served: Served) -> None:
    name = cookie_name(served.app.port)
    with served.stranger(Cookie=f"{name}=made-up") as browser:
        assert browser.get("/api/status").status_code in (401, 429)


def test_a_person_without_a_session_reads_what_to_do(served: Served) -> None:
    with served.stranger(Accept="text/html") as browser:
        page = browser.get("/")
    assert page.status_code in (401, 429)
    assert page.headers["content-type"].startswith("text/html")
    assert "gardener ui" in page.text


# ---- bodies and pace ---------------------------------------------------------------------------------------


def test_an_oversized_body_is_refused_before_it_is_sent(served: Served) -> None:
    head = (
        f"POST /api/search HTTP/1.1\r\nHost: {host(served)}\r\nAuthorization: Bearer {served.app.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n"
    )
    assert b" 413 " in raw(served, head.encode()).split(b"\r\n")[0]


def test_an_oversized_chunked_body_is_cut_off(served: Served) -> None:
    connection = http.client.HTTPConnection(served.app.host, served.app.port, timeout=120)
    headers = {"Authorization": f"Bearer {served.app.token}", "Content-Type": "application/json"}
    chunk = b'{"query": "' + b"x" * 65_536
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server need not read on
        connection.request("POST", "/api/search", (chunk for _ in range(64)), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "body-too-large"
    connection.close()


def test_a_length_that_is_no_number_is_refused(served: Served) -> None:
    head = f"POST /api/search HTTP/1.1\r\nHost: {host(served)}\r\nContent-Length: -5\r\n\r\n"
    assert raw(served, head.encode()).split(b" ")[1] == b"400"


def test_security_headers_stand_on_answers_and_refusals(served: Served) -> None:
    with served.http() as client, served.stranger() as stranger:
        data, page = "default-src 'none'; frame-ancestors 'none'", CONTENT_SECURITY_POLICY
        answers = [(client.get("/api/status"), data), (client.get("/nowhere"), page), (stranger.get("/x"), page)]
        for answer, policy in answers:
            assert answer.headers["content-security-policy"] == policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers


def test_refusals_are_counted_by_reason(served: Served) -> None:
    with served.http() as client:
        client.get("/livez", headers={"Host": "evil.example"})
        assert 'gardener_refused_requests_total{reason="wrong-host"}' in client.get("/metrics").text


# ---- the middleware alone, for what cannot be had from outside in good time --------------------------------


async def through(guard: Guard, scope: dict[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    pending = list(events)

    async def receive() -> dict[str, Any]:
        if pending:
            return pending.pop(0)
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(event: Any) -> None:
        sent.append(event)

    base = {"type": "http", "method": "GET", "path": "/api/x", "query_string": b"", "headers": []}
    await guard({**base, **scope}, receive, send)
    return sent


def guarded(tmp_path: Any, app: Any, **limits: Any) -> tuple[Guard, list[tuple[bytes, bytes]]]:
    guard = Guard(app, access=Access(str(tmp_path), "secret"), port=7000, limits=Limits(**limits))
    return guard, [(b"host", b"127.0.0.1:7000"), (b"authorization", b"Bearer secret")]


async def reads_everything(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def test_a_body_that_drips_is_given_up(tmp_path: Any) -> None:
    guard, headers = guarded(tmp_path, reads_everything, body_seconds=0.05)
    first = {"type": "http.request", "body": b"x", "more_body": True}
    sent = asyncio.run(through(guard, {"method": "POST", "headers": headers}, [first]))
    assert sent[0]["status"] == 408


def test_a_websocket_needs_host_origin_and_credential_too(tmp_path: Any) -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    guard, headers = guarded(tmp_path, app)
    own = (b"origin", b"http://127.0.0.1:7000")
    foreign = (b"origin", b"https://evil.example")
    for wrong in ([headers[1]], [headers[0], own], [*headers, foreign]):
        sent = asyncio.run(through(guard, {"type": "websocket", "headers": wrong}, []))
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": sent[0]["reason"]}]
    assert reached == []
    asyncio.run(through(guard, {"type": "websocket", "headers": [*headers, own]}, []))
    assert reached == ["/api/x"]


def test_too_many_requests_at_once_are_turned_away(tmp_path: Any) -> None:
    async def several() -> list[int]:
        release = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guard, headers = guarded(tmp_path, app, requests_in_flight=2)
        waiting = [asyncio.create_task(through(guard, {"headers": headers}, [])) for _ in range(2)]
        await asyncio.sleep(0)
        third = await through(guard, {"headers": headers}, [])
        release.set()
        first = [(await task)[0]["status"] for task in waiting]
        return [*first, third[0]["status"]]

    assert asyncio.run(several()) == [200, 200, 503]


def test_an_unexpected_error_is_answered_without_its_details(tmp_path: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the secret path /home/someone")

    guard, headers = guarded(tmp_path, app)
    sent = asyncio.run(through(guard, {"headers": headers}, []))
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]


def test_headers_that_never_end_are_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from gardener.server.protocol import PatientProtocol

    monkeypatch.setattr(PatientProtocol, "header_seconds", 0.2)
    with socket.create_connection((served.app.host, served.app.port), 120) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost:")
        assert connection.recv(1) == b""
    monkeypatch.setattr(PatientProtocol, "header_seconds", 600.0)
    with socket.create_connection((served.app.host, served.app.port), 120) as connection:
        # The second request of a connection is watched as well.
        connection.sendall(f"GET /livez HTTP/1.1\r\nHost: {host(served)}\r\n\r\n".encode())
        answer = connection.recv(65_536)
        while not answer.endswith(b"ok\n"):
            answer += connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(PatientProtocol, "header_seconds", 0.2)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHo")
        while connection.recv(65_536):
            pass
