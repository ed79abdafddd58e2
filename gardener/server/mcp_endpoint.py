"""/mcp of the app: the MCP endpoint, for clients with a token only. It is made when the first of them asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gardener.server.passage import Caller, Receive, Scope, Send, send_refusal
from gardener.server.refusal import Refusal

if TYPE_CHECKING:
    from gardener.mcp.http import HttpEndpoint
    from gardener.server.edge import Edge


class McpEndpoint:
    """An ASGI application. A browser's cookie does not open it: no page needs it, so no page may use it.

    Most people's app never hears from an MCP client; the library would cost each start 0.4 s and 20 MB.
    """

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._asked = asyncio.Event()
        self._made: asyncio.Future[HttpEndpoint] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The time in which requests are answered."""
        self._made = asyncio.get_running_loop().create_future()
        keeper = asyncio.create_task(self._keep(self._made))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            self._made.cancel()
            if not keeper.cancelled() and (problem := keeper.exception()) is not None:
                raise problem

    async def _keep(self, made: asyncio.Future[HttpEndpoint]) -> None:
        """Makes the endpoint when somebody asks, and keeps it in this one task: anyio wants it left where it was
        entered. An endpoint that could not be made is every caller's error, not the app's.
        """
        await self._asked.wait()
        try:
            endpoint = await asyncio.to_thread(self._make)
            async with endpoint.running():
                made.set_result(endpoint)
                await asyncio.Event().wait()
        except Exception as error:
            if made.done():
                raise
            made.set_exception(error)

    def _make(self) -> HttpEndpoint:
        from gardener.mcp.http import HttpEndpoint
        from gardener.mcp.server import build_server
        from gardener.server.mcp_engines import InApp

        return HttpEndpoint(lambda: build_server(self._edge.gardener, InApp(self._edge)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises RuntimeError outside `running`."""
        caller: Caller = scope["gardener.caller"]
        if caller.kind != "client":
            while scope["method"] == "POST" and (await receive()).get("more_body"):
                pass  # closing a connection on an unread body resets it, and the browser would not see why
            refusal = Refusal(403, "token-only", "MCP needs a token, not a browser.", "gardener token create NAME")
            await send_refusal(send, refusal, page=False)
            return
        if self._made is None:
            raise RuntimeError("/mcp is served outside the app's lifespan")
        self._asked.set()
        endpoint = await asyncio.shield(self._made)
        await endpoint(scope, receive, send)
