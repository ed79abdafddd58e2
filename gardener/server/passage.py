"""One admitted request on its way through the guard, and the plain ASGI pieces that both need."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gardener.metrics import Metrics
from gardener.server.refusal import Refusal

log = logging.getLogger("gardener.server")

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/livez", "/readyz", "/manifest.json"})
"""Answered without a credential: probes, which say only yes or no then, and what browsers fetch without
cookies.
"""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KNOWN_METHODS = SAFE_METHODS | {"POST", "PUT", "PATCH", "DELETE"}
MCP_PATHS = ("/mcp", "/mcp/")
STREAMING_ROUTES = frozenset({"page", "/api/jobs/{job_id}/events", "/v1/chat/completions", "/mcp"})
"""Their time is the reader's, so it would say nothing in a histogram."""
LIBRARY_PATHS = ("/assets/", "/static/")
"""Files of the page's library with a hash in their names: the only responses a browser may keep."""

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
DATA_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""Of what is data and never a page."""
DATA_PATHS = ("/api/", "/v1/", "/mcp", "/metrics", "/livez", "/readyz")
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_STORE = (b"cache-control", b"no-store")
CREDENTIAL_SECONDS = 1.0
"""An open stream ends so long after its token or session was revoked, at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request and all of them together may take."""

    body_bytes: int = 2_000_000
    body_seconds: float = 30.0
    """From the start of a request until its whole body must have arrived."""
    requests_in_flight: int = 256
    failures: int = 30
    """Requests without a valid credential that are answered within `failure_seconds`; the rest get 429
    unheard."""
    failure_seconds: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made the request, for routes behind the guard: scope["gardener.caller"]."""

    kind: str
    """"client" (bearer token), "browser" (session cookie) or "" (nobody, on an open path)."""
    still: Callable[[], bool] = field(default=lambda: True, repr=False)
    """Whether what they were let in with still holds: streams last long. Not shown: it holds the credential."""


class Gate(Protocol):
    """What a passage needs of the guard."""

    app: App
    limits: Limits
    metrics: Metrics | None
    refusals: Counter[str]
    closing: asyncio.Event
    """Set when the app is going: whoever waits for more is told that the other side has left."""


