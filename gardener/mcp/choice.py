"""Which project a tool call is about: the one it names, else where the client works, else the active one."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

import anyio
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from gardener.mcp.results import ChosenBy

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.mcp")

ROOTS_SECONDS = 2.0
"""How long a client may take to say which folders it has open; one that takes longer is not asked again."""


@dataclass(frozen=True, slots=True)
class Chosen:
    context: ProjectContext
    by: ChosenBy
    note: str = ""
    """What the caller should know about the choice."""


class Choice:
    """`project` was given when the server was started; `folder` is where the client started it (stdio only)."""

    def __init__(self, gardener: Gardener, project: str | None = None, folder: str | None = None) -> None:
        self._gardener = gardener
        self._project = project
        self._folder = folder
        self._silent: WeakValueDictionary[int, Any] = WeakValueDictionary()
        """Clients that did not answer, by the identity of what they introduced themselves with."""

    async def of(self, ctx: Context, project: str | None) -> Chosen:
        """Raises ProjectNotFound or NoActiveProject."""
        roots = [] if project or self._project else await self._roots(ctx)
        return await anyio.to_thread.run_sync(self._choose, project, roots)

    def _choose(self, project: str | None, roots: list[str]) -> Chosen:
        gardener = self._gardener
        if project:
            return Chosen(gardener.context(project), "argument")
        if self._project:
            return Chosen(gardener.context(self._project), "option")
        for root in roots:
            context = gardener.registry.containing(root)
            if context is not None:
                return Chosen(context, "workspace")
        if self._folder is not None and (context := gardener.registry.containing(self._folder)) is not None:
            return Chosen(context, "working-directory")
        note = (
            f"The folder {roots[0]} belongs to no project: gardener add PATH. The active one was taken."
            if roots
            else ""
        )
        return Chosen(gardener.context(), "active", note)

    async def _roots(self, ctx: Context) -> list[str]:
        """The folders that the client has open, if it tells. Newer protocols have no such question."""
        client = ctx.session.client_params  # one object for the whole connection; the session is the request's
        if client is None or client.capabilities.roots is None or id(client) in self._silent:
            return []
        with warnings.catch_warnings():
            # Deprecated since 2026-07, and still what the editors of today answer.
            warnings.simplefilter("ignore", MCPDeprecationWarning)
            asking = ctx.session.list_roots()
        try:
            with anyio.fail_after(ROOTS_SECONDS):
                listed = await asking
        except (MCPError, TimeoutError) as error:
            self._silent[id(client)] = client
            log.info("mcp.no_roots", extra={"fields": {"reason": repr(error)}})
            return []
        return [folder for root in listed.roots if (folder := _local_folder(str(root.uri)))]


def _local_folder(uri: str) -> str:
    """The path of a file: address on this machine; "" for every other."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return ""
    path = unquote(parts.path)
    return "" if "\0" in path else path
