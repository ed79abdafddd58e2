"""Serves MCP on standard input and output: `gardener mcp`. Ends with its client, and on SIGTERM and SIGINT."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server import MCPServer

log = logging.getLogger("gardener.mcp")

END_SECONDS = 10.0
"""How long work under way may take to end once nobody waits for it; then the process ends without it."""
PIECE_BYTES = 65_536


def serve_stdio(server: MCPServer[Any]) -> None:
    """Serves until the client closes its end or a signal comes; both cancel the calls under way.

    Only the protocol reaches standard output: the transport keeps it to itself and points file descriptor 1 at standard
    error meanwhile. Call it on the main thread, once in a process.
    """
    inlet = _Inlet()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inlet.end())
    try:
        server.run("stdio")
    except* BrokenPipeError:
        log.info("mcp.client_gone")  # it died while an answer was on its way


class _Inlet:
    """Standard input as something that can be ended from this side.

    A thread that waits for a line on a pipe cannot be interrupted, and the transport has one. So it reads from a socket
    instead, into which a daemon thread hands what the client writes; a signal closes that like a client that leaves.
    """

    def __init__(self) -> None:
        self._client = os.dup(0)
        here, self._hand = socket.socketpair()
        os.dup2(here.fileno(), 0)
        here.close()
        threading.Thread(target=self._relay, name="mcp-stdin", daemon=True).start()

    def _relay(self) -> None:
        with suppress(OSError):  # ended from this side
            while piece := os.read(self._client, PIECE_BYTES):
                self._hand.sendall(piece)
        self.end()

    def end(self) -> None:
        with suppress(OSError):  # ended before
            self._hand.shutdown(socket.SHUT_WR)
        timer = threading.Timer(END_SECONDS, _leave)
        timer.daemon = True
        timer.start()


def _leave() -> None:
    log.warning("mcp.left_work_behind", extra={"fields": {"seconds": END_SECONDS}})
    sys.stderr.flush()
    os._exit(0)  # what must be whole on the disk is written atomically
