"""The guard in front of every route: the page, its uploads and event queues, the API, WebSockets.

A local server is reachable from every page that the user's browser opens, so binding to 127.0.0.1 protects
nothing by itself. In this order, each before any effect: the exact Host (DNS rebinding), the Origin,
Sec-Fetch-Site (other local ports are "same-site" and still strangers), the size and pace of the body, who is
asking. /livez and /readyz answer without a credential, because a service manager has none; they say nothing
about projects then.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from urllib.parse import parse_qs

from gardener.audit import acting
from gardener.metrics import Metrics
from gardener.server.access import Access
from gardener.server.passage import (
    DEFAULT_LIMITS,
    OPEN_PATHS,
    SAFE_METHODS,
    App,
    Caller,
    Headers,
    Limits,
    Passage,
    Receive,
    Scope,
    Send,
    body_too_large,
    respond,
    send_refusal,
)
from gardener.server.refusal import Refusal

MAX_COOKIES = 8
"""Values of one cookie that are tried: a browser sends one for each path that somebody set it for."""


def allowed_hosts(port: int, extra: Iterable[str] = ()) -> frozenset[str]:
    """The exact Host values that name this server; `extra` are names that the user allowed, without port."""
    names = ["127.0.0.1", "localhost", "[::1]", *extra]
    hosts = {f"{name.lower()}:{port}" for name in names}
    return frozenset(hosts | {name.lower() for name in names} if port == 80 else hosts)


def cookie_name(port: int) -> str:
    """Cookies are shared by all ports of a host, so the port is in the name."""
    return f"gardener_{port}"


class Guard:
    """Pure ASGI middleware; keeps no request bodies."""

    def __init__(
        self,
        app: App,
        *,
        access: Access,
        port: int,
        extra_hosts: Iterable[str] = (),
        limits: Limits = DEFAULT_LIMITS,
        metrics: Metrics | None = None,
        refusals: Counter[str] | None = None,
        closing: asyncio.Event | None = None,
    ) -> None:
        self.app = app
        self.access = access
        self.limits = limits
        self.metrics = metrics
        self.hosts = allowed_hosts(port, extra_hosts)
        self.origins = frozenset(f"http://{host}" for host in self.hosts)
        self.cookie = cookie_name(port)
        self.refusals: Counter[str] = Counter() if refusals is None else refusals
        self.closing = closing or asyncio.Event()
        self._in_flight = 0
        self._failures: deque[float] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope)
        refusal = self._stranger(headers) or self._too_much(headers)
        if refusal is not None:
            await self._refuse(refusal, headers, scope, send)
            return
        code = link_code(scope)
        if code:
            await self._enter(code, headers, scope, send)
            return
        caller = self._caller(headers)
        refusal = self._unknown(caller, headers, scope)
        if refusal is not None:
            await self._refuse(refusal, headers, scope, send)
            return
        scope["gardener.caller"] = caller
        self._in_flight += 1
        try:
            with acting("web" if caller.kind == "browser" else "mcp" if scope["path"].startswith("/mcp") else "api"):
                await Passage(self, scope, receive, send).run()
        finally:
            self._in_flight -= 1

    # ---- the checks ------------------------------------------------------------------------------------

    def _stranger(self, headers: Headers) -> Refusal | None:
        hosts = headers.every(b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return Refusal(421, "wrong-host", "This server does not answer to that Host.", "gardener ui")
        origins = headers.every(b"origin")
        if any(origin.lower() not in self.origins for origin in origins):
            return Refusal(403, "foreign-origin", "Requests from other sites are refused.", "gardener ui")
        if headers.one(b"sec-fetch-site").lower() not in ("", "same-origin", "none"):
            return Refusal(403, "cross-site", "Requests from other sites are refused.", "gardener ui")
        return None

    def _too_much(self, headers: Headers) -> Refusal | None:
        length = headers.one(b"content-length")
        if length and (not length.isascii() or not length.isdigit()):
            return Refusal(400, "bad-length", "Content-Length is not a number.")
        if length and int(length) > self.limits.body_bytes:
            return body_too_large(self.limits)
        if self._in_flight >= self.limits.requests_in_flight:
            return Refusal(503, "busy", "Too many requests at once; try again in a moment.")
        return None

    def _caller(self, headers: Headers) -> Caller:
        scheme, _, token = headers.one(b"authorization").partition(" ")
        if scheme.lower() == "bearer" and self.access.client(token.strip()):
            return Caller("client", partial(self.access.client, token.strip()))
        for session in session_cookies(headers, self.cookie):
            if self.access.browser(session):
                return Caller("browser", partial(self.access.browser, session))
        return Caller("")

    def _unknown(self, caller: Caller, headers: Headers, scope: Scope) -> Refusal | None:
        method = scope.get("method", "GET")
        if caller.kind == "":
            if scope["type"] == "http" and scope["path"] in OPEN_PATHS and method in ("GET", "HEAD"):
                return None
            return self._no_credential()
        effects = method not in SAFE_METHODS or scope["type"] == "websocket"
        proven = headers.every(b"origin") or headers.one(b"sec-fetch-site").lower() == "same-origin"
        if caller.kind == "browser" and effects and not proven:
            # A cookie comes by itself, so a request with effects must also prove which page it came from.
            return Refusal(403, "no-origin", "A request from a browser that changes something needs its Origin.")
        return None

    def _no_credential(self) -> Refusal:
        now = time.monotonic()
        while self._failures and self._failures[0] < now - self.limits.failure_seconds:
            self._failures.popleft()
        if len(self._failures) >= self.limits.failures:
            return Refusal(429, "too-many-failures", "Too many requests without a valid token.", "gardener ui")
        self._failures.append(now)
        return Refusal(401, "no-token", "This needs a link or a token from your terminal.", "gardener ui")

    # ---- answers ---------------------------------------------------------------------------------------

    async def _enter(self, code: str, headers: Headers, scope: Scope, send: Send) -> None:
        """One-time link: trade the code for a cookie and redirect to the page, so that the address holds no
        secret."""
        if scope.get("method") != "GET" or "prefetch" in headers.one(b"sec-purpose").lower():
            # A browser that loads ahead must not use the link up.
            refusal = Refusal(405, "method", "Open this link with GET.")
            await self._refuse(refusal, headers, scope, send)
            return
        session = self.access.enter(code)
        if session is None:
            refusal = self._no_credential()
            if refusal.status == 401:
                refusal = Refusal(401, "link-used", "This link was used before or is too old.", "gardener ui")
            await self._refuse(refusal, headers, scope, send)
            return
        cookie = f"{self.cookie}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
        await respond(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])

    async def _refuse(self, refusal: Refusal, headers: Headers, scope: Scope, send: Send) -> None:
        self.refusals[refusal.code] += 1
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        await send_refusal(send, refusal, page=b"text/html" in headers.one_bytes(b"accept"))


def link_code(scope: Scope) -> str:
    """The code of a one-time link, `/enter/<code>` or `/?token=<code>`; "" for every other request."""
    path: str = scope["path"]
    if scope["type"] != "http":
        return ""
    if path.startswith("/enter/"):
        return path.removeprefix("/enter/")
    if path == "/":
        return str(parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0])
    return ""


def session_cookies(headers: Headers, name: str) -> list[str]:
    """Every value of the cookie. Other programs on this host can set cookies, too, of any form and even of this name:
    theirs must not hide ours, so the header is split by hand and all values are tried."""
    found: list[str] = []
    for line in headers.every(b"cookie"):
        for pair in line.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name and value and len(found) < MAX_COOKIES:
                found.append(value)
    return found
