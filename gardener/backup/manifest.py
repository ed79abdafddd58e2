"""What a backup says about itself: every file with its size and SHA-256, written last.

A backup without a readable manifest is not a backup. The manifest carries a digest of its own, so that a flipped bit
in it is told from one in a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from typing import Any, NamedTuple

from gardener.errors import BackupDamaged, SchemaTooNew
from gardener.paths import open_private, sync_directory, sync_file

FORMAT = 1
NAME = "manifest.json"
MAX_BYTES = 64_000_000
"""A manifest of 400,000 files has about this size; what is larger is not read into memory."""
CONTENT = "home/"
"""Where the copied files lie within a backup; every path in a manifest begins with it."""
ID = re.compile(r"\d{6,12}-\d{8}-\d{6}")
"""Sequence number, date and time in UTC: also the name of the backup's folder."""
_YEARS_1_TO_9999 = (-62_135_596_800.0, 253_402_300_800.0)
_LONGEST_NAME = 255
"""Bytes of a file's name, on every file system in use."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileEntry(NamedTuple):
    """A file of a backup. `path` is relative to the backup's folder, with forward slashes; `size` in bytes."""

    path: str
    size: int
    sha256: str


class ProjectEntry(NamedTuple):
    """A project in a backup. `index_problem` is "" when its index is in the backup, else why it is not."""

    id: str
    name: str
    root: str
    removed: bool
    index_problem: str
    conversations: int
    chunks: int


class Manifest(NamedTuple):
    """`created_at` is Unix time in seconds, of a clock that may have been wrong: `sequence` tells what is newer."""

    id: str
    sequence: int
    kind: str
    """"home" or "project"."""
    note: str
    """Why it was made, if not by itself: "before restore" for what a restore of a part replaced."""
    created_at: float
    gardener: str
    state_schema: int
    projects: tuple[ProjectEntry, ...]
    files: tuple[FileEntry, ...]
    left_out: tuple[str, ...]
    imported: bool = False
    """It came in as a file: it says nothing about when this home was backed up, whoever made it."""

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "id": self.id,
            "sequence": self.sequence,
            "kind": self.kind,
            "note": self.note,
            "created_at": self.created_at,
            "gardener": self.gardener,
            "state_schema": self.state_schema,
            "projects": [project._asdict() for project in self.projects],
            "left_out": list(self.left_out),
            "imported": self.imported,
            "files": [file._asdict() for file in self.files],
        }

    def encode(self) -> bytes:
        body = self.as_json()
        return json.dumps({"digest": _digest(body), **body}, indent=1, sort_keys=True, ensure_ascii=True).encode()


def write(folder: str, made: Manifest) -> None:
    """Writes the manifest of a backup when everything that it names has reached the disk. Raises OSError."""
    for place, _, _ in os.walk(folder, topdown=False):
        sync_directory(place)
    with open(os.path.join(folder, NAME), "xb", opener=open_private) as handle:
        handle.write(made.encode())
        handle.flush()
        sync_file(handle.fileno())
    sync_directory(folder)


def read(folder: str) -> Manifest:
    """The manifest of the backup in `folder`. Raises BackupDamaged or SchemaTooNew."""
    path = os.path.join(folder, NAME)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    return decode(data, path)


def decode(data: bytes, source: str) -> Manifest:
    """Parses what `encode` wrote. `source` is named in errors. Raises BackupDamaged or SchemaTooNew.

    Nothing is believed: paths that lead elsewhere, names given twice, negative sizes and wrong types are refused.
    """
    if len(data) > MAX_BYTES:
        raise damaged(source, f"it is larger than {MAX_BYTES:,} bytes")
    try:
        body = json.loads(data)
        if isinstance(body, dict) and isinstance(body.get("format"), int) and body["format"] > FORMAT:
            raise SchemaTooNew(
                f"{source} was written by a newer Gardener (format {body['format']}; this one knows {FORMAT}).",
                next_step="gardener upgrade",
            )
        digest = body.pop("digest")
        if digest != _digest(body):
            raise damaged(source, "its own digest does not fit")
        manifest = Manifest(
            id=_text(body["id"]),
            sequence=_number(body["sequence"]),
            kind=_text(body["kind"]),
            note=_text(body["note"]),
            created_at=float(body["created_at"]),
            gardener=_text(body["gardener"]),
            state_schema=_number(body["state_schema"]),
            projects=tuple(_project(entry) for entry in body["projects"]),
            files=tuple(_file(entry) for entry in body["files"]),
            left_out=tuple(map(_text, body["left_out"])),
            imported=body.get("imported") is True,  # older ones do not say, and older versions do not ask
        )
        if not _YEARS_1_TO_9999[0] <= manifest.created_at < _YEARS_1_TO_9999[1]:
            raise ValueError("it was made at a time that no calendar has")
        if body["format"] != FORMAT or manifest.kind not in ("home", "project") or not ID.fullmatch(manifest.id):
            raise ValueError("a field has a value that no Gardener writes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise damaged(source, f"it is not a manifest ({type(error).__name__}: {str(error)[:100]})") from error
    _refuse_clashes(manifest, source)
    return manifest


def damaged(path: str, why: str) -> BackupDamaged:
    return BackupDamaged(f"{path} is damaged: {why}. Nothing was restored from it.", next_step="gardener backup list")


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096 or "\0" in value:
        raise ValueError("a text is not a text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a number is not a number")
    return value


def _file(entry: Any) -> FileEntry:
    path, sha256 = _text(entry["path"]), _text(entry["sha256"])
    parts = path.split("/")
    if not path.startswith(CONTENT) or any(part in ("", ".", "..") for part in parts) or "\\" in path:
        raise ValueError(f"the path {path!r} leads elsewhere")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise ValueError("a name is longer than a file's can be")
    if not _SHA256.fullmatch(sha256):
        raise ValueError("a SHA-256 is not one")
    return FileEntry(path, _number(entry["size"]), sha256)


def _project(entry: Any) -> ProjectEntry:
    if not re.fullmatch(r"[0-9a-f]{12}", _text(entry["id"])):
        raise ValueError("a project's id is not one")
    return ProjectEntry(
        id=entry["id"],
        name=_text(entry["name"]),
        root=_text(entry["root"]),
        removed=bool(entry["removed"]),
        index_problem=_text(entry["index_problem"]),
        conversations=_number(entry["conversations"]),
        chunks=_number(entry["chunks"]),
    )


def _refuse_clashes(manifest: Manifest, source: str) -> None:
    """One name twice, in another case or composition of its letters, or as both a file and a folder: on some disks
    (APFS, for one) the two are the same."""
    seen: set[str] = set()
    for file in manifest.files:
        key = _folded(file.path)
        if key in seen:
            raise damaged(source, f"it names {file.path!r} twice")
        seen.add(key)
    for file in manifest.files:
        parent = os.path.dirname(_folded(file.path))
        while parent:
            if parent in seen:
                raise damaged(source, f"it names {parent!r} both as a file and as a folder")
            parent = os.path.dirname(parent)


def _folded(path: str) -> str:
    """Equal for paths that differ in case or normalization only (Unicode 3.13, D145: canonical caseless matching)."""
    return path.lower() if path.isascii() else _nfd(_nfd(path).casefold())


def _nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)
