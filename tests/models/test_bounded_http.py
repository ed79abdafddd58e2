"""Exchanges that end in time and are of bounded size, whatever the other side does with its socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from gardener.models.bounded_http import TransferFailed, bounded_client, exchange, json_object
from gardener.resilience import Deadline

Serve = Callable[[socket.socket, threading.Event], None]


@contextmanager
def listening(serve: Serve) -> Iterator[str]:
    """The address of a server that treats one connection after the other with `serve(connection, leave)`."""
    leave = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            with suppress(OSError):
                connection, _ = server.accept()
                if leave.is_set():
                    connection.close()
                    return
                with connection, suppress(OSError):
                    serve(connection, leave)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        leave.set()
        with suppress(OSError), socket.create_connection(server.getsockname(), timeout=120):
            pass  # wakes the thread
        thread.join(120)
        server.close()


def head_of(connection: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said and (piece := connection.recv(65_536)):
        said += piece
    return said


def answer(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body)


@contextmanager
def client_of(serve: Serve) -> Iterator[httpx.Client]:
    with listening(serve) as url, bounded_client(url, {}, connect_s=120, most_bytes=100_000) as client:
        yield client


def get(client: httpx.Client, deadline: Deadline | None = None) -> bytes:
    return exchange(client, "GET", "/", deadline=deadline or Deadline(120))[1]


def test_a_server_that_does_not_take_what_it_is_sent() -> None:
    with client_of(lambda _, leave: leave.wait(120) and None) as client:
        large = {"text": "x" * 30_000_000}
        with pytest.raises(TransferFailed, match=r"longer than 0\.2 s") as caught:
            exchange(client, "POST", "/", large, deadline=Deadline(0.2))
    assert caught.value.kind == "timeout"


def test_a_connection_is_used_again_under_the_next_deadline() -> None:
    connections, heads = [], []

    def serve(connection: socket.socket, leave: threading.Event) -> None:
        connections.append(connection)
        while said := head_of(connection):
            heads.append(said)
            connection.sendall(answer(b"{}", b"Set-Cookie: a=b; Path=/\r\n"))

    with client_of(serve) as client:
        first = Deadline(120)
        assert get(client, first) == b"{}"
        first.total_s = 0  # long past
        assert get(client) == b"{}"
        with pytest.raises(TransferFailed, match="longer than 0 s"):
            get(client, first)
    assert len(connections) == 1
    assert len(heads) == 2
    assert b"ookie" not in heads[1]


def test_a_redirect_is_not_followed() -> None:
    def serve(connection: socket.socket, leave: threading.Event) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    with client_of(serve) as client:
        assert exchange(client, "GET", "/", deadline=Deadline(120)) == (302, b"")


def test_an_address_in_another_alphabet_and_a_header_that_cannot_be_sent() -> None:
    with bounded_client("http://..", {}, connect_s=120, most_bytes=100_000) as client, pytest.raises(TransferFailed):
        get(client)
    with pytest.raises(ValueError, match="header") as caught:
        bounded_client("http://localhost", {"Authorization": "Bearer a\r\nb"}, connect_s=120, most_bytes=100_000)
    assert "Bearer" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b"NaN", b'{"a": -Infinity}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object(content: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_object(content)
