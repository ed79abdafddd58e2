"""Where alerts go besides the log and the pages: the desktop, a webhook, a command. Each has an end in time.

An alert holds names of projects and paths, which come from outside: they are passed as data, never as program text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from gardener.errors import AlertFailed, ConfigError, GardenerError
from gardener.health.database import Alert
from gardener.health.kinds import KINDS
from gardener.models.server_address import checked_url, is_local, within
from gardener.models.server_key import server_key

if TYPE_CHECKING:
    from gardener.settings import Settings

_log = logging.getLogger("gardener.health")

DESKTOP_S: Final = 10.0
COMMAND_S: Final = 30.0
WEBHOOK_S: Final = 10.0
KEYRING_S: Final = 10.0
_LAST_WORDS_S: Final = 1.0
WEBHOOK_TRIES: Final = 3
_SHOWN: Final = 300
"""Characters of a notification's text."""

SIGNATURE: Final = "X-Gardener-Signature"
TIMESTAMP: Final = "X-Gardener-Timestamp"

NOTIFY_MAC: Final = """on run argv
display notification (item 2 of argv) with title (item 1 of argv)
end run"""
"""AppleScript that takes its texts as arguments, so that no name can become a part of the script."""


class Message(NamedTuple):
    """An alert in words and as data."""

    alert: Alert
    title: str
    text: str

    def as_json(self) -> dict[str, object]:
        """What a webhook and a command get; the fields are documented in docs/api.md."""
        alert = self.alert
        return {
            "schema": 1, "alert": alert.id, "at": alert.at, "issue": alert.issue, "change": alert.change,
            "kind": alert.kind, "subject": alert.subject, "severity": alert.severity,
            "title": self.title, "detail": alert.detail, "runbook": _runbook(alert.kind),
        }  # fmt: skip


_WORDS: Final[Mapping[str, str]] = {
    "opened": "", "worsened": "Worse: ", "improved": "Better: ", "reminded": "Still: ", "resolved": "Over: ",
}  # fmt: skip


def message(alert: Alert) -> Message:
    title = KINDS[alert.kind].title if alert.kind in KINDS else alert.kind
    about = f"{title} ({alert.subject})" if alert.subject else title
    return Message(alert, f"{_WORDS[alert.change]}{about}", alert.detail if alert.change != "resolved" else "")


def _runbook(kind: str) -> str:
    return KINDS[kind].runbook if kind in KINDS else ""


class Sink(Protocol):
    name: str

    def send(self, message: Message) -> None:
        """Returns when it was delivered, within a minute. Raises GardenerError when it was not."""


class Desktop:
    """A notification through osascript(1) on macOS or notify-send(1) on Linux; neither was tried on a Mac."""

    name = "desktop"

    def __init__(self, platform: str = sys.platform, find: Callable[[str], str | None] = shutil.which) -> None:
        self._mac = platform == "darwin"
        self._program = ("/usr/bin/osascript" if self._mac else None) or find("notify-send") or ""

    @property
    def there(self) -> bool:
        """Whether this machine can show one: on Linux there is a session to show it in."""
        if self._mac:
            return True
        display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
        return bool(self._program) and display and bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS"))

    def send(self, message: Message) -> None:
        title, text = _plain(f"Gardener: {message.title}"), _plain(message.text)
        if self._mac:
            # After "--" nothing is an option; the texts reach the script as its arguments.
            arguments = [self._program, "-e", NOTIFY_MAC, "--", title, text]
        else:
            urgency = "critical" if message.alert.severity == "error" else "normal"
            # The body may be read as markup by the desktop.
            markup = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            arguments = [self._program, "--app-name=Gardener", f"--urgency={urgency}", "--", title, markup]
        run_bounded(arguments, b"", DESKTOP_S)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_SHOWN]


class Command:
    """The user's own program: its arguments as a list, no shell, the alert as JSON on its standard input."""

    name = "command"

    def __init__(self, arguments: Sequence[str], limit_s: float = COMMAND_S) -> None:
        self._arguments = [os.path.expanduser(arguments[0]), *arguments[1:]]
        self._limit_s = limit_s

    def send(self, message: Message) -> None:
        run_bounded(self._arguments, json.dumps(message.as_json()).encode() + b"\n", self._limit_s)


