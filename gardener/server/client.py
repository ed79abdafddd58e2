"""The command line's way to the running app: the public HTTP API over a plain socket, nothing heavier.

httpx costs 130 ms to import and http.client 27; this costs 10, which matters to `gardener search` (row 9 of
docs/performance.md).
"""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager

from gardener.errors import AppUnreachable, GardenerError, UsageError
from gardener.paths import Paths
from gardener.server.exchange import Exchange
from gardener.server.runfile import RunningApp, authority, read_app

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

CONNECT_SECONDS = 1.0
"""A local server accepts at once or not at all."""


def app_error(body: Mapping[str, Any], status: int) -> GardenerError:
    """What the app reported, as the class that it would have had in this process when that is a usage error."""
    error = AppError(body, status)
    if error.exit_code == UsageError.exit_code:
        return UsageError(error.message, next_step=error.next_step)
    return error


class AppError(GardenerError):
    """An error that the app reported, with the code and exit code that it would have had in this process."""

    def __init__(self, body: Mapping[str, Any], status: int) -> None:
        error = body.get("error")
        details: Mapping[str, Any] = error if isinstance(error, dict) else {}
        super().__init__(
            str(details.get("message") or f"The app answered with HTTP status {status}."),
            next_step=str(details.get("next_step") or ""),
        )
        self.code = str(details.get("code") or "internal")
        self.exit_code = int(details.get("exit_code") or 1)
        self.status = status


def find_app(paths: Paths) -> RunningApp | None:
    """The running app of this home folder, or None. A file read, a lock probe and a connect: about a
    millisecond."""
    app = read_app(paths)
    if app is None:
        return None
    try:
        socket.create_connection((app.host, app.port), CONNECT_SECONDS).close()
    except OSError:
        return None
    return app


class AppClient:
    """Requests to one running app. Every call opens its own connection, so it may be used from several
    threads."""

    def __init__(self, app: RunningApp, timeout_s: float = 60.0) -> None:
        """`timeout_s` bounds the silence between two pieces of an answer, in seconds."""
        self.app = app
        self._timeout = timeout_s

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One JSON exchange. Raises AppUnreachable, or AppError with what the app said."""
        with self._exchange(method, path, body) as response:
            loaded = self._json(response.read())
            if response.status >= 400:
                raise app_error(loaded, response.status)
            return loaded

    def text(self, path: str) -> str:
        """The body of a GET that is no JSON. Raises AppUnreachable, also for any other status than 200."""
        with self._exchange("GET", path, None) as response:
            body = response.read().decode("utf-8", "replace")
            if response.status != 200:
                raise AppUnreachable(
                    f"The app at {self.app.url} answers {path} with HTTP status {response.status}.",
                    next_step="gardener status",
                )
            return body

    def look(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and body of a GET, whatever the status. Raises AppUnreachable."""
        with self._exchange("GET", path, None) as response:
            return response.status, self._json(response.read())

    def stream(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The data of each server-sent event, as it arrives. Closing the iterator closes the connection.

        Raises AppUnreachable when the connection ends before the app said that it was done.
        """
        with self._exchange(method, path, body) as response:
            if response.status >= 400:
                raise AppError(self._json(response.read()), response.status)
            event, data = "", []
            while line := response.readline():
                text = line.decode("utf-8").rstrip("\r\n")
                if text.startswith("event:"):
                    event = text[6:].strip()
                elif text.startswith("data:"):
                    data.append(text[5:].removeprefix(" "))
                elif not text and data:
                    if event == "end":
                        return
                    yield self._json("\n".join(data).encode())
                    event, data = "", []
            raise AppUnreachable(
                "The app's answer ended in the middle: it was stopped or it crashed.",
                next_step="gardener status",
            )

    @contextmanager
    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> Iterator[Exchange]:
        headers = {
            "Host": authority(self.app.host, self.app.port),
            "Authorization": f"Bearer {self.app.token}",
            "Accept": "application/json",
            "Connection": "close",
        }
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers["Content-Type"] = "application/json"
        exchange: Exchange | None = None
        try:
            exchange = Exchange(
                self.app.host, self.app.port, method, path, headers, payload,
                connect_s=CONNECT_SECONDS, silence_s=self._timeout,
            )  # fmt: skip
            yield exchange
        except OSError as error:
            raise AppUnreachable(
                f"The app at {self.app.url} (process {self.app.pid}) does not answer: {error!r}.",
                next_step="gardener status",
            ) from error
        finally:
            if exchange is not None:
                exchange.close()

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            loaded = json.loads(data)
        except ValueError:
            loaded = None
        if not isinstance(loaded, dict):
            raise AppUnreachable(f"What answers at {self.app.url} is not Gardener.", next_step="gardener status")
        return loaded
