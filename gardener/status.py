"""What `gardener status` shows of the active project: read off, not compared with the disk, nothing heavy imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gardener.errors import ConfigError
from gardener.index.facts import summary
from gardener.locks import ProcessLock
from gardener.models.embedder_spec import PACKAGED
from gardener.models.registry import AUTO
from gardener.paths import embed_lock, index_directory
from gardener.projects import checkout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def status(gardener: Gardener) -> dict[str, object]:
    """One flat object, as `gardener status --json` prints it. Raises ConfigError."""
    active = gardener.registry.active()
    report: dict[str, object] = {"home": gardener.paths.home, "projects": len(gardener.registry.list())}
    if active is None:
        return report | {"project": None}
    facts = summary(index_directory(active.home))
    maker = ProcessLock(embed_lock(active.home), "").holder()
    exists = os.path.isdir(active.root)
    settings = gardener.settings_for(active)
    wanted = settings.text("models.backend") if active.backend in ("", AUTO) else active.backend
    choice = gardener.backends.choose(wanted, active.model, settings.texts("models.order"))
    return report | {
        "project": active.name,
        "root": active.root,
        "exists": exists,
        "head": checkout.head_commit(active.root) if exists else None,
        "branch": checkout.branch(active.root) if exists else None,
        "indexed_head": facts.get("head") or None,
        "files": int(facts.get("files", "0")),
        "chunks": int(facts.get("chunks", "0")),
        "embedded_fraction": int(facts.get("vectors", "0")) / max(1, int(facts.get("contents", "0"))),
        "vectors": int(facts.get("vectors", "0")),
        "contents": int(facts.get("contents", "0")),
        "vectors_by": maker,
        "vectors_paused": facts.get("vectors_paused", "") if maker else "",
        "embedder": _embedder_state(gardener, active, facts),
        "updated_at": float(facts.get("updated_at", "0")),
        "backend": choice.backend.name,
        "model": choice.model,
        "adapter": active.adapter,
        "level": choice.degradation,
        "level_reason": choice.reason,
        "level_next_step": choice.next_step,
    }


def _embedder_state(gardener: Gardener, context: ProjectContext, facts: Mapping[str, str]) -> dict[str, str]:
    """The wanted embedder, whose vectors answer while its own are not complete ("" otherwise), and its problem.

    Loads and asks nothing.
    """
    service = gardener.embedding
    try:
        wanted = service.spec.text
        serving = service.known(gardener.serving_embedder(context)) if facts.get("table_version") else None
        # Checking the packaged one's files is the doctor's work.
        problem = service.problem() if wanted != PACKAGED else ""
    except ConfigError as error:
        return {"name": "", "searched_with": "", "problem": error.message}
    other = serving.spec.text if serving is not None and serving.spec != service.spec else ""
    return {"name": wanted, "searched_with": other, "problem": problem}
