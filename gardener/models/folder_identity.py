"""What tells two states of a model's folder apart: every byte of it, read again only when a file has changed."""

from __future__ import annotations

import hashlib
import json
import os
import time

from gardener.errors import EmbedderUnavailable, GardenerError
from gardener.paths import ensure_directory, write_private

MEMORY = "folder-hashes.json"
SETTLED_S = 2.0
"""A file younger than this is not remembered: it may change once more within one tick of the file system's clock."""
_MARKS = ("modules.json", "config.json")


def folder_identity(folder: str, models_dir: str = "") -> str:
    """A digest of the names and contents of all files in a model's folder, hidden ones left out.

    All of every file, because fine-tuning can leave the first and last megabytes as they were: two states of a MiniLM
    that differ in two layers alone gave vectors with a cosine of 0.63. With `models_dir` (paths.models) the hash of
    a file is remembered with its inode, size and times, as reading it costs 1.5 ms for each megabyte.
    Raises EmbedderUnavailable when the folder is no model or cannot be read.
    """
    remembered = _recall(models_dir)
    current: dict[str, list[object]] = {}
    digest = hashlib.sha256()
    try:
        if not any(os.path.isfile(os.path.join(folder, name)) for name in _MARKS):
            raise EmbedderUnavailable(
                f"{folder} is not a sentence-transformers model: it has no modules.json or config.json."
                if os.path.isdir(folder)
                else f"The model's folder does not exist: {folder}",
                next_step="gardener embedder use packaged",
            )
        for path in _files(folder):
            status = os.stat(path)
            stamp = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            before = remembered.get(path)
            if isinstance(before, list) and before[:-1] == stamp:
                content = str(before[-1])
            else:
                with open(path, "rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").hexdigest()
            if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_S:
                current[path] = [*stamp, content]
            digest.update(f"{os.path.relpath(path, folder)}\0{content}\0".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise EmbedderUnavailable(
            f"The model's folder cannot be read: {error.filename or folder}: {error.strerror}",
            next_step="gardener embedder use packaged",
        ) from error
    if models_dir and any(remembered.get(path) != known for path, known in current.items()):
        _keep(models_dir, {path: known for path, known in remembered.items() if os.path.exists(path)} | current)
    return digest.hexdigest()[:32]


def _files(folder: str) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if os.path.isfile(path))  # opening a pipe would wait for ever


def _recall(models_dir: str) -> dict[str, object]:
    if not models_dir:
        return {}
    try:
        with open(os.path.join(models_dir, MEMORY), encoding="utf-8") as opened:
            found = json.load(opened)
    except (OSError, ValueError):
        return {}  # it only saves time
    return found if isinstance(found, dict) else {}


def _keep(models_dir: str, entries: dict[str, object]) -> None:
    try:
        ensure_directory(models_dir)
        write_private(os.path.join(models_dir, MEMORY), json.dumps(entries, indent=1).encode("utf-8", "replace"))
    except (OSError, GardenerError):
        return  # a full or read-only disk: the files are read again next time
