"""A streamed answer of a model server, line by line: deadlines that hold, errors with a class, retries before the first
word, a breaker. Both server backends read through it.

An httpx timeout is for each read, and a read that blocks sees no cancellation; so one thread reads and puts lines into
a queue, and whoever asked waits on the queue, looks at the clock, and shuts the connection when it is over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gardener.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    GardenerError,
    ModelNotFound,
)
from gardener.models.base import StreamLimits
from gardener.types import ProblemKind

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("gardener.models")

MOST_LINE_BYTES: Final = 1_000_000
MOST_BYTES: Final = 20_000_000
"""Of a whole answer, with everything that a server sends around its words."""
MOST_ERROR_BYTES: Final = 64_000
ATTEMPTS: Final = 3
FIRST_WAIT_S: Final = 0.3
LONGEST_WAIT_S: Final = 10.0
_TICK_S: Final = 0.05


class Cancelled(Exception):
    """Whoever asked does not want it any more."""


class AskAgain(Exception):
    """The request can be put in another way: raised by `on_refused`, with the new body."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__("ask again")
        self.body = body


class LineStream:
    """The lines of one answer. `useful` is to be called for each line that said something: keeping a connection open is
    no progress."""

    def __init__(
        self,
        where: str,
        url: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str],
        limits: StreamLimits,
        cancelled: Callable[[], bool],
        model: str,
    ) -> None:
        """`where` names the server in errors; `cancelled` is asked all the time."""
        self._where = where
        self._url = url
        self._body = body
        self._headers = dict(headers)
        self._limits = limits
        self._cancelled = cancelled
        self._model = model
        self._begun = self._last = time.monotonic()
        self._spoke = False
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1000)
        self._over = threading.Event()
        self._response: httpx.Response | None = None

    def useful(self) -> None:
        """Words came: from now on the limit of silence counts."""
        self._last = time.monotonic()
        self._spoke = True

    def lines(self, on_refused: Callable[[int, str], None] = lambda status, said: None) -> Iterator[str]:
        """Lines without their ends. Tried again, with growing waits, while nothing has come and the server was busy or
        broke off. `on_refused(status, said)` may raise AskAgain once.

        Raises Cancelled, BackendError and its subclasses, ModelNotFound.
        """
        attempt = 0
        asked_again = False
        while True:
            attempt += 1
            given = False
            try:
                for line in self._once():
                    given = True
                    yield line
                return
            except _Status as refusal:
                if not asked_again:
                    try:
                        on_refused(refusal.status, refusal.said)
                    except AskAgain as again:
                        asked_again, self._body = True, again.body
                        continue
                error: GardenerError = refusal.as_error(self._where, self._model)
                wait_s = refusal.retry_after_s
                again_helps = refusal.status in (429, 500, 502, 503, 504)
            except BackendUnavailable as broken:
                error, wait_s, again_helps = broken, 0.0, not isinstance(broken.__cause__, ConnectionRefusedError)
            finally:
                self._shut()
            wait_s = max(wait_s, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)) * random.uniform(0.7, 1.3))
            left = self._begun + min(self._limits.first_token_s, self._limits.total_s) - time.monotonic()
            if given or not again_helps or attempt >= ATTEMPTS or wait_s > min(left, 3 * LONGEST_WAIT_S):
                raise error
            log.info("retry.scheduled", extra={"fields": {"where": self._where, "wait_s": round(wait_s, 2)}})
            self._sleep(wait_s)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._cancelled():
                raise Cancelled
            time.sleep(min(_TICK_S, max(0.0, until - time.monotonic())))

    # ---- one attempt ---------------------------------------------------------------------------------

    def _once(self) -> Iterator[str]:
        self._over = threading.Event()
        self._queue = queue.Queue(maxsize=1000)
        over, lines = self._over, self._queue
        threading.Thread(target=self._read, args=(over, lines), name="model-server", daemon=True).start()
        while True:
            self._check_time()
            try:
                kind, value = lines.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            if kind == "line":
                yield value
            elif kind == "end":
                return
            else:
                raise value

    def _check_time(self) -> None:
        if self._cancelled():
            raise Cancelled
        now, limits = time.monotonic(), self._limits
        for passed, said, key in (
            (now - self._begun > limits.total_s, f"took longer than {limits.total_s:g} s", "total_s"),
            (
                not self._spoke and now - self._begun > limits.first_token_s,
                f"gave no word within {limits.first_token_s:g} s",
                "first_token_s",
            ),
            (self._spoke and now - self._last > limits.idle_s, f"was silent for {limits.idle_s:g} s", "idle_s"),
        ):
            if passed:
                raise BackendTimeout(
                    f"{self._where} {said}.",
                    next_step=f"gardener config set models.{key} {2 * getattr(limits, key):g}",
                )

    def _read(self, over: threading.Event, lines: queue.Queue[tuple[str, Any]]) -> None:
        """In a thread of its own: everything goes into the queue, an error too."""

        def put(kind: str, value: Any) -> None:
            while not over.is_set():
                try:
                    lines.put((kind, value), timeout=0.2)
                    return
                except queue.Full:
                    continue

        try:
            for line in self._lines_of_response(over):
                put("line", line)
                if over.is_set():
                    return
            put("end", None)
        except (_Status, GardenerError) as error:
            put("error", error)
        except Exception as error:
            # httpx, h11, ssl, the system: whatever ends the connection is one thing to whoever waits.
            put("error", _broken(self._where, error))

    def _lines_of_response(self, over: threading.Event) -> Iterator[str]:
        import httpx

        timeout = httpx.Timeout(None, connect=self._limits.connect_s)
        # Not the environment's proxies, and to no other host: code goes where the user said and nowhere else.
        with (
            httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", self._url, json=self._body, headers=self._headers) as response,
        ):
            self._response = response
            if over.is_set():
                return
            if response.status_code != 200:
                content = b""
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > MOST_ERROR_BYTES:
                        break
                raise _Status(response.status_code, content, response.headers.get("Retry-After", ""))
            held, total = b"", 0
            for piece in response.iter_bytes():
                total += len(piece)
                held += piece
                if total > MOST_BYTES:
                    raise BackendError(f"{self._where} sent an answer without end.", next_step="gardener models ps")
                *whole, held = held.split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace").rstrip("\r")
                if len(held) > MOST_LINE_BYTES:
                    raise BackendError(f"{self._where} sent a line without end.", next_step="gardener models ps")
            if held:
                yield held.decode("utf-8", "replace")

    def _shut(self) -> None:
        """Ends the connection, also under a read that waits; the server sees that and stops its work."""
        self._over.set()
        response, self._response = self._response, None
        if response is not None:
            with contextlib.suppress(Exception):
                raw: socket.socket | None = response.extensions["network_stream"].get_extra_info("socket")
                if raw is not None:
                    raw.shutdown(socket.SHUT_RDWR)


