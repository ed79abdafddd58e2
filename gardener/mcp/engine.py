"""What the tools need done that costs something: searching and answering, here or by the running app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gardener.index.search import SearchRequest
    from gardener.types import ProjectContext


class RunningAnswer(Protocol):
    """An answer that is being written."""

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of `gardener ask` (retrieved, text, thinking, answer), blocking. Raises GardenerError."""

    def stop(self) -> None:
        """Ends the work soon, from any thread; `events` ends with it. Stopping twice is allowed."""


class Engine(Protocol):
    """Thread-safe. Every method may raise GardenerError."""

    def search(self, context: ProjectContext, request: SearchRequest) -> dict[str, Any]:
        """SearchResult.as_json of one project."""

    def ask(self, context: ProjectContext, question: str, hits: int | None) -> RunningAnswer:
        """Starts an answer that is kept in no conversation."""
