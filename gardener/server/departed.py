"""Projects that were removed in a terminal, which tells the running app nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import ProjectContext


class Departed:
    """Does for them what the app does for a project that is removed through it: their work ends, their indexes are
    closed, and of those that are gone for good no question, no answer and no file is kept."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._before: dict[str, ProjectContext] = {}
        self._purged: set[str] = set()
        """Those of which something may be left."""

    def look(self) -> None:
        """Raises what the registry raises."""
        registry, jobs = self._edge.gardener.registry, self._edge.jobs
        # The jobs first: one that is begun from here on may be of a project that is added from here on.
        found = [job for job in jobs.find() if job.project_id]
        registered = {context.id: context for context in registry.list()}
        for job in found:
            if job.project_id not in registered and not job.over:
                jobs.cancel(job.id)
        before, self._before = self._before, registered
        for context in before.values():
            if context.id not in registered:
                self._edge.gardener.forget_index(context)
        self._purged |= {job.project_id for job in found} | before.keys()
        self._purged -= registered.keys()
        if self._purged:
            self._purged -= {context.id for context in registry.list(include_removed=True)}
        for project_id in tuple(self._purged):
            self._forget(project_id)

    def _forget(self, project_id: str) -> None:
        jobs = self._edge.jobs
        jobs.forget(project_id)
        self._edge.damaged.pop(project_id, None)
        # Work that had not noticed may have made the folder of its index anew.
        if not jobs.find(project_id) and self._edge.gardener.registry.sweep(project_id):
            self._purged.discard(project_id)