class _Status(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, content: bytes, retry_after: str) -> None:
        super().__init__(str(status))
        self.status = status
        self.said = error_text(content)
        self.retry_after_s = float(retry_after) if retry_after.strip().isdigit() and len(retry_after) < 6 else 0.0

    def as_error(self, where: str, model: str) -> GardenerError:
        said = f"{where} answered {self.status}: {self.said}" if self.said else f"{where} answered {self.status}."
        if self.status == 404 and "model" in self.said.lower():
            return ModelNotFound(f"{where} has no model {model!r}: {self.said}", next_step="gardener models list")
        if self.status in (401, 403):
            return BackendRefused(f"{said} The key is missing or wrong.", next_step="gardener config show --origin")
        if self.status in (429, 503):
            return BackendBusy(said, next_step="gardener models ps")
        if 400 <= self.status < 500:
            return BackendRefused(said, next_step="gardener models check")
        return BackendError(said, next_step="gardener doctor")


def error_text(content: bytes) -> str:
    """What a server says in an error's body, in one short line: OpenAI's form, Ollama's, or the text itself."""
    text = content[:MOST_ERROR_BYTES].decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        inner = found.get("error", found.get("detail", found.get("message")))
        if isinstance(inner, dict):
            inner = inner.get("message")
        if isinstance(inner, str):
            text = inner
    return " ".join(text.split())[:300]


def _broken(where: str, error: Exception) -> GardenerError:
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return BackendTimeout(f"{where} did not accept a connection in time.", next_step="gardener doctor")
    if isinstance(error, httpx.ConnectError):
        refused = "refused" in str(error).lower() or "111" in str(error) or "61]" in str(error)
        found = BackendUnavailable(
            f"Nothing answers at {where}." if refused else f"{where} cannot be reached: {_short(error)}",
            next_step="gardener doctor",
        )
        found.__cause__ = ConnectionRefusedError() if refused else error
        return found
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return BackendRefused(f"{where} is no address of a server.", next_step="gardener config show --origin")
    found = BackendUnavailable(f"{where} broke the connection off: {_short(error)}", next_step="gardener doctor")
    found.__cause__ = error
    return found


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


def problem_of(error: GardenerError) -> ProblemKind:
    """The kind of problem that an error is, for whoever shows or counts it."""
    for kind, classes in _KINDS:
        if isinstance(error, classes):
            return kind
    return "unknown"


_KINDS: Final[tuple[tuple[ProblemKind, tuple[type[GardenerError], ...]], ...]] = (
    ("timeout", (BackendTimeout,)),
    ("rate limit", (BackendBusy,)),
    ("validation", (BackendRefused, ModelNotFound)),
    ("network", (BackendUnavailable,)),
    ("model failure", (BackendError,)),
)


def is_local(url: str) -> bool:
    """Whether a URL's host is this machine, by its name alone."""
    host = (urlsplit(url).hostname or "").lower()
    return host in ("localhost", "::1") or host.endswith(".localhost") or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def quick_get(url: str, path: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, bytes]:
    """A small GET without importing an HTTP client, for questions that `gardener status` asks. At most 4 MB.

    Raises OSError, or ValueError for what is no HTTP.
    """
    import http.client

    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=timeout_s)
    deadline = time.monotonic() + timeout_s
    try:
        connection.request("GET", parts.path.rstrip("/") + path, headers=dict(headers))
        response = connection.getresponse()
        content = b""
        while piece := response.read1(65_536):
            content += piece
            if len(content) > 4_000_000 or time.monotonic() > deadline:
                raise ValueError("an answer without end")
        return response.status, content
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP: {type(error).__name__}") from error
    finally:
        connection.close()
