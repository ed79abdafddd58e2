"""HTTP to servers that may be slow, broken or hostile: every exchange ends in time, and is of bounded size.

    client = bounded_client(url, headers, connect_s=5)
    deadline = Deadline(total_s=60, idle_s=20)
    with exchange(client, "POST", "/chat", body, deadline=deadline, most_bytes=10_000_000) as answer:
        for piece in answer.pieces():       # a stream; deadline.progress() whenever something useful has come
            ...
        value = json_object(answer.read())  # or all of it

The timeouts of httpx are for each read, and a server that sends a byte a second never meets them: neither in the body,
nor in the headers, of which httpx shows nothing before they are complete. Here each read and write of the socket gets
what is left of the request's Deadline. The client can be given to the official packages of model servers, too; their
requests need {"deadline": Deadline(...)} among their extensions, which an event hook of the client can add.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal

import httpcore
import httpx

from gardener.resilience import Deadline

WRITTEN_AT_ONCE = 16_384
"""Bytes between two looks at the deadline: a server can take what it is sent slowly, too."""

FailureKind = Literal["unreachable", "timeout", "oversized"]


class TransferFailed(Exception):
    """The exchange did not come to an end. `kind` tells whether another try makes sense ("oversized": none).

    The text is part of a sentence for the user. It holds nothing of the request's headers.
    """

    def __init__(self, kind: FailureKind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def bounded_client(base_url: str, headers: Mapping[str, str], *, connect_s: float) -> httpx.Client:
    """For all exchanges with one server; thread-safe. Uses no proxy, follows no redirect, keeps no cookie.

    Proxies of the environment are left out because code goes where the user said and nowhere else. Compressed answers
    are declined: a few bytes of them can stand for gigabytes. Raises ValueError for an address or a header that cannot
    be sent, without quoting the header.
    """
    try:
        sent = {name: value.encode("ascii") for name, value in headers.items()}
    except UnicodeEncodeError:
        raise ValueError("a header that is not ASCII") from None
    if any(byte < 32 or byte == 127 for value in sent.values() for byte in value):
        raise ValueError("a header with control characters")
    names = {name.encode(): value for name, value in sent.items()} | {b"Accept-Encoding": b"identity"}
    try:
        client = httpx.Client(
            base_url=base_url, headers=names, transport=_Transport(), trust_env=False, follow_redirects=False,
            timeout=httpx.Timeout(None, connect=connect_s),
        )  # fmt: skip
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


class BoundedAnswer:
    """Status and headers of an answer, and its body as far as it is read."""

    def __init__(self, response: httpx.Response, most_bytes: int) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._most_bytes = most_bytes

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives. Raises TransferFailed."""
        coding = self.headers.get("Content-Encoding", "").strip().lower()
        if coding not in ("", "identity"):
            raise TransferFailed("oversized", "a compressed answer, which nobody asked for")
        length = self.headers.get("Content-Length", "")
        # isdecimal() accepts other scripts' digits, too; the header is hostile, but int() can read those.
        if length.isdecimal() and len(length) < 20 and int(length) > self._most_bytes:
            raise self._too_large()
        received = 0
        with _translated(self._response.request):
            for piece in self._response.iter_raw():
                received += len(piece)
                if received > self._most_bytes:
                    raise self._too_large()
                yield piece

    def read(self) -> bytes:
        """The body. Raises TransferFailed."""
        return b"".join(self.pieces())

    def _too_large(self) -> TransferFailed:
        return TransferFailed("oversized", f"an answer of more than {self._most_bytes / 1_000_000:g} MB")


@contextmanager
def exchange(
    client: httpx.Client,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    *,
    deadline: Deadline,
    most_bytes: int,
) -> Iterator[BoundedAnswer]:
    """One request, its body as JSON. Raises TransferFailed when there is no complete head of an answer in time."""
    if deadline.passed():
        raise _timeout(deadline)
    request = client.build_request(method, path, json=body, extensions={"deadline": deadline})
    with _translated(request):
        response = client.send(request, stream=True)
    try:
        yield BoundedAnswer(response, most_bytes)
    finally:
        response.close()


def json_object(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else: other JSON, NaN and infinity, which JSON does not have,
    numbers of thousands of digits, nesting deeper than Python's stack, text that is not UTF-8."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError("something that is not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("JSON of another form")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _timeout(deadline: Deadline) -> TransferFailed:
    if deadline.passed() == "idle":
        return TransferFailed("timeout", f"it was silent for {deadline.idle_s:g} s")
    if deadline.total_s is None or not deadline.passed():
        return TransferFailed("timeout", "it cannot be connected to in time")
    return TransferFailed("timeout", f"it took longer than {deadline.total_s:g} s")


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise _timeout(request.extensions["deadline"]) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise TransferFailed("unreachable", f"{type(error).__name__} {str(error)[:150]}".strip()) from error


# ---- below httpx: sockets that know a deadline ------------------------------------------------------------

_current = threading.local()
"""`deadline` of the request for which this thread is reading or writing. A connection serves one at a time."""


@contextmanager
def _under(deadline: Deadline | None) -> Iterator[None]:
    before = getattr(_current, "deadline", None)
    _current.deadline = deadline
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        # httpx has an exception of the same name for each.
        raise getattr(httpx, type(error).__name__)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
    finally:
        _current.deadline = before


def _left(timeout: float | None, over: type[httpcore.TimeoutException]) -> float | None:
    deadline: Deadline | None = getattr(_current, "deadline", None)
    left = None if deadline is None else deadline.remaining_s()
    if left is None:
        return timeout
    if left <= 0:
        raise over("deadline")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), WRITTEN_AT_ONCE):
            piece = buffer[at : at + WRITTEN_AT_ONCE]
            self._inner.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        try:
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))
        except ValueError as error:  # a host name that cannot be in a certificate
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        try:
            return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))
        except UnicodeError as error:  # a host name that IDNA does not know
            raise httpcore.ConnectError(str(error)) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any, deadline: Deadline | None) -> None:
        self._inner = inner
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._inner)
        while True:
            with _under(self._deadline):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        with _under(self._deadline):
            self._inner.close()


class _Transport(httpx.BaseTransport):
    """httpx's own transport, but for the network backend, which httpx gives no way to choose."""

    def __init__(self) -> None:
        self._pool = httpcore.ConnectionPool(
            max_connections=20, max_keepalive_connections=5, keepalive_expiry=5.0, network_backend=_Backend()
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = request.extensions.get("deadline")
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _under(deadline):
            given = self._pool.handle_request(asked)
        return httpx.Response(
            given.status, headers=given.headers, stream=_Body(given.stream, deadline), extensions=given.extensions
        )

    def close(self) -> None:
        self._pool.close()