class Passage:
    """One admitted request on its way through: counts and times the body, adds headers to the answer."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope = gate, scope
        self._receive, self._send = receive, send
        self._begun = time.monotonic()
        self._deadline = self._begun + gate.limits.body_seconds
        self._taken = 0
        self._body_done = scope["type"] != "http"
        self._started = False
        self._finished = False
        self._left_out = False
        self._status = 0
        self._refusal: Refusal | None = None

    async def run(self) -> None:
        try:
            await self.gate.app(self.scope, self.receive, self.send)
        except BodyRefusedError:
            pass  # what to answer is in self._refusal
        except Exception:
            # The last frame that can still give the error a body and the security headers.
            log.exception("%s %s failed", self.scope.get("method", ""), self.scope["path"])
            if self._started:
                raise
            what = "Something unexpected went wrong; the log has the details."
            self._refusal = Refusal(500, "internal", what, "gardener doctor")
        if self._refusal is not None and not self._started:
            self.gate.refusals[self._refusal.code] += 1
            await send_refusal(self._send, self._refusal, page=False)
            self._status = self._refusal.status
        elif self._started and not self._finished and (self._left_out or self.gate.closing.is_set()):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._count()

    def _count(self) -> None:
        if self.gate.metrics is None or self.scope["type"] != "http":
            return
        route = route_label(self.scope)
        self.gate.metrics.count(
            "gardener_http_requests_total",
            method=self.scope["method"] if self.scope["method"] in KNOWN_METHODS else "other",
            route=route,
            status=str(self._status),
        )
        if route not in STREAMING_ROUTES:
            seconds = time.monotonic() - self._begun
            self.gate.metrics.observe("gardener_http_request_seconds", seconds, route=route)

    async def receive(self) -> Event:
        if self._body_done:
            return await self._receive_or_close()
        if self._refusal is not None:
            raise BodyRefusedError(self._refusal.code)
        try:
            event = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            self._refusal = Refusal(408, "slow-body", "The request's body took too long to arrive.")
            raise BodyRefusedError("slow-body") from None
        self._taken += len(event.get("body", b""))
        if self._taken > self.gate.limits.body_bytes:
            self._refusal = body_too_large(self.gate.limits)
            raise BodyRefusedError("body-too-large")
        self._body_done = event["type"] != "http.request" or not event.get("more_body", False)
        return event

    async def _receive_or_close(self) -> Event:
        """The next event, or a disconnect when the app is going (event streams would hold it up otherwise) or when the
        caller may not be here any more."""
        caller: Caller = self.scope["gardener.caller"]
        receiving = asyncio.ensure_future(self._receive())
        closing = asyncio.ensure_future(self.gate.closing.wait())
        try:
            both = {receiving, closing}
            while not (await asyncio.wait(both, timeout=CREDENTIAL_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                if not caller.still():
                    self._left_out = True
                    break
            return receiving.result() if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            closing.cancel()

    async def send(self, event: Event) -> None:
        if self._refusal is not None and not self._started:
            return  # the application made something of the cut body; the refusal is sent instead
        if event["type"] == "http.response.start":
            self._started = True
            self._status = event["status"]
            event["headers"] = with_security_headers(event.get("headers", ()), self.scope["path"])
        if event["type"] == "http.response.body":
            self._finished = not event.get("more_body", False)
        await self._send(event)


class BodyRefusedError(Exception):
    """Raised out of `receive` so that no handler goes on with half a body."""


class Headers:
    """The request's headers, decoded as HTTP says (latin-1)."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: list[tuple[bytes, bytes]] = list(scope.get("headers", ()))

    def every(self, name: bytes) -> list[str]:
        return [value.decode("latin-1").strip() for key, value in self._raw if key.lower() == name]

    def one(self, name: bytes) -> str:
        return ", ".join(self.every(name))

    def one_bytes(self, name: bytes) -> bytes:
        return self.one(name).encode("latin-1")


def route_label(scope: Scope) -> str:
    """The route's pattern, or "page" for everything of the pages: a closed set, so that labels stay few."""
    if scope["path"] in MCP_PATHS:
        return "/mcp"
    path: str = getattr(scope.get("route"), "path", "")
    ours = path.startswith(("/api/", "/v1/")) or path in (*OPEN_PATHS, "/metrics")
    return path if ours and not scope["path"].startswith("/gradio_api") else "page"


def body_too_large(limits: Limits) -> Refusal:
    return Refusal(413, "body-too-large", f"The request's body is larger than {limits.body_bytes:,} bytes.")


def with_security_headers(headers: Iterable[tuple[bytes, bytes]], path: str) -> list[tuple[bytes, bytes]]:
    ours = [*SECURITY_HEADERS] if path.startswith(LIBRARY_PATHS) else [*SECURITY_HEADERS, NO_STORE]
    if path.startswith(DATA_PATHS):
        ours[0] = DATA_POLICY
    replaced = {name for name, _ in ours} | {b"server", b"access-control-allow-origin",
                                             b"access-control-allow-credentials"}  # fmt: skip
    return [(name, value) for name, value in headers if name.lower() not in replaced] + ours


async def send_refusal(send: Send, refusal: Refusal, *, page: bool) -> None:
    body = refusal.page() if page else refusal.body()
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    extra = [(b"content-type", kind), (b"connection", b"close")]
    if refusal.status == 401:
        extra.append((b"www-authenticate", b'Bearer realm="gardener"'))
    if refusal.status in (429, 503):
        extra.append((b"retry-after", b"5"))
    await respond(send, refusal.status, body, extra)


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": with_security_headers(headers, "")})
    await send({"type": "http.response.body", "body": body})
