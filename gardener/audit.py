"""The audit log: who changed what, one JSON object a line in logs/audit.log.

    {"time", "pid", "event", "actor", "project", "project_id", "fields"}

`actor` is by which way the change came: cli, web (a page), api (a token), mcp, app (by itself), monitor. What happens
to projects and conversations is also in state.db's table of events, in the transaction of the change; this file is
written right after it, holds the rest, too, and is left alone by a restore.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from contextvars import ContextVar

from gardener.line_log import AUDIT_LOG, append_line, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

    Actor = Literal["cli", "web", "api", "mcp", "app", "monitor"]

MAX_BYTES = 2_000_000
BACKUPS = 9
"""With these, at least the last 18 MB: some 90,000 changes."""
_MAX_TEXT = 500

_process: list[Actor] = ["cli"]
_here: ContextVar[Actor | None] = ContextVar("gardener_actor", default=None)


def actor() -> Actor:
    """By which way the work that is being done came in."""
    return _here.get() or _process[0]


def process_actor(actor: Actor) -> None:
    """Says what this process is, for work that no request has asked for."""
    _process[0] = actor


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """What the block does, in this thread or task, was asked for by this way."""
    token = _here.set(actor)
    try:
        yield
    finally:
        _here.reset(token)


def record(logs: str, event: str, *, project: str = "", project_id: str = "", **fields: object) -> None:
    """Adds a line about a change that has happened. Texts are redacted. Never raises.

    `logs` is paths.logs, `event` like "token.created".
    """
    append(logs, line(event, project, project_id, fields))


def line(event: str, project: str, project_id: str, fields: Mapping[str, object]) -> str:
    """One line of the audit or the performance log: JSON in ASCII, texts redacted and bounded."""
    import json

    from gardener.secret_patterns import redact_text

    def plain(name: str, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {str(key): plain(str(key), part) for key, part in value.items()}
        prefix = f"{name}="  # beside its name, as only "password=" shows that an ordinary word is a secret
        return redact_text(f"{prefix}{value}").removeprefix(prefix)[:_MAX_TEXT]

    said: dict[str, object] = {"time": stamp(time.time()), "pid": os.getpid(), "event": event, "actor": actor()}
    if project:
        said["project"] = plain("project", project)
    if project_id:
        said["project_id"] = project_id
    if fields:
        said["fields"] = {name: plain(name, value) for name, value in fields.items()}
    return json.dumps(said)


def append(logs: str, line: str) -> None:
    """Adds a line that is JSON already."""
    append_line(os.path.join(logs, AUDIT_LOG), line.encode("utf-8", "replace"), max_bytes=MAX_BYTES, backups=BACKUPS)
