"""Restores a whole home: verified, staged beside the live one, tried, swapped; the old one is kept until confirmed."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from gardener.backup import manifest, swap
from gardener.backup.manifest import Manifest
from gardener.backup.store import Entry, Store
from gardener.backup.verify import Trial, check_hashes, refuse_newer, stage, try_home
from gardener.errors import BackupDamaged, BackupNotFound, ConflictError, LockedError
from gardener.locks import ProcessLock
from gardener.paths import Paths, embed_lock, ensure_directory, project_lock, translate_os_error

_log = logging.getLogger("gardener.backup")


WRITER_WAIT_S = 2.0
"""How long a restore waits for each process that writes into the home."""


class Restored(NamedTuple):
    """`old` is where the state from before is kept; "" when there was none."""

    id: str
    old: str
    trial: Trial

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "kept": self.old, **self.trial.as_json()}


def restore_home(
    paths: Paths, store: Store, wanted: str = "", amend: Callable[[str], None] = lambda staged: None
) -> Restored:
    """Puts the home back as backup `wanted` has it; "" takes the newest good one.

    `amend` may change what is staged in the folder that it is given, before it is tried.

    Raises BackupNotFound, BackupDamaged naming the file and a good backup, SchemaTooNew, LockedError while the app runs
    or a project is written to, DiskFull. In all these cases the live home is as it was.
    """
    ensure_directory(paths.home)
    with store.lock("gardener backup restore"), exclusive(paths):
        entry = store.find(wanted)
        found = checked(store, entry)
        if found.kind != "home":
            raise ConflictError(
                f"Backup {found.id} is of the project {found.projects[0].name} alone, not of the whole home.",
                next_step=f"gardener backup restore {found.id} --project {found.projects[0].id}",
            )
        staged = os.path.join(paths.home, swap.STAGED + found.id)
        try:
            stage(entry.path, found, ensure_directory(staged))
            _log.debug("restore: staged (%s)", staged)
            amend(staged)
            tried = try_home(staged, found)
            if tried.problems:
                store.record_proof(found.id, "restore", tried.problems)
                raise _refused(store, entry, tried.problems)
        except BaseException as error:
            shutil.rmtree(staged, ignore_errors=True)
            if isinstance(error, OSError):
                raise translate_os_error(error, staged) from error
            raise
        store.record_proof(found.id, "restore", [])
        _log.debug("restore: tried (%s)", staged)
        return Restored(found.id, swap.swap(paths, staged), tried)


def undo(paths: Paths) -> tuple[str, str]:
    """Swaps the state from before the last restore back in. Returns it, and where the restored one is kept now.

    Raises BackupNotFound when no old state is kept, LockedError.
    """
    ensure_directory(paths.home)
    with exclusive(paths):
        kept = swap.kept(paths)
        if not kept:
            raise BackupNotFound("No state from before a restore is kept.", next_step="gardener backup list")
        return kept[0], swap.swap(paths, kept[0])


def confirm(paths: Paths) -> list[str]:
    """Deletes the states that restores have kept. Returns their folders.

    Nobody writes into those, so the app may run: it is what one looks at before saying that all is well.
    """
    swap.finish_interrupted(paths)
    held = swap.lock(paths)
    held.acquire(WRITER_WAIT_S)
    with held:
        kept = swap.kept(paths)
        for folder in kept:
            shutil.rmtree(folder)
        return kept


def checked(store: Store, entry: Entry) -> Manifest:
    """The manifest of a backup whose every file is what was written, and which this version can read.

    Raises BackupDamaged or SchemaTooNew. Call it under the store's lock: the result is recorded.
    """
    found = entry.manifest
    if found is None:
        found = manifest.read(entry.path)  # raises what is wrong
    refuse_newer(found)
    problems = check_hashes(entry.path, found)
    store.record_proof(found.id, "hashes", problems)
    if problems:
        raise _refused(store, entry, problems)
    return found


def _refused(store: Store, entry: Entry, problems: list[str]) -> BackupDamaged:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    good = _good_one(store, entry)
    return BackupDamaged(
        f"Backup {entry.id} is damaged: {problems[0]}{more}. Nothing was changed."
        + (f" Backup {good} is whole." if good else " No other backup is whole."),
        next_step=f"gardener backup restore {good}" if good else "gardener backup create",
    )


def _good_one(store: Store, besides: Entry) -> str:
    for other in store.entries():
        found = other.manifest
        if other.id != besides.id and found and found.kind == "home" and not check_hashes(other.path, found):
            return other.id
    return ""


@contextmanager
def exclusive(paths: Paths) -> Iterator[None]:
    """Nobody else writes into the home while the block runs, and an interrupted swap is finished first."""
    swap.finish_interrupted(paths)
    with ExitStack() as held:
        for lock in (swap.lock(paths), _app_lock(paths), *_writers(paths)):
            try:
                lock.acquire(WRITER_WAIT_S)
            except LockedError as error:
                if lock.path.endswith("app.lock"):
                    raise LockedError(
                        "The app is running, and would go on writing into what is replaced.", next_step="gardener stop"
                    ) from error
                raise
            held.enter_context(lock)
        swap.remove_unfinished(paths)
        yield


def _app_lock(paths: Paths) -> ProcessLock:
    return ProcessLock(os.path.join(paths.run, "app.lock"), "gardener backup restore", subject="the home")


def _writers(paths: Paths) -> Iterator[ProcessLock]:
    if not os.path.isdir(paths.projects):
        return
    for name in sorted(os.listdir(paths.projects)):
        home = paths.project_home(name)
        if os.path.isdir(home):
            for path in (project_lock(home), embed_lock(home), os.path.join(home, "train.lock")):
                yield ProcessLock(path, "gardener backup restore", subject=f"the project {name}")
