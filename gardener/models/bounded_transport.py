"""Connections that can be ended from another thread, and answers with a bounded size. Import it inside functions only:
it needs httpx."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

_CONNECTED: Final = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class TooLarge(httpx.HTTPError):
    """An answer went over the limit."""


class BoundedTransport(httpx.BaseTransport):
    """httpx's own transport, without proxies. `shut` wakes whoever waits in it, also for a connection's first byte."""

    def __init__(
        self, url: str, most_bytes: int, *, most_error_bytes: int = 64_000, drop: tuple[str, ...] = ()
    ) -> None:
        """`url` tells whether certificates are needed. An answer that is no success is cut off at its own limit.
        `drop`: headers that are not sent, whatever a client library adds."""
        tls = _certificates() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._inner = httpx.HTTPTransport(verify=tls, trust_env=False)
        self._most = most_bytes
        self._most_error = most_error_bytes
        self._drop = drop
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._over = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "trace": self._trace}
        # A few compressed bytes can become gigabytes in one step.
        request.headers["Accept-Encoding"] = "identity"
        for name in self._drop:
            request.headers.pop(name, None)
        response = self._inner.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        error = not response.is_success
        response.stream = _Bounded(response.stream, self._most_error if error else self._most, cut=error)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise httpx.DecodingError("a compressed answer, which nobody asked for")
        return response

    def shut(self) -> None:
        """Ends every connection; the server sees that and stops its work."""
        with self._lock:
            self._over = True
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._inner.close()

    def _trace(self, event: str, facts: Mapping[str, Any]) -> None:
        if event not in _CONNECTED:
            return
        raw = facts["return_value"].get_extra_info("socket")
        if raw is None:
            return
        with self._lock:
            self._sockets.append(raw)
            over = self._over
        if over:
            self.shut()


class _Bounded(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, most: int, *, cut: bool) -> None:
        self._inner = inner
        self._most = most
        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        left = self._most
        for piece in self._inner:
            left -= len(piece)
            if left < 0 and self._cut:
                return
            if left < 0:
                raise TooLarge(f"more than {self._most:,} bytes")
            yield piece

    def close(self) -> None:
        self._inner.close()


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading them takes 20 ms, which the first token need not wait for every time."""
    return httpx.create_ssl_context(trust_env=False)
