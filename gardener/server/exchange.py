"""One HTTP/1.1 request to the running app over a socket of its own, and the answer as a stream.

Only what our own server needs: no TLS, no redirects, one request a connection. http.client brings in ssl and the e-mail
parser, 17 ms of the 60 that `gardener search` spends in its own process.
"""

from __future__ import annotations

import io
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_LINE = 65_536
MOST_HEADERS = 100


class ProtocolError(ConnectionError):
    """What came back is not a whole HTTP answer."""


class Exchange:
    """A request under way. `status` is known from the start; `read` and `readline` give the body as it arrives.

    Close it. Raises OSError when the connection fails, ProtocolError when the answer is cut off or is no HTTP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
        payload: bytes | None = None,
        *,
        connect_s: float,
        silence_s: float,
    ) -> None:
        """`silence_s` bounds the time between two pieces of the answer, in seconds."""
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if payload is not None:
            lines.append(f"Content-Length: {len(payload)}")
        if any(character in line for line in lines for character in "\r\n"):
            raise ValueError("a header cannot contain a line break")
        self._socket = socket.create_connection((host, port), connect_s)
        try:
            self._socket.settimeout(silence_s)
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (payload or b""))
            self._stream = self._socket.makefile("rb")
            self.status, self._body = _begin(self._stream)
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        return self._body.read()

    def readline(self) -> bytes:
        """The next line with its end; b"" at the end of the body."""
        return self._body.readline()

    def close(self) -> None:
        self._socket.close()
        if (stream := getattr(self, "_stream", None)) is not None:
            stream.close()


def _begin(stream: io.BufferedReader) -> tuple[int, io.BufferedReader]:
    """The status and the body behind the headers."""
    words = _line(stream).split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ProtocolError("the answer is not HTTP")
    length: int | None = None
    chunked = False
    for _ in range(MOST_HEADERS):
        line = _line(stream)
        if not line:
            break
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == b"content-length":
            length = _number(value.strip(), 10)
        elif name == b"transfer-encoding":
            chunked = value.strip().lower() == b"chunked"
    else:
        raise ProtocolError("the answer has too many headers")
    return int(words[1]), io.BufferedReader(_Body(stream, None if chunked else length, chunked))


def _line(stream: io.BufferedReader) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ProtocolError("the answer was cut off")
    return line.rstrip(b"\r\n")


def _number(digits: bytes, base: int) -> int:
    try:
        value = int(digits, base)
    except ValueError:
        value = -1
    if value < 0:
        raise ProtocolError(f"the answer has a bad length: {digits[:20]!r}")
    return value


class _Body(io.RawIOBase):
    """The bytes of a body: so many (`left`), or chunk by chunk, or up to the end of the connection."""

    def __init__(self, stream: io.BufferedReader, left: int | None, chunked: bool) -> None:
        self._stream = stream
        self._chunked = chunked
        self._left = 0 if chunked else left
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._chunked and not self._left and not self._done:
            self._left = _number(_line(self._stream).split(b";")[0].strip(), 16)
            self._done = self._left == 0
        if self._done or self._left == 0:
            return 0
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        data = self._stream.read1(wanted)
        if self._left is not None:
            if not data:
                raise ProtocolError("the answer was cut off")
            self._left -= len(data)
            if self._chunked and not self._left and _line(self._stream):
                raise ProtocolError("the answer has a bad chunk")
        buffer[: len(data)] = data
        return len(data)
