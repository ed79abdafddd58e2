"""What the model has already read of a project's prompts, in memory and on the disk.

A prefix is kept under a key of everything that decides its state: the weights, the adapter, how keys and values are
stored, the token ids, the version of mlx-lm. It belongs to one scope (a project) and is never used for another, even
if the key should be the same. The state that is kept is never handed out: whoever generates gets a copy.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gardener.errors import GardenerError
from gardener.paths import FILE_MODE, ensure_directory, sync_directory, write_private

log = logging.getLogger("gardener.models")

END: Final = ".safetensors"
SUM: Final = ".sha256"
_TEMPORARY: Final = ".tmp"
_LEFT_S: Final = 3600
"""Seconds after which nobody writes a temporary file any more."""

State = list[Any]
"""One cache object of mlx-lm for each layer."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """One prefix that is in memory."""

    tokens: tuple[int, ...]
    state: State
    bytes: int


def prefix_key(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


class PrefixStore:
    """To be used by the MLX thread alone, but for `held_bytes`."""

    def __init__(self, directory: Callable[[str], str], memory_bytes: int, disk_bytes: int) -> None:
        """`directory(scope)` is the folder of a project's prefixes; the other two are hard limits, over all scopes."""
        self._directory = directory
        self._memory_bytes = memory_bytes
        self._disk_bytes = disk_bytes
        self._kept: OrderedDict[tuple[str, str], Prefix] = OrderedDict()
        self._folders: set[str] = set()
        self.restored = self.saved = 0
        self.problem = ""
        """Why the last restore or save failed, for the user; "" when it did not."""

    @property
    def held_bytes(self) -> int:
        return sum(prefix.bytes for prefix in list(self._kept.values()))

    def get(self, scope: str, key: str) -> Prefix | None:
        """The prefix in memory."""
        found = self._kept.get((scope, key))
        if found is not None:
            self._kept.move_to_end((scope, key))
        return found

    def put(self, scope: str, key: str, tokens: Sequence[int], state: State) -> Prefix | None:
        """Keeps a state, which nobody may change from now on; None when it is over the limit by itself."""
        prefix = Prefix(tuple(tokens), state, sum(int(cache.nbytes) for cache in state))
        if prefix.bytes > self._memory_bytes:
            return None
        # A project has one prompt's beginning at a time: what it began with before is stale.
        for old in [known for known in self._kept if known[0] == scope and known[1] != key]:
            if len([known for known in self._kept if known[0] == scope]) >= 3:
                self._kept.pop(old)
        self._kept[scope, key] = prefix
        self._kept.move_to_end((scope, key))
        while self.held_bytes > self._memory_bytes:
            self._kept.popitem(last=False)
        return prefix

    def forget(self) -> int:
        """Gives the memory back; returns bytes."""
        held = self.held_bytes
        self._kept.clear()
        return held

    # ---- the disk ------------------------------------------------------------------------------------

    def restore(self, scope: str, key: str, tokens: Sequence[int]) -> Prefix | None:
        """The prefix from the disk, if it is there and whole; a damaged file goes and the user is told."""
        self.problem = ""
        path = self._path(scope, key)
        if not self._disk_bytes or not os.path.exists(path):
            return None
        from mlx_lm.models.cache import load_prompt_cache

        try:
            with open(path + SUM, encoding="ascii") as opened:
                expected = opened.read(64)
            with open(path, "rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != expected:
                    raise ValueError("it is not what was written")
            state = load_prompt_cache(path)
            lengths = {int(cache.offset) for cache in state if hasattr(cache, "offset")}
            if lengths - {len(tokens)}:
                raise ValueError("it is of another length")
            os.utime(path)  # used now: others go first
        except Exception as error:
            # Whatever is wrong with the file, the model can read the prompt again.
            self.problem = f"The saved prefix {path} was unusable ({error}) and is made anew."
            log.warning("prefix.unusable", extra={"fields": {"path": path, "reason": str(error)[:200]}})
            _remove(path)
            return None
        self.restored += 1
        return self.put(scope, key, tokens, state) or Prefix(tuple(tokens), state, 0)

    def save(self, scope: str, key: str, state: State) -> bool:
        """Writes a state durably, within the limit; a full disk is no failure of the answer."""
        if not self._disk_bytes:
            return False
        from mlx_lm.models.cache import save_prompt_cache

        path = self._path(scope, key)
        temporary = f"{path[: -len(END)]}.{os.urandom(4).hex()}{_TEMPORARY}{END}"
        try:
            folder = ensure_directory(os.path.dirname(path))
            if sum(int(cache.nbytes) for cache in state) > self._disk_bytes:
                return False
            save_prompt_cache(temporary, state)
            os.chmod(temporary, FILE_MODE)  # until here the folder's mode keeps others out
            with open(temporary, "rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                os.fsync(content.fileno())
            write_private(path + SUM, digest.encode())
            os.replace(temporary, path)
            sync_directory(folder)
            for name in os.listdir(folder):  # of what the project's prompts began with before
                if name.endswith(END) and name != os.path.basename(path) and len(_files(folder)) > 2:
                    _remove(min(_files(folder), key=_age))
            self._folders.add(folder)
            self._within_limit(keep=path)
        except Exception as error:
            # MLX says a full disk as a RuntimeError without a number.
            _remove(temporary)
            reason = error.message if isinstance(error, GardenerError) else str(error)
            self.problem = f"The prefix could not be saved: {reason[:200]}"
            log.warning("prefix.not_saved", extra={"fields": {"path": path, "reason": reason[:200]}})
            return False
        self.saved += 1
        return True

    def _path(self, scope: str, key: str) -> str:
        return os.path.join(self._directory(scope), key[:40] + END)

    def _within_limit(self, keep: str) -> None:
        """Deletes the files used longest ago, of all projects, until the rest fits."""
        beside = os.path.dirname(os.path.dirname(os.path.dirname(keep)))  # projects/ID/prompt-cache/FILE
        name = os.path.basename(os.path.dirname(keep))
        folders = self._folders | {os.path.join(beside, entry, name) for entry in _names(beside)}
        for folder in folders:
            _sweep(folder)
        files = sorted((path for folder in folders for path in _files(folder)), key=_age)
        total = sum(_size(path) for path in files)
        for path in files:
            if total <= self._disk_bytes:
                return
            if path != keep:
                total -= _size(path)
                _remove(path)


def copied(state: State) -> State:
    """A state that a generation may change."""
    return copy.deepcopy(state)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _files(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in _names(folder) if name.endswith(END) and _TEMPORARY not in name]


def _sweep(folder: str) -> None:
    """Removes what processes that were killed while they wrote have left."""
    for name in _names(folder):
        path = os.path.join(folder, name)
        if _TEMPORARY in name and 0 < _age(path) < time.time() - _LEFT_S:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _age(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    for name in (path, path + SUM):
        with contextlib.suppress(OSError):
            os.unlink(name)
