"""Projects that were removed in a terminal, which tells the running app nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import ProjectContext


class Departed:
    """Does for them what the app does for a project that is removed through it: their work ends, their indexes are
    closed, and of those that are gone for good no question and no answer is kept."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._before: dict[str, ProjectContext] = {}

    def look(self) -> None:
        """Raises what the registry raises."""
        registry, jobs = self._edge.gardener.registry, self._edge.jobs
        # The jobs first: one that is begun from here on may be of a project that is added from here on.
        found = [job for job in jobs.find() if job.project_id]
        registered = {context.id: context for context in registry.list()}
        for job in found:
            if job.project_id not in registered and not job.over:
                jobs.cancel(job.id)
        for context in self._before.values():
            if context.id not in registered:
                self._edge.gardener.forget_index(context)
        self._before = registered
        owners = {job.project_id for job in found}
        if owners - registered.keys():
            kept = {context.id for context in registry.list(include_removed=True)}
            for purged in owners - kept:
                jobs.forget(purged)
                self._edge.damaged.pop(purged, None)
