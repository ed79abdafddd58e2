"""Structured logs: one JSON object a line, redacted, rotated, private; and a stopwatch.

    log = logging.getLogger("gardener.index")
    log.info("index.updated", extra={"project": name, "fields": {"files": 12}})

A record becomes {"time", "level", "component", "pid", "logger", "event", "project", "fields", "exception"}.
`event` is the message, so say what happened in dotted words and put the particulars into `fields`. Every text
passes the redaction of gardener/secret_patterns.py; JSON escaping keeps a record in one line.

Never log a question, an answer or a file's text: redaction is the second line of defence, not the first.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gardener.line_log import complain, shift, stamp
from gardener.paths import Paths, ensure_directory, open_private

MAIN_LOG = "gardener.log"
ERROR_LOG = "error.log"

MAX_TEXT = 8_000
"""Characters of one text in a record; a traceback may have four times as many, cut at its front."""
MAX_ITEMS = 100
"""Entries of one list or mapping in a record."""
MAX_DEPTH = 4

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_CHATTY = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
"""Loggers that bring handlers of their own. uvicorn.access logs whole URLs, one-time tokens included."""

_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogSettings(Protocol):
    """What configure_logging needs of the settings."""

    def text(self, key: str, /) -> str: ...
    def integer(self, key: str, /) -> int: ...


class JsonFormatter(logging.Formatter):
    """A record as one line of ASCII JSON. It never raises: what cannot be shown is replaced by a note."""

    def __init__(self, component: str, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._component = component
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _RECORD_ATTRIBUTES}
        project = fields.pop("project", "")
        given = fields.pop("fields", None)
        fields.update(given if isinstance(given, dict) else {} if given is None else {"fields": given})
        line: dict[str, object] = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "component": self._component,
            "pid": record.process,
            "logger": record.name,
            "event": self._text(_message(record), MAX_TEXT),
        }
        if project:
            line["project"] = self._plain(project, 0)
        if fields:
            line["fields"] = self._plain(fields, 0)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self._text(_traceback(record), 4 * MAX_TEXT, keep_end=True)
        return json.dumps(line, ensure_ascii=True, allow_nan=False)

    def _text(self, text: str, limit: int, *, keep_end: bool = False) -> str:
        # Redacted before it is cut, as half a secret is not recognised. The first cut only bounds the work.
        bound = 4 * limit
        text = text[-bound:] if keep_end else text[:bound]
        try:
            text = self._redact(text)
        except Exception as error:
            return f"[left out: redaction failed with {type(error).__name__}]"
        if len(text) > limit:
            return "[...] " + text[-limit:] if keep_end else text[:limit] + " [...]"
        return text

    def _plain(self, value: object, depth: int) -> object:
        """The value as JSON can hold it, redacted and bounded."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if abs(value) < 2**63 else _safe_str(value)
        if isinstance(value, float):
            return value if value - value == 0 else str(value)  # NaN and infinity are not JSON
        if depth < MAX_DEPTH:
            if isinstance(value, dict):
                items = list(value.items())[:MAX_ITEMS]
                return {self._text(_safe_str(k), 200): self._plain_entry(k, v, depth) for k, v in items}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        return self._text(_safe_str(value), MAX_TEXT)

    def _plain_entry(self, key: object, value: object, depth: int) -> object:
        plain = self._plain(value, depth + 1)
        if isinstance(plain, str):
            # Once more beside its name: only "password=..." shows that an ordinary word is a secret.
            prefix = f"{_safe_str(key)}="
            return self._text(prefix + plain, 2 * MAX_TEXT).removeprefix(prefix)
        return plain


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # somebody's __str__: its failure must not cost the record
        return f"[{type(value).__name__} that cannot be shown: {type(error).__name__}]"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # wrong arguments for the format: keep the format, say what is wrong
        return f"{_safe_str(record.msg)} [arguments left out: {type(error).__name__}]"


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info is not None
    try:
        return "".join(traceback.format_exception(*record.exc_info))
    except Exception as error:
        return f"[traceback that cannot be shown: {type(error).__name__}]"


