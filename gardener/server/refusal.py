"""Why a request was not served, in the one error form that every route uses.

The form is a superset of OpenAI's (`message`, `type`, `code`, `param`) and of `gardener ... --json`
(`next_step`, `exit_code`), so that clients of either read it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gardener.errors import (
    BackendError,
    ConfigError,
    ConflictError,
    DiskFull,
    GardenerError,
    IntegrityError,
    InvalidPath,
    LockedError,
    ModelError,
    ModelNotFound,
    NotFoundError,
    PermissionProblem,
    UsageError,
)

# First match wins, so subclasses stand before their parents.
STATUS_OF: tuple[tuple[type[GardenerError], int], ...] = (
    (NotFoundError, 404),
    (ModelNotFound, 404),
    (UsageError, 400),
    (InvalidPath, 400),
    (ConfigError, 400),
    (ConflictError, 409),
    (LockedError, 423),
    (PermissionProblem, 403),
    (DiskFull, 507),
    (ModelError, 503),
    (BackendError, 503),
    (IntegrityError, 500),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status with what happened and what to do about it."""

    status: int
    code: str
    message: str
    next_step: str = ""
    param: str | None = None
    exit_code: int = 1

    def as_json(self) -> dict[str, object]:
        return {
            "error": {
                "message": self.message,
                "type": kind_of(self.status),
                "code": self.code,
                "param": self.param,
                "next_step": self.next_step,
                "exit_code": self.exit_code,
            }
        }

    def for_openai(self) -> Refusal:
        """The same with the code spelt as OpenAI's clients know it: model_not_found."""
        return replace(self, code=self.code.replace("-", "_"))

    def body(self) -> bytes:
        return json.dumps(self.as_json()).encode()

    def page(self) -> bytes:
        """The same for a person who opened a link in a browser."""
        step = f"<p>In a terminal: <code>{html.escape(self.next_step)}</code></p>" if self.next_step else ""
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>Gardener</title><style>'
            ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;"
            "margin:15vh auto;padding:0 1rem}code{font-size:1.05em}</style>"
            f"<main><h1>Gardener</h1><p>{html.escape(self.message)}</p>{step}</main></html>"
        ).encode()


STATUSES: dict[int, str] = {
    400: "The request cannot be served as it stands",
    401: "No valid token or session",
    403: "From another site, or not allowed on the disk",
    404: "No such project, conversation, job, model or setting",
    405: "Another method is needed",
    409: "In conflict with what is there",
    413: "The body is too large",
    421: "A Host that is not this server's",
    422: "A field is wrong; the message says which",
    423: "Another process holds what this needs",
    429: "Too many requests without a valid token",
    500: "Something unexpected; the log has the details",
    503: "A model or server does not answer, or too much is going on; see Retry-After",
    507: "The disk is full",
}
"""Every status that an error can have, and what it means."""


def kind_of(status: int) -> str:
    """OpenAI's error type for an HTTP status."""
    return {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }.get(status, "server_error" if status >= 500 else "invalid_request_error")


def status_of(code: str) -> int:
    """The status of an error that is known by its code only."""

    def kinds(kind: type[GardenerError]) -> Iterator[type[GardenerError]]:
        yield kind
        for narrower in kind.__subclasses__():
            yield from kinds(narrower)

    named = next((kind for kind in kinds(GardenerError) if kind.code == code), GardenerError)
    return next((status for kind, status in STATUS_OF if issubclass(named, kind)), 500)


def refusal_of(error: GardenerError) -> Refusal:
    """The HTTP form of an error that a command would print."""
    status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), 500)
    return Refusal(status, error.code, error.message, error.next_step, exit_code=error.exit_code)
