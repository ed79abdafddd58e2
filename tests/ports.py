"""Ports for processes that are to listen on one that is known before they start, or on the same one again."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """Below those that the system hands out by itself (from 32768 on Linux, from 49152 on macOS): nobody who asks for
    any port, and no connection, gets it meanwhile."""
    for _ in range(1000):
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
