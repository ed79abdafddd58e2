"""Who may talk to the app: client tokens, browser sessions and one-time links.

Every credential is 256 random bits, so one round of SHA-256 is enough to store it safely: there is nothing to
guess. Only hashes are kept (`run/access.json`, 0600); the launch token alone is readable, in `run/app.json`
(0600), because the command line must be able to present it. Browser sessions outlive the process so that an
open tab works again after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal

from gardener import paths
from gardener.audit import record
from gardener.errors import NameTaken, NotFoundError

log = logging.getLogger("gardener.server")

CredentialKind = Literal["client", "browser"]

LINK_SECONDS = 600.0
"""How long an unused one-time link stays valid: enough for a slow first browser start, short enough to be
forgotten."""
SESSION_SECONDS = 30 * 24 * 3600.0
"""How long a browser session lasts after it was opened."""
MAX_SESSIONS = 32
MAX_LINKS = 32


@dataclass(frozen=True, slots=True)
class Credential:
    """One stored credential. `expires` is Unix time in seconds, 0.0 for never."""

    id: str
    name: str
    kind: CredentialKind
    digest: str
    created: float
    expires: float = 0.0


def digest(secret: str) -> str:
    """SHA-256 of a credential, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_id() -> str:
    """A short name for a credential, to revoke it by."""
    return secrets.token_hex(4)


class Access:
    """Thread-safe. `directory` is the run folder; nothing is written before the first credential is made."""

    def __init__(self, directory: str, launch_token: str) -> None:
        self._path = os.path.join(directory, "access.json")
        self._logs = os.path.join(os.path.dirname(directory), "logs")
        self._launch = digest(launch_token)
        self._lock = threading.Lock()
        self._links: dict[str, float] = {}
        self._credentials: tuple[Credential, ...] = ()
        self._seen: tuple[int, int] = (-1, -1)

    # ---- checks: constant time over everything stored --------------------------------------------------

    def client(self, token: str) -> bool:
        """Whether `token` is the launch token or a client token that somebody created."""
        return self._matches(token, "client", extra=self._launch)

    def browser(self, session: str) -> bool:
        """Whether `session` is the cookie value of a live browser session."""
        return self._matches(session, "browser")

    def _matches(self, secret: str, kind: CredentialKind, extra: str = "") -> bool:
        offered, now, found = digest(secret), time.time(), False
        for credential in self._read():
            alive = credential.kind == kind and (credential.expires == 0.0 or credential.expires > now)
            found |= hmac.compare_digest(offered, credential.digest) and alive
        if extra:
            found |= hmac.compare_digest(offered, extra)
        return found and bool(secret)

    # ---- browser: a link that works once, then a session ------------------------------------------------

    def issue_link(self) -> str:
        """A code for `/enter/<code>`. Valid once, for LINK_SECONDS."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            now = time.monotonic()
            self._links = {key: until for key, until in self._links.items() if until > now}
            while len(self._links) >= MAX_LINKS:
                del self._links[min(self._links, key=lambda key: self._links[key])]
            self._links[digest(code)] = now + LINK_SECONDS
        return code

    def enter(self, code: str) -> str | None:
        """Trades a one-time code for a new session's cookie value; None when the code is unknown, used or
        old."""
        with self._lock:
            until = self._links.pop(digest(code), 0.0)
        if until <= time.monotonic():
            return None
        session = secrets.token_urlsafe(32)
        now = time.time()
        self._add(Credential(new_id(), "browser", "browser", digest(session), now, now + SESSION_SECONDS))
        record(self._logs, "browser.entered")
        return session

    # ---- client tokens ---------------------------------------------------------------------------------

    def create_client(self, name: str) -> str:
        """Makes a token for another program and returns it, the only time it can be read. Raises
        NameTaken.
        """
        token = "gardener-" + secrets.token_urlsafe(32)
        if any(credential.name == name for credential in self.clients()):
            raise NameTaken(f"There is already a client token named {name!r}.", next_step="gardener token list")
        self._add(Credential(new_id(), name, "client", digest(token), time.time()))
        record(self._logs, "token.created", name=name)
        return token

    def clients(self) -> list[Credential]:
        return [credential for credential in self._read() if credential.kind == "client"]

    def revoke(self, name_or_id: str) -> None:
        """Ends a client token or a browser session. Raises NotFoundError."""
        with self._lock:
            kept = tuple(c for c in self._load() if name_or_id not in (c.id, c.name))
            if len(kept) == len(self._credentials):
                raise NotFoundError(f"There is no token {name_or_id!r}.", next_step="gardener token list")
            self._save(kept)
        record(self._logs, "token.revoked", name=name_or_id)

    # ---- storage -----------------------------------------------------------------------------------------

    def _add(self, credential: Credential) -> None:
        with self._lock:
            now = time.time()
            kept = [c for c in self._load() if c.expires == 0.0 or c.expires > now]
            sessions = sorted((c for c in kept if c.kind == "browser"), key=lambda c: c.created)
            dropped = {c.id for c in sessions[: max(0, len(sessions) + 1 - MAX_SESSIONS)]}
            self._save((*(c for c in kept if c.id not in dropped), credential))

    def _read(self) -> tuple[Credential, ...]:
        with self._lock:
            return self._load()

    def _load(self) -> tuple[Credential, ...]:
        # Another process (`gardener token create`) may have changed the file; a stat is cheap enough for each
        # request.
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._credentials, self._seen = (), (-1, -1)
            return self._credentials
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._credentials, self._seen = self._parse(), seen
        return self._credentials

    def _parse(self) -> tuple[Credential, ...]:
        try:
            with open(self._path, encoding="utf-8") as handle:
                stored = json.load(handle)
            return tuple(Credential(**entry) for entry in stored["credentials"])
        except (ValueError, KeyError, TypeError) as error:
            # Nobody gets in by a damaged file; the launch token still works and makes new sessions.
            log.error("%s is damaged (%s): stored tokens and sessions are void until made anew", self._path, error)
            return ()

    def _save(self, credentials: tuple[Credential, ...]) -> None:
        paths.ensure_directory(os.path.dirname(self._path))
        entries = [{name: getattr(c, name) for name in Credential.__slots__} for c in credentials]
        paths.write_private(self._path, json.dumps({"version": 1, "credentials": entries}, indent=1).encode())
        self._seen = (-1, -1)
        self._load()
