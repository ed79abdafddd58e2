"""The backend that needs no model: it answers with what the index holds, and says that it does.

It is the last resort of every order of backends ("search only"), always ready, and honest about it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from gardener.errors import ModelNotFound
from gardener.models.base import Capabilities, ChatRequest, Readiness, TokenCount, estimate_tokens
from gardener.models.composition import compose
from gardener.types import BackendEvent, Done, TextDelta, Usage

EXTRACTIVE = "extractive"
_CONTEXT_TOKENS = 32_768  # no window of its own: as much as a mid-sized model, so that receipts compare


class ExtractiveBackend:
    """Quotes the evidence of a request: definitions, documentation, decisive lines, callers, all cited."""

    name = EXTRACTIVE
    capabilities = Capabilities(generates=False)

    def readiness(self, model: str = "") -> Readiness:
        if model not in ("", EXTRACTIVE):
            return Readiness(
                False, f"The extractive backend has no model {model!r}.", "gardener config get models.backend"
            )
        return Readiness(True)

    def models(self) -> tuple[str, ...]:
        return (EXTRACTIVE,)

    def context_tokens(self, model: str = "") -> int:
        if model not in ("", EXTRACTIVE):
            raise ModelNotFound(
                f"The extractive backend has no model {model!r}; it needs none.", next_step="gardener status"
            )
        return _CONTEXT_TOKENS

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        return estimate_tokens(text)

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        """The answer block by block; `stop` ends it like a model's, `max_tokens` between two blocks."""
        self.context_tokens(request.model)
        return self._blocks(request, cancel)

    def _blocks(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        read = estimate_tokens(request.question).tokens + sum(
            estimate_tokens(item.hit.text).tokens for item in request.evidence
        )
        written = 0
        for number, block in enumerate(compose(request)):
            if cancel.is_set():
                yield Done("cancelled", Usage(read, written))
                return
            text = f"\n\n{block}" if number else block
            cut = min((at for at in map(text.find, filter(None, request.stop)) if at >= 0), default=-1)
            if cut >= 0:
                text = text[:cut]
            tokens = estimate_tokens(text).tokens
            if written + tokens > request.max_tokens:
                yield Done("length", Usage(read, written))
                return
            written += tokens
            if text:
                yield TextDelta(text)
            if cut >= 0:
                break
        yield Done("stop", Usage(read, written))

    def close(self) -> None:
        """Nothing is held."""