def run_bounded(arguments: Sequence[str], data: bytes, limit_s: float) -> None:
    """Runs a program in a process group of its own, which is killed when the time is up. Raises AlertFailed.

    It has ended when the program itself has: what that left running in the background may go on, and keep its outputs.
    """
    said = _Tail()
    try:
        process = subprocess.Popen(
            list(arguments), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said.write_end,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise AlertFailed(
            f"{arguments[0]} could not be run: {error.strerror}.", next_step="gardener config get health.command"
        ) from error
    finally:
        said.begin()
    with process:
        try:
            process.communicate(data, timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise AlertFailed(f"{arguments[0]} did not end within {limit_s:g} s and was killed.") from error
        finally:
            if process.poll() is None:
                _kill_group(process.pid)
    if process.returncode:
        words = said.text()
        raise AlertFailed(f"{arguments[0]} ended with {process.returncode}" + (f": {words}" if words else "."))


class _Tail:
    """A pipe that is read to its end on a thread, of which the last words are kept: a program may write without end."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._last = b""
        self._thread = threading.Thread(target=self._read, name="alert-words", daemon=True)

    def begin(self) -> None:
        """Call it once the program has its own copy of the pipe's other end."""
        os.close(self.write_end)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(_LAST_WORDS_S)  # whoever else still has the pipe is not waited for
        return self._last.decode("utf-8", "replace").strip()[-200:]

    def _read(self) -> None:
        with open(self._read_end, "rb", buffering=0) as handle:
            while block := handle.read(65_536):
                self._last = (self._last + block)[-1_000:]


def _kill_group(pid: int) -> None:
    # macOS says EPERM, not ESRCH, of a group whose processes have all ended and were not waited for.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Webhook:
    """One POST per alert to this machine or a host that was allowed; signed, no redirects, a few tries."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        hosts: Sequence[str],
        key: str | Callable[[], str],
        *,
        limit_s: float = WEBHOOK_S,
        first_wait_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`key` may be a function, which is called by the first alert and must end by itself.

        Raises ConfigError for an address that is none, or a host that was not allowed.
        """
        self._url = checked_url(url, "webhook.url")
        if not self._url.isascii() or not self._url.isprintable() or " " in self._url:
            raise ConfigError(
                f"webhook.url has letters in it that an address cannot have: {self._url[:100]!r}. "
                "They are written as %20 and the like.",
                next_step="gardener config get webhook.url",
            )
        host = (urlsplit(self._url).hostname or "").lower().rstrip(".")
        if not is_local(self._url) and host not in {name.lower().rstrip(".") for name in hosts}:
            raise ConfigError(
                f"webhook.url is on {host}, which is not among webhook.hosts.",
                next_step=f"gardener config set webhook.hosts {host}",
            )
        self._key = key if isinstance(key, str) else ""
        self._ask_key = None if isinstance(key, str) else key
        self._limit_s = limit_s
        self._first_wait_s = first_wait_s
        self._clock = clock

    def send(self, message: Message) -> None:
        from gardener.resilience import retry_call

        body = json.dumps(message.as_json()).encode()
        if self._ask_key is not None:
            self._key, self._ask_key = self._ask_key(), None

        def once() -> None:
            self._post(body)

        try:
            retry_call(
                once, on=(OSError, _TryAgain), attempts=WEBHOOK_TRIES, timeout_s=WEBHOOK_TRIES * self._limit_s,
                first_wait_s=self._first_wait_s,
            )  # fmt: skip
        except (OSError, _TryAgain) as error:
            raise AlertFailed(
                f"The webhook did not take the alert: {error}.", next_step="gardener config get webhook.url"
            ) from error

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "gardener"}
        if self._key:
            timestamp = str(int(self._clock()))
            headers[TIMESTAMP] = timestamp
            headers[SIGNATURE] = sign(self._key, timestamp, body)
        status = _post_once(self._url, headers, body, self._limit_s)
        if status == 429 or status >= 500:
            raise _TryAgain(f"it answers with status {status}")
        if not 200 <= status < 300:  # a redirect is not followed: it could lead anywhere
            raise AlertFailed(
                f"The webhook did not take the alert: it answers with status {status}.",
                next_step="gardener config get webhook.url",
            )


class _TryAgain(Exception):
    pass


def sign(key: str, timestamp: str, body: bytes) -> str:
    """ "sha256=" and the HMAC-SHA256 in hexadecimal of "TIMESTAMP." and the body. Seconds of Unix time are signed along
    so that an old message cannot be sent again unnoticed."""
    return "sha256=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post_once(url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> int:
    """The status. All of it ends within `limit_s`; of the answer's body nothing is read. Raises OSError."""
    import contextlib
    import http.client
    import socket

    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=limit_s)

    def ask() -> int:
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, dict(headers))
            return connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"it does not speak HTTP ({type(error).__name__})") from error
        finally:
            connection.close()

    def stop() -> None:
        raw = connection.sock
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    return within(limit_s, ask, stop)


def _key_in_keyring(entry: str) -> str:
    """Raises GardenerError, also when the keyring does not answer in time."""
    try:
        return within(KEYRING_S, lambda: server_key("", entry, "webhook"))
    except TimeoutError as error:
        raise AlertFailed(
            f"The system's keyring gave no answer for {entry} within {KEYRING_S:g} s; it may be locked.",
            next_step="gardener config set webhook.key_variable NAME",
        ) from error


def configured(settings: Settings) -> dict[str, Sink | GardenerError]:
    """Every sink that is set up, by name; for one that is set up wrongly the error that says how."""
    found: dict[str, Sink | GardenerError] = {}
    if settings.flag("health.desktop") and (desktop := Desktop()).there:
        found[desktop.name] = desktop
    if arguments := settings.texts("health.command"):
        found["command"] = Command(arguments)
    if url := settings.text("webhook.url"):
        try:
            variable, entry = settings.text("webhook.key_variable"), settings.text("webhook.key_keyring")
            # A keyring may ask somebody who is not there: the webhook's own thread waits for it, and no round does.
            key = server_key(variable, "", "webhook") if variable or not entry else lambda: _key_in_keyring(entry)
            found["webhook"] = Webhook(url, settings.texts("webhook.hosts"), key)
        except GardenerError as error:
            found["webhook"] = error
    return found
