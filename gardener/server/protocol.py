"""HTTP/1.1 that does not wait for ever: a connection must finish its request's headers within a deadline.

uvicorn times idle connections between requests only, so a client that drips one header byte at a time would
hold its connection for good. The body's pace is the guard's business
(gardener.server.guard.Limits.body_seconds).
"""

from __future__ import annotations

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 65_536
MAX_CONNECTIONS = 512
"""Open at once; a browser opens six."""


def most_connections() -> int:
    """Half of the file descriptors that the process may have: the rest is for indexes, databases and logs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(32, min(MAX_CONNECTIONS, soft // 2))


class PatientProtocol(H11Protocol):
    """uvicorn's h11 protocol with a deadline on the headers of every request."""

    header_seconds = HEADER_SECONDS
    most_connections = most_connections()
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            # Not even an answer: files and logs need the descriptors that are left.
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # IDLE: the peer has sent some of a request's headers, or nothing, but not all of them.
        if self.conn.their_state is h11.IDLE:
            self._watch()
        else:
            self._unwatch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
