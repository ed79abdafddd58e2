"""Answer events as JSON: what /api streams to every client, the command line included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gardener.errors import GardenerError
from gardener.types import Answer, AnswerEvent, Retrieved, TextDelta, ThinkingDelta

if TYPE_CHECKING:
    from gardener.index.embed import EmbedProgress
    from gardener.index.index_report import IndexProgress

JsonObject = dict[str, Any]


def event_json(event: AnswerEvent) -> JsonObject:
    """One event, told apart by "event": retrieved, text, thinking, answer (the last of a good answer)."""
    match event:
        case Retrieved():
            return {
                "event": "retrieved",
                "hits": [hit.as_json() for hit in event.hits],
                "receipt": event.receipt.as_json(),
                "index": event.index.as_json(),
            }
        case TextDelta():
            return {"event": "text", "text": event.text}
        case ThinkingDelta():
            return {"event": "thinking", "text": event.text}
        case Answer():
            return {"event": "answer", **event.as_json()}


def error_json(error: GardenerError) -> JsonObject:
    """The last event of work that failed."""
    return {"event": "error", **error.as_json()}


def index_progress_json(step: IndexProgress) -> JsonObject:
    """How far an index update is; `rate` in files per second, `eta_s` in seconds, null until known."""
    figures = {"done": step.done, "total": step.total, "rate": step.rate, "eta_s": step.eta_s}
    return {"event": "progress", "phase": step.phase, **figures}


def embed_progress_json(step: EmbedProgress) -> JsonObject:
    """The same for vectors; `rate` in chunks per second, `paused` says why nothing moves."""
    figures = {"done": step.done, "total": step.total, "rate": step.rate, "eta_s": step.eta_s}
    return {"event": "progress", "phase": "embedding", **figures, "paused": step.paused}
