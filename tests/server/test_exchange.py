"""The one request at a time that the command line makes; real sockets, and servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from gardener.errors import AppUnreachable
from gardener.server.client import AppClient
from gardener.server.exchange import LONGEST_LINE, Exchange, ProtocolError
from gardener.server.runfile import RunningApp


@contextmanager
def server(answer: bytes, received: list[bytes] | None = None) -> Iterator[int]:
    """Reads one request and sends these bytes, whatever they are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = connection.recv(65_536)
                if received is not None:
                    received.append(data)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def ask(port: int, payload: bytes | None = None, headers: dict[str, str] | None = None) -> Exchange:
    return Exchange(
        "127.0.0.1", port, "POST", "/api/search", headers or {"Host": "x"}, payload, connect_s=5, silence_s=20
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\none\ntwo\n12ignored",
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: Chunked\r\n\r\n4\r\none\n\r\n6;x=y\r\ntwo\n12\r\n0\r\n\r\n",
        b"HTTP/1.0 201\r\nX: y\r\n\r\none\ntwo\n12",
    ],
    ids=["counted", "chunked", "to the end"],
)
def test_a_body_comes_whole(answer: bytes) -> None:
    received: list[bytes] = []
    with server(answer, received) as port:
        exchange = ask(port, b'{"q": 1}')
        assert exchange.status == 201
        assert (exchange.readline(), exchange.readline(), exchange.read()) == (b"one\n", b"two\n", b"12")
        exchange.close()
        exchange.close()
    assert received[0] == b'POST /api/search HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{"q": 1}'


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1234\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LONGEST_LINE + b"\r\n\r\n",
    ],
)
def test_half_an_answer_is_never_taken_for_a_whole_one(answer: bytes) -> None:
    with (
        server(answer) as port,
        pytest.raises((ProtocolError, ConnectionResetError)),
        closing(ask(port)) as exchange,
    ):
        exchange.read()
    with server(answer) as port, pytest.raises(AppUnreachable):
        AppClient(RunningApp(1, "127.0.0.1", port, 0.0, "0", "token")).request("GET", "/api/status")


def test_no_header_can_start_another_one() -> None:
    with pytest.raises(ValueError, match="line break"):
        ask(1, headers={"Host": "x\r\nAuthorization: y"})
