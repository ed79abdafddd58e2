"""A streamed answer of a model server, line by line: deadlines that hold, errors with a class, retries before the first
word, a breaker. Both server backends read through it.

An httpx timeout is for each read, and a read that blocks sees no cancellation; so one thread reads and puts lines into
a queue, and whoever asked waits on the queue, looks at the clock, and shuts the connection when it is over.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from gardener.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    GardenerError,
    ModelNotFound,
    ModelTooLarge,
)
from gardener.models.base import StreamLimits
from gardener.models.server_address import without_key
from gardener.resilience import CircuitBreaker

if TYPE_CHECKING:
    from gardener.models.bounded_transport import BoundedTransport

log = logging.getLogger("gardener.models")

MOST_LINE_BYTES: Final = 1_000_000
MOST_BYTES: Final = 20_000_000
"""Of a whole answer, with everything that a server sends around its words."""
MOST_ERROR_BYTES: Final = 64_000
ATTEMPTS: Final = 3
FIRST_WAIT_S: Final = 0.3
LONGEST_WAIT_S: Final = 10.0
_TICK_S: Final = 0.05
_MOST_REPHRASED: Final = 3
_NO_MEMORY: Final = re.compile(r"(?i)requires more system memory|out of memory|insufficient memory|not enough memory")


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
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`where` names the server in errors; `cancelled` is asked all the time."""
        self._where = where
        self._url = url
        self._body = body
        self._headers = dict(headers)
        self._limits = limits
        self._cancelled = cancelled
        self._model = model
        self._most_bytes = most_bytes
        self._begun = self._last = time.monotonic()
        self._spoke = False
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1000)
        self._over = threading.Event()
        self._transport: BoundedTransport | None = None

    def useful(self) -> None:
        """Words came: from now on the limit of silence counts."""
        self._last = time.monotonic()
        self._spoke = True

    def lines(self, on_refused: Callable[[int, str], None] = lambda status, said: None) -> Iterator[str]:
        """Lines without their ends. Tried again, with growing waits, while nothing has come and the server was busy or
        broke off. `on_refused(status, said)` may raise AskAgain a few times.

        Raises Cancelled, BackendError and its subclasses, ModelNotFound, ModelTooLarge.
        """
        attempt = 0
        rephrased = 0
        while True:
            attempt += 1
            given = False
            try:
                for line in self._once():
                    given = True
                    yield line
                return
            except _Status as refusal:
                if rephrased < _MOST_REPHRASED:
                    try:
                        on_refused(refusal.status, refusal.said)
                    except AskAgain as again:
                        rephrased, self._body = rephrased + 1, again.body
                        continue
                error: GardenerError = refusal.as_error(self._where, self._model)
                wait_s = refusal.retry_after_s
                # Too little memory is too little the next time, after another long load.
                again_helps = refusal.status in _PASSING and not isinstance(error, ModelTooLarge)
            except BackendUnavailable as broken:
                error, wait_s, again_helps = broken, 0.0, not isinstance(broken, _Nobody)
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
        from gardener.models.bounded_transport import BoundedTransport

        transport = BoundedTransport(self._url, self._most_bytes, most_error_bytes=MOST_ERROR_BYTES)
        self._transport = transport
        threading.Thread(target=self._read, args=(over, lines, transport), name="model-server", daemon=True).start()
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

    def _read(self, over: threading.Event, lines: queue.Queue[tuple[str, Any]], transport: BoundedTransport) -> None:
        """In a thread of its own: everything goes into the queue, an error too."""

        def put(kind: str, value: Any) -> None:
            while not over.is_set():
                try:
                    lines.put((kind, value), timeout=0.2)
                    return
                except queue.Full:
                    continue

        try:
            for line in self._lines_of_response(transport):
                put("line", line)
                if over.is_set():
                    return
            put("end", None)
        except (_Status, GardenerError) as error:
            put("error", error)
        except Exception as error:
            # httpx, h11, ssl, the system: whatever ends the connection is one thing to whoever waits.
            put("error", _broken(self._where, error, self._headers))

    def _lines_of_response(self, transport: BoundedTransport) -> Iterator[str]:
        import httpx

        from gardener.models.bounded_transport import TooLarge

        timeout = httpx.Timeout(None, connect=self._limits.connect_s)
        # Not the environment's proxies, and to no other host: code goes where the user said and nowhere else.
        with (
            httpx.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", self._url, json=self._body, headers=self._headers) as response,
        ):
            if response.status_code != 200:
                said = error_text(response.read(), self._headers)
                raise _Status(response.status_code, said, response.headers.get("Retry-After", ""))
            held = b""
            try:
                for piece in response.iter_raw():
                    *whole, held = (held + piece).split(b"\n")
                    for line in whole:
                        yield line.decode("utf-8", "replace").rstrip("\r")
                    if len(held) > MOST_LINE_BYTES:
                        raise BackendError(f"{self._where} sent a line without end.", next_step="gardener models ps")
            except TooLarge as error:
                raise BackendError(
                    f"{self._where} sent an answer without end.", next_step="gardener models ps"
                ) from error
            if held:
                yield held.decode("utf-8", "replace")

    def _shut(self) -> None:
        """Ends the connection, also under a read that waits; the server sees that and stops its work."""
        self._over.set()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.shut()


