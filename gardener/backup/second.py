"""A second place for backups, such as an external disk: copied to when it is there, never taken for what it is not.

The folder itself is the sign that the disk is there. It is made by the person, once, and never by Gardener: where a
disk would be that is not plugged in, there is no such folder.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress

from gardener.backup import manifest
from gardener.backup.snapshot import copy_file, hash_file
from gardener.backup.store import MAKING, Entry, Store
from gardener.errors import DiskFull, PathNotFound
from gardener.paths import ensure_directory, sync_directory, translate_os_error

ANSWER_S = 10.0
_lock = threading.Lock()
_asked: dict[str, threading.Thread] = {}
"""By folder, who asked it last: one that hangs costs one thread."""


def is_present(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def has(second: Store, backup_id: str) -> bool:
    """Whether a copy is there and not known to be damaged; reads none of its content."""
    proof = second.proofs().get(backup_id)
    return os.path.isfile(os.path.join(second.path(backup_id), manifest.NAME)) and not (proof and not proof["ok"])


def lacks(second: Store, backup_id: str) -> bool:
    """Whether the place is there and has no copy yet; false, too, while it does not say within ANSWER_S seconds.

    A network disk can hang whoever asks it. It is asked every minute, and the backups themselves must go on.
    """
    found: list[bool] = []

    def ask() -> None:
        with suppress(OSError):  # it went away in the middle: the next time
            found.append(is_present(second.folder) and not has(second, backup_id))

    with _lock:
        asked = _asked.get(second.folder)
        if asked is not None and asked.is_alive():
            return False
        asked = _asked[second.folder] = threading.Thread(target=ask, name="second-place", daemon=True)
        asked.start()
    asked.join(ANSWER_S)
    return found == [True]


def copy(entry: Entry, second: Store) -> int:
    """Copies a backup to the second place, under the same id; what an earlier one there has is linked.

    Every byte is hashed on the way and must be what the manifest says. Returns the bytes written, 0 when it is there
    already. Raises PathNotFound when the place is not there, BackupDamaged naming the file, DiskFull, LockedError.
    """
    if not is_present(second.folder):
        raise PathNotFound(
            f"{second.folder} is not there: its disk is not connected, or the folder was never made.",
            next_step=f'mkdir "{second.folder}"',
        )
    found = entry.manifest or manifest.read(entry.path)
    with second.lock("gardener backup copy"):
        second.remove_unfinished()
        if any(other.id == found.id and other.good for other in second.entries()):
            return 0
        earlier = {
            (file.sha256, file.size): os.path.join(other.path, file.path)
            for other in reversed(second.entries())
            for file in (other.manifest.files if other.manifest else ())
        }
        _refuse_full(found, set(earlier), second.folder)
        folder = os.path.join(second.folder, MAKING + found.id)
        written = 0
        try:
            for file in found.files:
                target = os.path.join(folder, file.path)
                ensure_directory(os.path.dirname(target))
                if _link(earlier.get((file.sha256, file.size), ""), target, file.sha256):
                    continue
                source = os.path.join(entry.path, file.path)
                if copy_file(source, target) != (file.sha256, file.size):
                    raise manifest.damaged(source, "its content is not what was written")
                written += file.size
            manifest.write(folder, found)
            if os.path.isdir(second.path(found.id)):  # a damaged copy of it
                os.rename(second.path(found.id), f"{folder}-damaged")
            os.rename(folder, second.path(found.id))
            sync_directory(second.folder)
            second.remove_unfinished()
            second.record_proof(found.id, "hashes", [])
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise translate_os_error(error, folder) from error
            raise
        return written


def _refuse_full(found: manifest.Manifest, earlier: set[tuple[str, int]], folder: str) -> None:
    """Before anything is read: it is tried again and again until there is room. Raises DiskFull."""
    needed = sum(file.size for file in found.files if (file.sha256, file.size) not in earlier)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"The copy of backup {found.id} needs {needed:,} bytes, and {free:,} are free on the disk of {folder}.",
            next_step=f'df -h "{folder}"',
        )


def _link(source: str, target: str, digest: str) -> bool:
    try:
        if not source or hash_file(source)[0] != digest:
            return False
        os.link(source, target)
        return True
    except OSError:
        return False  # exFAT, for one, has no links: then a copy
