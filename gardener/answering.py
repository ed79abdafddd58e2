"""Puts an Answerer together for one project: its index, its settings, its backends, its own words about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.chat.answer import DEFAULT_SAMPLING, Answerer
from gardener.chat.conventions import conventions, conventions_state
from gardener.chat.remembered import RememberedAnswer
from gardener.index.search import SearchRequest
from gardener.projects import checkout
from gardener.projects.conversations import citation_from
from gardener.secret_patterns import redact_text

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.models.base import Sampling
    from gardener.projects.conversations import StoredMessage
    from gardener.types import ProjectContext


def answerer(gardener: Gardener, context: ProjectContext, sampling: Sampling | None = None) -> Answerer:
    """What answers questions about this project, by its settings as they are now."""
    settings = gardener.settings_for(context)
    return Answerer(
        search=lambda ctx, query, limit: gardener.search(ctx, SearchRequest(query, limit)),
        callers=lambda ctx, symbol: gardener.index(ctx).callers(symbol),
        backends=gardener.backends,
        default_backend=settings.text("models.backend"),
        order=settings.texts("models.order"),
        sampling=sampling or DEFAULT_SAMPLING,
        stronger=gardener.settings.text("models.stronger"),
        budget_tokens=settings.integer("answer.context_tokens"),
        repository_map=lambda ctx, tokens: gardener.index(ctx).map_text(tokens),
        conventions=lambda ctx, characters: conventions(ctx.root, redact_text, characters),
        project_state=_state,
        system_prompts=gardener.system_prompts,
        adapter=gardener.models.adapter,
        remember=lambda ctx, question: map(_remembered, gardener.history.answers_to(ctx.id, question)),
    )


def _remembered(message: StoredMessage) -> RememberedAnswer:
    citations = tuple(citation_from(stored) for stored in message.citations)
    return RememberedAnswer(message.content, citations, message.backend, message.model, message.created_at)


def _state(context: ProjectContext) -> str:
    """Changes when what a project is may have changed: its commit, or what it says about itself."""
    return f"{checkout.head_commit(context.root)}|{conventions_state(context.root)}"
