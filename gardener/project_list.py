"""Projects as they are listed and added, by the command line and by the API."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext
    from gardener.projects.records import ProjectRecord


def project_entries(gardener: Gardener, *, include_removed: bool = False) -> list[dict[str, Any]]:
    """Every project with what its index holds. `problem` says why an index cannot be read, "" when it can."""
    return [_entry(record) for record in gardener.registry.records(include_removed=include_removed)]


def _entry(record: ProjectRecord) -> dict[str, Any]:
    from gardener.errors import IndexDamaged
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    state: str = record.state
    problem = ""
    try:
        facts = summary(index_directory(record.context.home))
    except IndexDamaged as error:
        facts, state, problem = {}, "index damaged", error.message
    return {
        **record.as_json(),
        "state": state,
        "problem": problem,
        "indexed": bool(facts.get("table_version")),
        "files": int(facts.get("files", "0")),
        "chunks": int(facts.get("chunks", "0")),
        "indexed_head": facts.get("head") or None,
    }


def add_project(
    gardener: Gardener, path: str, name: str | None = None, *, nested: bool = False, force: bool = False
) -> ProjectContext:
    """Registers a folder; it is not indexed yet. One whose first index was never finished is gone on with.

    Raises what Registry.add raises.
    """
    return _begun(gardener, path) or gardener.registry.add(path, name, nested=nested, force=force)


def _begun(gardener: Gardener, path: str) -> ProjectContext | None:
    import os

    from gardener.index.facts import summary
    from gardener.paths import index_directory

    found = gardener.registry.containing(path)
    if found is None or os.path.realpath(path) != found.root:
        return None
    return None if summary(index_directory(found.home)).get("table_version") else found
