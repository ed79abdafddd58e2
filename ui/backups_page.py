"""The page "Backups": says what there is, which is not much yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gardener.errors import UsageError
from ui.markup import empty, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.server.edge import Edge


class BackupsPage:
    path = "backups"
    name = "Backups"
    lead = "Copies of what cannot be made again: conversations, settings, adapters."

    def __init__(self, edge: Edge) -> None:
        self._paths = edge.gardener.paths

    def open(self, query: Fields) -> Shown:
        home, config, state = text(self._paths.home), text(self._paths.config), text(self._paths.state_db)
        return Shown(
            "",
            "",
            empty(
                "Gardener makes no backups yet",
                f"<p>Everything lies below <code>{home}</code>. Indexes and vectors can be made again from your "
                f"folders; conversations (<code>{state}</code>) and settings (<code>{config}</code>) cannot.</p>"
                "<p>To copy them yourself: <code>gardener stop</code>, then copy that folder.</p>",
            ),
        )

    def refresh(self, worked: bool) -> Shown:
        return Shown()

    def live(self) -> str:
        return ""

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        raise UsageError(f"This page cannot do {what!r}.", next_step="gardener help")
