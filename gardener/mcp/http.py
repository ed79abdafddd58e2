"""MCP over streamable HTTP: an ASGI application whose sessions live and end with the app's lifespan.

It checks neither Host nor Origin nor size: the guard in front of it has, more strictly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.transport_security import TransportSecuritySettings

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

MOST_SESSIONS = 64
"""Sessions at the same time; a client beyond them is told 503. Clients of 2026-07 and later need no session."""
IDLE_SECONDS = 1_800.0
"""A session without a request for so long is ended; its client begins a new one."""

Message = MutableMapping[str, Any]


class HttpEndpoint:
    """Serves the server that `make_server` builds, while `running`."""

    def __init__(self, make_server: Callable[[], MCPServer[Any]]) -> None:
        self._make_server = make_server
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = self._make_server()
        server.streamable_http_app(
            max_sessions=MOST_SESSIONS,
            session_idle_timeout=IDLE_SECONDS,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        async with server.session_manager.run():
            self._manager = server.session_manager
            try:
                yield
            finally:
                self._manager = None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Raises RuntimeError when it is not running."""
        if self._manager is None:
            raise RuntimeError("/mcp is served outside the app's lifespan")
        await self._manager.handle_request(scope, receive, send)
