"""Exchanges with a server that may be slow, broken or hostile: each ends in time, with a whole answer or an error.

    client = bounded_client(url, headers, connect_s=5, most_bytes=10_000_000)
    status, content = exchange(client, "POST", "/embeddings", body, deadline=Deadline(60))
    value = json_object(content)

What holds the server to that is `bounded_transport`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal

import httpx

from gardener.models.bounded_transport import BoundedTransport, TooLarge
from gardener.resilience import Deadline

FailureKind = Literal["unreachable", "timeout", "oversized"]


class TransferFailed(Exception):
    """The exchange did not come to an end. `kind` tells whether another try makes sense ("oversized": none).

    The text is part of a sentence for the user. It holds nothing of the request's headers.
    """

    def __init__(self, kind: FailureKind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


def bounded_client(base_url: str, headers: Mapping[str, str], *, connect_s: float, most_bytes: int) -> httpx.Client:
    """For all exchanges with one server; thread-safe. Follows no redirect, keeps no cookie. `most_bytes`: of an answer.

    Raises ValueError for an address or a header that cannot be sent, without quoting the header.
    """
    try:
        sent = {name: value.encode("ascii") for name, value in headers.items()}
    except UnicodeEncodeError:
        raise ValueError("a header that is not ASCII") from None
    if any(byte < 32 or byte == 127 for value in sent.values() for byte in value):
        raise ValueError("a header with control characters")
    names = {name.encode(): value for name, value in sent.items()}
    try:
        client = httpx.Client(
            base_url=base_url, headers=names, transport=BoundedTransport(base_url, most_bytes),
            trust_env=False, follow_redirects=False, timeout=httpx.Timeout(None, connect=connect_s),
        )  # fmt: skip
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def exchange(
    client: httpx.Client, method: str, path: str, body: Mapping[str, object] | None = None, *, deadline: Deadline
) -> tuple[int, bytes]:
    """One request, its body as JSON; returns the answer's status and body. Raises TransferFailed."""
    if not deadline.remaining_s():
        raise _timeout(deadline)
    try:
        with client.stream(method, path, json=body, extensions={"deadline": deadline}) as response:
            return response.status_code, b"".join(response.iter_raw())
    except (TooLarge, httpx.DecodingError) as error:
        raise TransferFailed("oversized", str(error)) from error
    except httpx.TimeoutException as error:
        raise _timeout(deadline) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise TransferFailed("unreachable", f"{type(error).__name__} {str(error)[:150]}".strip()) from error


def json_object(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else: other JSON, NaN and infinity, which JSON does not have,
    numbers of thousands of digits, nesting deeper than Python's stack, text that is not UTF-8."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError("something that is not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("JSON of another form")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _timeout(deadline: Deadline) -> TransferFailed:
    if deadline.remaining_s():
        return TransferFailed("timeout", "it cannot be connected to in time")
    return TransferFailed("timeout", f"it took longer than {deadline.total_s:g} s")
