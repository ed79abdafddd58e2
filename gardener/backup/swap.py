"""Puts a staged home in the place of the live one, and keeps the live one aside.

Several renames cannot be one, so they are written down first: `restoring.json` is the commit point. Before it, nothing
has happened to the live home; after it, whoever comes next finishes the renames. Each is done only if it is not done
yet, so that they may be interrupted anywhere and as often as one likes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence

from gardener.errors import IntegrityError
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory, sync_directory, translate_os_error, write_private

_log = logging.getLogger("gardener.backup")

JOURNAL = "restoring.json"
STAGED = "restoring-"
OLD = "before-restore-"
KEPT = ("models", "embeddings", "logs", "run", "backups", "repairs")
"""Folders of the home that a restore leaves alone."""
MACHINE = ("health.db", "samples.db")
"""Files that tell of this machine and are in no backup, with what SQLite and we put beside them: left alone, too."""
_WAIT_S = 30.0


def lock(paths: Paths) -> ProcessLock:
    """Held by whoever stages, swaps or finishes a swap. Not taken yet."""
    ensure_directory(paths.run)
    return ProcessLock(os.path.join(paths.run, "restore.lock"), "gardener backup restore", subject=repr(paths.home))


def swap(paths: Paths, staged: str) -> str:
    """Makes the folder `staged`, in the home, the home's content. Returns where the old content is kept.

    Call it under `lock`, and the locks of everybody who writes into the home.
    """
    old = f"{OLD}{_next_number(paths)}"
    ensure_directory(os.path.join(paths.home, old))
    name = os.path.basename(staged)
    out = [(entry, f"{old}/{entry}") for entry in sorted(os.listdir(paths.home)) if _is_content(entry)]
    carry_out(paths, [*out, *((f"{name}/{entry}", entry) for entry in sorted(os.listdir(staged)))], staged)
    return os.path.join(paths.home, old)


def carry_out(paths: Paths, moves: Sequence[tuple[str, str]], staged: str) -> None:
    """Renames (from, to), all of them whatever happens, and then deletes the folder `staged`.

    The paths are relative to the home; no two moves have the same target. Call it under `lock`.
    """
    sync_directory(paths.home)
    plan = {"moves": list(moves), "staged": os.path.basename(staged)}
    write_private(os.path.join(paths.home, JOURNAL), json.dumps(plan).encode())
    _log.debug("restore: committed (%s)", staged)
    _carry_out(paths)


def finish_interrupted(paths: Paths) -> None:
    """Finishes a swap that a kill has interrupted; does nothing when there is none.

    Raises LockedError while another process is at it, IntegrityError when its plan cannot be read.
    """
    if not os.path.exists(os.path.join(paths.home, JOURNAL)):
        return
    held = lock(paths)
    held.acquire(_WAIT_S)
    with held:
        if os.path.exists(os.path.join(paths.home, JOURNAL)):
            _carry_out(paths)


def _carry_out(paths: Paths) -> None:
    journal = os.path.join(paths.home, JOURNAL)
    try:
        with open(journal, encoding="utf-8") as handle:
            plan = json.load(handle)
        moves = [(_inside(paths, before), _inside(paths, after)) for before, after in plan["moves"]]
        staged = _inside(paths, plan["staged"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{journal} cannot be read, so a restore that was interrupted cannot be finished. Both states are below "
            f"{paths.home}, in folders named {STAGED}… and {OLD}….",
            next_step=f'ls -la "{paths.home}"',
        ) from error
    try:
        for before, after in moves:
            if os.path.lexists(before) and not os.path.lexists(after):  # else it has been done already
                os.rename(before, after)
            _log.debug("restore: moved (%s)", after)
        for folder in sorted({os.path.dirname(path) for move in moves for path in move}):
            if os.path.isdir(folder):
                sync_directory(folder)
        os.unlink(journal)
        sync_directory(paths.home)
        _log.debug("restore: done (%s)", staged)
        shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise translate_os_error(error, journal) from error


def _inside(paths: Paths, path: str) -> str:
    if os.path.isabs(path) or ".." in path.split("/") or not path:
        raise ValueError(path)
    return os.path.join(paths.home, path)


def kept(paths: Paths) -> list[str]:
    """The folders of old states, the latest first."""
    names = [name for name in os.listdir(paths.home) if name.startswith(OLD)] if os.path.isdir(paths.home) else []
    names.sort(key=lambda name: int(name.removeprefix(OLD)), reverse=True)
    return [os.path.join(paths.home, name) for name in names]


def remove_unfinished(paths: Paths) -> None:
    """Removes what was staged and never committed. Call it under `lock`, with no journal."""
    for name in os.listdir(paths.home):
        if name.startswith(STAGED) and name != JOURNAL:
            shutil.rmtree(os.path.join(paths.home, name))


def _is_content(name: str) -> bool:
    return name not in KEPT and not name.startswith((JOURNAL, STAGED, OLD, *MACHINE))


def _next_number(paths: Paths) -> int:
    return max((int(os.path.basename(path).removeprefix(OLD)) for path in kept(paths)), default=0) + 1
