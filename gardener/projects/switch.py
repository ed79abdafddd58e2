"""Changing the active project: prepare everything, then flip one pointer. Imports nothing heavy."""

from __future__ import annotations

import os
import time

from gardener.errors import ConflictError, PathNotFound
from gardener.projects.names import shell_word
from gardener.projects.rows import context_of, not_found, point_at, registered_by_id
from gardener.state import record_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gardener.project_context import ProjectContext
    from gardener.projects.registry import Registry
    from gardener.state import State


def switch(
    registry: Registry, state: State, name: str, checks: Sequence[Callable[[ProjectContext], None]] = ()
) -> ProjectContext:
    """Makes the named project the active one and returns its context.

    Each check may refuse by raising; nothing has changed then. The commit of one transaction is the switch:
    until it the old project is active, after it the new one. Of two switches at once the later commit wins.
    Raises ProjectNotFound, PathNotFound when the project's folder is gone, LockedError, or what a check
    raises.
    """
    context = registry.get(name)
    if not os.path.isdir(context.root):
        raise PathNotFound(
            f"The folder of {context.name!r}, {context.root}, is gone. The active project is what it was.",
            next_step=f"gardener move {shell_word(context.name)} NEW_PATH",
        )
    for check in checks:
        check(context)
    with state.write() as connection:
        # Read again: what was prepared may have been removed, renamed or moved while the checks ran.
        row = registered_by_id(connection, context.id)
        if row is None:
            raise not_found(connection, name)
        if row["root"] != context.root:
            raise ConflictError(
                f"{context.name!r} has just been moved to {row['root']} by another command.",
                next_step=f"gardener switch {shell_word(context.name)}",
            )
        connection.execute("UPDATE projects SET last_used_at = ? WHERE id = ?", (time.time(), context.id))
        point_at(connection, context.id)
        record_event(connection, "project.switched", context.id)
    return context_of(row, context.home)
