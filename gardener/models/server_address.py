"""Where a model server is, whether that is this machine, and small questions to it that must not take long."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from gardener.errors import ConfigError

if TYPE_CHECKING:
    import http.client

T = TypeVar("T")
MOST_SMALL_BYTES: Final = 4_000_000


def is_local(url: str) -> bool:
    """Whether a URL's host is this machine, by its name alone.

    Of names only `localhost`, which the hosts file of every system has: what `x.localhost` or `localhost.` is, the
    resolver says (RFC 6761, section 6.3, asks it for loopback, and not all comply), so they are somebody else.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(url: str, key: str) -> str:
    """An http(s) URL of a server, without a slash at its end. `key` is the setting's, for the message.

    Raises ConfigError, also for a name and password within it, which would turn up in messages.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        if good and parts.username is None and parts.password is None:
            return url.rstrip("/")
        why = "is no http:// or https:// address" if not good else "has a name or password in it"
    except ValueError:
        why = "is no http:// or https:// address"
    shown = url.rpartition("@")[2] if "@" in url else url
    raise ConfigError(f"{key} {why}: {shown[:100]!r}.", next_step=f"gardener config set {key} http://HOST:PORT")


def without_key(text: str, headers: Mapping[str, str]) -> str:
    """A text without the key that was sent: servers repeat it in errors, and libraries in theirs."""
    key = headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not key:
        return text
    return text.replace(key, "…").replace(repr(key)[1:-1], "…")  # as it is, and as Python shows it


def within(seconds: float, call: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """What `call` gives or raises; TimeoutError when it takes longer, name resolution and all. `stop` then wakes it.

    A timeout of a socket is for each read: a server that sends a byte a second never meets it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="model-server-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        stop()
        raise TimeoutError(f"no answer within {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def hang_up(connection: http.client.HTTPConnection) -> None:
    """Ends what another thread reads from the connection; closing it alone would not."""
    raw = connection.sock
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)


def quick_get(url: str, path: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, bytes]:
    """A small GET without importing an HTTP client, for questions that `gardener status` asks. At most 4 MB.

    Raises OSError (TimeoutError when all of it takes longer), or ValueError for what is no HTTP.
    """
    import http.client

    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=timeout_s)

    def ask() -> tuple[int, bytes]:
        try:
            connection.request("GET", parts.path.rstrip("/") + path, headers=dict(headers))
            response = connection.getresponse()
            content = response.read(MOST_SMALL_BYTES + 1)
            if len(content) > MOST_SMALL_BYTES:
                raise ValueError("an answer without end")
            return response.status, content
        except http.client.HTTPException as error:
            raise ValueError(f"no HTTP: {type(error).__name__}") from error
        finally:
            connection.close()

    return within(timeout_s, ask, lambda: hang_up(connection))
