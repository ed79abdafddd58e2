"""/mcp of the app: the MCP endpoint, for clients with a token only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.mcp.http import HttpEndpoint
from gardener.mcp.server import build_server
from gardener.server.mcp_engines import InApp
from gardener.server.passage import Caller, Receive, Scope, Send, send_refusal
from gardener.server.refusal import Refusal

if TYPE_CHECKING:
    from gardener.server.edge import Edge


class McpEndpoint:
    """An ASGI application. A browser's cookie does not open it: no page needs it, so no page may use it."""

    def __init__(self, edge: Edge) -> None:
        self._http = HttpEndpoint(lambda: build_server(edge.gardener, InApp(edge)))
        self.running = self._http.running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["gardener.caller"]
        if caller.kind != "client":
            while scope["method"] == "POST" and (await receive()).get("more_body"):
                pass  # closing a connection on an unread body resets it, and the browser would not see why
            refusal = Refusal(403, "token-only", "MCP needs a token, not a browser.", "gardener token create NAME")
            await send_refusal(send, refusal, page=False)
            return
        await self._http(scope, receive, send)
