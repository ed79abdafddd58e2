"""upgrade.json: which upgrade or rollback is under way, and how far it got. What is not there has not begun.

Written before each step that a kill could leave half done. Whoever finds it while nobody holds the lock knows that the
process died, and what is to be finished or undone.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Literal, NamedTuple, get_args

from gardener.errors import IntegrityError
from gardener.paths import sync_directory, write_private
from gardener.upgrade.program import Program

_log = logging.getLogger("gardener.upgrade")

Phase = Literal["preparing", "trying", "stopping", "flipping", "proving", "restoring", "returning"]
"""preparing: the new version is installed beside the old one; trying: on a copy of the data; stopping: the app ends and
the last backup is made; flipping: the pointer; proving: the live app; then, when that failed, restoring: the state as
it was; returning: the pointer back and the app as it was."""
BEFORE_THE_FLIP = ("preparing", "trying", "stopping")


class Journal(NamedTuple):
    """One upgrade or rollback of the home `home`. `schema` is that of state.db before it.

    `app` is how the app ran, None when it did not: {"service": bool, "options": [...], "host", "port"}.
    """

    kind: Literal["upgrade", "rollback"]
    phase: Phase
    old: str
    new: str
    home: str
    log: str
    backup: str = ""
    schema: int = 0
    app: dict[str, Any] | None = None
    problem: str = ""
    made: bool = False
    """The new version's folder was made for this, and goes again when it fails."""

    @property
    def flipped(self) -> bool:
        return self.phase not in BEFORE_THE_FLIP


def path(program: Program) -> str:
    return os.path.join(program.folder, "upgrade.json")


def write(program: Program, journal: Journal) -> Journal:
    write_private(path(program), json.dumps(journal._asdict(), indent=1).encode())
    _log.debug("journal: %s", journal.phase)
    return journal


def read(program: Program) -> Journal | None:
    """What is under way; None when nothing is. Raises IntegrityError when that cannot be told."""
    try:
        with open(path(program), encoding="utf-8") as handle:
            found = Journal(**json.load(handle))
        if found.phase not in get_args(Phase) or found.kind not in ("upgrade", "rollback"):
            raise ValueError(found.phase)
        return found
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise IntegrityError(
            f"{path(program)} cannot be read ({error}), so an upgrade that was interrupted cannot be finished. "
            f"{program.pointer} says which version is in force; moved aside, the next upgrade begins anew.",
            next_step=f'mv "{path(program)}" "{path(program)}.damaged"',
        ) from error


def interrupted(program: Program) -> Journal | None:
    """An upgrade that died on its way: there is a journal, and nobody is at work on it."""
    found = read(program)
    if found is None or program.lock_holder() is not None:
        return None
    return found


def remove(program: Program) -> None:
    os.unlink(path(program))
    sync_directory(program.folder)
    _log.debug("journal: done")