@contextmanager
def counted(breaker: CircuitBreaker) -> Iterator[None]:
    """One call of a server through its breaker. What it refuses says nothing against it: it works, and has read."""
    refusal: BackendRefused | None = None
    with breaker.calling(failures=BackendError):
        try:
            yield
        except BackendRefused as error:
            refusal = error
    if refusal is not None:
        raise refusal


class _Nobody(BackendUnavailable):
    """The connection was refused: nothing listens there, and in a second nothing will."""


class _Status(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, said: str, retry_after: str) -> None:
        super().__init__(str(status))
        self.status = status
        self.said = said
        self.retry_after_s = _seconds_until(retry_after)

    def as_error(self, where: str, model: str) -> GardenerError:
        said = f"{where} answered {self.status}: {self.said}" if self.said else f"{where} answered {self.status}."
        if self.status == 404 and "model" in self.said.lower():
            return ModelNotFound(f"{where} has no model {model!r}: {self.said}", next_step="gardener models list")
        if _NO_MEMORY.search(self.said):
            return ModelTooLarge(said, next_step="gardener models recommend")
        if self.status in (401, 403):
            return BackendRefused(f"{said} The key is missing or wrong.", next_step="gardener config show --origin")
        if self.status in (429, 503):
            return BackendBusy(said, next_step="gardener models ps")
        if 400 <= self.status < 500:
            return BackendRefused(said, next_step="gardener models check")
        if 300 <= self.status < 400:
            return BackendRefused(
                f"{where} wants to send us to another address, which is not followed.",
                next_step="gardener config show --origin",
            )
        return BackendError(said, next_step="gardener doctor")


_PASSING: Final = (429, 500, 502, 503, 504)


def _seconds_until(retry_after: str) -> float:
    """What a Retry-After asks for: seconds, or a date (RFC 9110, 10.2.3). 0.0 for what is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    import email.utils

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def error_text(content: bytes, headers: Mapping[str, str]) -> str:
    """What a server says in an error's body, in one short line: OpenAI's form, Ollama's, or the text itself. The key
    among the `headers` that were sent is taken out before the line is cut off, which could leave half of it."""
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
    return without_key(" ".join(text.split()), headers)[:300]


def _broken(where: str, error: Exception, headers: Mapping[str, str]) -> GardenerError:
    import httpx

    short = without_key(" ".join(f"{type(error).__name__} {error}".split()), headers)[:200]
    if isinstance(error, httpx.ConnectTimeout):
        return BackendTimeout(f"{where} did not accept a connection in time.", next_step="gardener doctor")
    if isinstance(error, httpx.ConnectError):
        refused = "refused" in str(error).lower() or "111" in str(error) or "61]" in str(error)
        if refused:
            return _Nobody(f"Nothing answers at {where}.", next_step="gardener doctor")
        return BackendUnavailable(f"{where} cannot be reached: {short}", next_step="gardener doctor")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return BackendRefused(f"{where} is no address of a server.", next_step="gardener config show --origin")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return BackendUnavailable(f"{where} broke the connection off.", next_step="gardener doctor")
    return BackendUnavailable(f"{where} broke the connection off: {short}", next_step="gardener doctor")
