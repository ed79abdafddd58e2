"""The sockets below httpx: each read and write ends in time, an answer is of bounded size, and all of it can be ended
from another thread. Chat, embeddings and Ollama's own client go through it. Import it inside functions only: it needs
httpx.

The timeouts of httpx are for each read, and a server that sends a byte a second never meets them: neither in the body,
nor in the headers, of which httpx shows nothing before they are complete. Here a request with a "deadline" among its
extensions (resilience.Deadline) gets at each read and write what is left of that. Looking up a host's name is the
system's, and takes as long as that does.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from gardener.resilience import Deadline

WRITTEN_AT_ONCE = 16_384
"""Bytes between two looks at the deadline: a server can take what it is sent slowly, too."""


class TooLarge(httpx.HTTPError):
    """An answer went over the limit."""


class BoundedTransport(httpx.BaseTransport):
    """httpx's own transport, but for the network backend, which httpx gives no way to choose. Uses no proxy: code goes
    where the user said and nowhere else. Thread-safe."""

    def __init__(
        self, url: str, most_bytes: int, *, most_error_bytes: int | None = None, drop: tuple[str, ...] = ()
    ) -> None:
        """`url` tells whether certificates are needed. With `most_error_bytes` an answer that is no success is cut off
        there; without, it is refused beyond `most_bytes` like any other. `drop`: headers that are not sent, whatever a
        client library adds."""
        self._most = most_bytes
        self._most_error = most_error_bytes
        self._drop = drop
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._over = False
        self._pool = httpcore.ConnectionPool(
            ssl_context=_certificates() if url.startswith("https:") else None,
            max_connections=20,
            max_keepalive_connections=5,
            keepalive_expiry=5.0,
            network_backend=_Backend(self._opened),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = request.extensions.get("deadline")
        # A few compressed bytes can become gigabytes in one step.
        request.headers["Accept-Encoding"] = "identity"
        for name in self._drop:
            request.headers.pop(name, None)
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
        headers = httpx.Headers(given.headers)
        cut = None if 200 <= given.status < 300 else self._most_error
        body = _Body(given.stream, deadline, self._most, _declared(headers), cut)
        if headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
            body.close()
            raise httpx.DecodingError("a compressed answer, which nobody asked for")
        return httpx.Response(given.status, headers=headers, stream=body, extensions=given.extensions)

    def shut(self) -> None:
        """Ends every connection, for good, and wakes whoever waits in one, also for its first byte; the server sees
        that and stops its work."""
        with self._lock:
            self._over = True
            sockets = list(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._pool.close()

    def _opened(self, stream: httpcore.NetworkStream) -> None:
        raw = stream.get_extra_info("socket")
        if raw is None:
            return
        with self._lock:
            self._sockets.add(raw)
            over = self._over
        if over:
            self.shut()


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
    if deadline is None:
        return timeout
    left = deadline.remaining_s()
    if not left:
        raise over("deadline")
    return left if timeout is None else min(timeout, left)


Opened = Callable[[httpcore.NetworkStream], None]


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, opened: Opened) -> None:
        self._inner = inner
        self._opened = opened
        opened(inner)

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
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._opened)
        except ValueError as error:  # a host name that cannot be in a certificate
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, opened: Opened) -> None:
        self._inner = httpcore.SyncBackend()
        self._opened = opened

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
            return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options), self._opened)
        except UnicodeError as error:  # a host name that IDNA does not know
            raise httpcore.ConnectError(str(error)) from error


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any, deadline: Deadline | None, most: int, declared: int, cut: int | None) -> None:
        """All sizes in bytes. More than `most` is an error; where there is a `cut`, the body ends there instead."""
        self._inner = inner
        self._deadline = deadline
        self._most = most
        self._declared = declared
        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        if self._declared > self._most and self._cut is None:
            raise self._too_large()
        left = self._most if self._cut is None else self._cut
        pieces = iter(self._inner)
        while True:
            with _under(self._deadline):
                piece = next(pieces, None)
            if piece is None:
                return
            left -= len(piece)
            if left < 0 and self._cut is not None:
                return
            if left < 0:
                raise self._too_large()
            yield piece

    def _too_large(self) -> TooLarge:
        return TooLarge(f"an answer of more than {self._most / 1_000_000:g} MB")

    def close(self) -> None:
        with _under(self._deadline):
            self._inner.close()


def _declared(headers: httpx.Headers) -> int:
    """What the server says the body's length is, in bytes; 0 when it does not."""
    length = headers.get("Content-Length", "")
    # isdecimal() accepts other scripts' digits, too; the header is hostile, but int() can read those.
    return int(length) if length.isdecimal() and len(length) < 20 else 0


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading them takes 20 ms, which the first token need not wait for every time."""
    return httpcore.default_ssl_context()