class RotatingJsonFile(logging.Handler):
    """Appends lines to a private file that several processes may share, and puts it aside when it is full.

    Each record is one write(2) on an O_APPEND descriptor, so lines of different processes do not mix.
    Rotation happens under flock(2), and a process whose file another one has put aside opens the new one.
    (The standard library's RotatingFileHandler would go on writing to the renamed file.)
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int, level: int) -> None:
        super().__init__(level)
        self.path = path
        self.lost = 0
        """Records that could not be written, since the start."""
        self._max_bytes = max_bytes
        self._backups = backups
        self._descriptor = -1
        self._complained = False
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("ascii")
            if self._torn:
                data = b"\n" + data
            self._prepare(len(data))
            written = os.write(self._descriptor, data)
            # A nearly full disk takes a part; the next record then begins with a newline to stay readable.
            self._torn = written < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except Exception as error:  # whatever it is, the work that was logged must go on
            self.lost += 1
            self._close_descriptor()
            if not self._complained:
                self._complained = True
                complain(f"gardener: the log {self.path} cannot be written: {error}. Going on without it.\n")
        else:
            self._complained = False

    def _prepare(self, incoming: int) -> None:
        """Leaves an open descriptor of the file now at `path`, with room for `incoming` bytes."""
        if self._descriptor >= 0 and not self._is_current():
            self._close_descriptor()
        if self._descriptor < 0:
            self._open()
        if os.fstat(self._descriptor).st_size + incoming > self._max_bytes:
            self._rotate(incoming)

    def _is_current(self) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._descriptor)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def _open(self) -> None:
        self._descriptor = open_private(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        if os.fstat(self._descriptor).st_mode & 0o077:
            os.fchmod(self._descriptor, 0o600)

    def _rotate(self, incoming: int) -> None:
        lock = open_private(f"{self.path}.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_current():  # another process was faster
                self._close_descriptor()
                self._open()
            size = os.fstat(self._descriptor).st_size
            if size == 0 or size + incoming <= self._max_bytes:
                return
            shift(self.path, self._backups)
            self._close_descriptor()
            self._open()
        finally:
            os.close(lock)

    def _close_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        with self.lock or threading.RLock():
            self._close_descriptor()
        super().close()


class Logging:
    """The logging of this process as configure_logging set it up; `close` puts everything back."""

    def __init__(self, handlers: tuple[RotatingJsonFile, ...]) -> None:
        self._handlers = handlers
        root = logging.getLogger()
        self._before = (root.level, logging.getLogger("gardener").level)

    @property
    def lost_records(self) -> int:
        """Records that could not be written; shown by `gardener status`, doctor and /metrics."""
        return sum(handler.lost for handler in self._handlers)

    def close(self) -> None:
        global _active
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(self._before[0])
        logging.getLogger("gardener").setLevel(self._before[1])
        logging.captureWarnings(False)
        if _active is self:
            _active = None


_active: Logging | None = None
_configured: tuple[Paths, str] | None = None


def configure_logging(paths: Paths, settings: LogSettings, component: str) -> Logging:
    """Sends every logger of this process to paths.logs: all to gardener.log, errors to error.log as well.

    component: "cli", "app", "monitor". Ours log from log.level on, libraries from warning on. Python's
    warnings become records. A second call replaces the first. Raises PermissionProblem or DiskFull when the
    folder cannot be made; after that no failure of logging reaches the caller.
    """
    from gardener.secret_patterns import redact_text

    global _active, _configured
    if _active is not None:
        _active.close()
    _configured = (paths, component)
    ensure_directory(paths.logs)
    formatter = JsonFormatter(component, redact_text)
    handlers = []
    for name, level in ((MAIN_LOG, logging.DEBUG), (ERROR_LOG, logging.ERROR)):
        handler = RotatingJsonFile(
            os.path.join(paths.logs, name),
            max_bytes=settings.integer("log.max_bytes"),
            backups=settings.integer("log.backups"),
            level=level,
        )
        handler.setFormatter(formatter)
        handlers.append(handler)
    _active = Logging(tuple(handlers))
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in handlers:
        root.addHandler(handler)
    logging.getLogger("gardener").setLevel(_LEVELS[settings.text("log.level")])
    adopt_library_loggers()
    logging.captureWarnings(True)
    return _active


def follow(settings: LogSettings) -> None:
    """Logs as changed settings say from now on, in a process that has configured its logging."""
    if _configured is not None:
        configure_logging(_configured[0], settings, _configured[1])


def adopt_library_loggers() -> None:
    """Takes away the handlers of loggers that bring their own, so that their records reach ours.

    Call it again after uvicorn has configured itself, or start uvicorn with log_config=None.
    """
    for name in _CHATTY:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def lost_records() -> int:
    """Log records of this process that could not be written (disk full, folder gone)."""
    return 0 if _active is None else _active.lost_records


def log_unexpected(paths: Paths, error: BaseException) -> str:
    """Writes an exception that nobody expected to the logs and returns the file that holds its traceback.

    Works before configure_logging and with a settings file that is wrong. Raises GardenerError when the logs
    cannot be made.
    """
    if _active is None:
        from gardener.settings import Sources, load_good_parts

        settings, _ = load_good_parts(Sources(paths))
        configure_logging(paths, settings, "cli")
    before = lost_records()
    logging.getLogger("gardener").error("unexpected", exc_info=error)
    if lost_records() > before:
        return "no file: the log cannot be written"
    return os.path.join(paths.logs, ERROR_LOG)


@contextmanager
def timed(name: str, timings_ms: dict[str, float]) -> Iterator[None]:
    """Adds the milliseconds that the block takes to timings_ms[name], also when it raises."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings_ms[name] = timings_ms.get(name, 0.0) + (time.perf_counter() - start) * 1000
