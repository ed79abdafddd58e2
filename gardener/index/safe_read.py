"""Reading a file of a repository that may be hostile: never through a link, never a device, never too much.

Every folder on the way is opened relative to the one above it and without following links (openat(2) with
O_NOFOLLOW), so that swapping a folder for a link between the walk and the reading leads nowhere. O_NONBLOCK
keeps a FIFO that has taken a file's place from blocking the opening.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import NamedTuple

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)

_READ_ATTEMPTS = 3

_MAX_KEPT_FOLDERS = 40
"""Folders kept open at most; macOS gives a process 256 descriptors, and a hostile tree can be deeper."""


class FileEntry(NamedTuple):
    """One file that may be indexed, as its metadata describes it."""

    path: str
    """POSIX, relative to the root; always encodable as UTF-8."""
    size: int
    """Bytes."""
    mtime_ns: int


class SkippedFile(Exception):
    """A file that was listed cannot be read now. `reason` is one of the codes that `walk` documents."""

    def __init__(self, path: str, reason: str, detail: str = "") -> None:
        super().__init__(f"{path}: {detail or reason}")
        self.path = path
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[SkippedFile], tuple[str, str, str]]:
        return SkippedFile, (self.path, self.reason, self.detail)


class TreeReader:
    """Reads many files below one root and keeps the folders on the way to the last one open.

    Much faster than `read_file` for files in path order. One thread at a time. Close it, or use `with`.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._names: list[str] = []
        self._descriptors: list[int] = []

    def __enter__(self) -> TreeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every open folder; the reader can be used again."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._names.clear()

    def read(self, entry: FileEntry, max_file_bytes: int) -> bytes:
        """The whole content of a regular file of at most `max_file_bytes` bytes, as it was at one moment.

        Raises SkippedFile, and no OSError: "vanished", "symlink", "not-regular", "too-large", "unreadable",
        "changed" (it was being written to all the time), "outside-root" (not a path that `walk` gives).
        """
        parts = entry.path.split("/")
        if "\0" in entry.path or any(part in ("", ".", "..") for part in parts):
            raise SkippedFile(entry.path, "outside-root", "not a path inside the project")
        try:
            folder = self._kept_folder(parts[: min(len(parts) - 1, _MAX_KEPT_FOLDERS)])
            descriptor = _open_below(folder, parts[_MAX_KEPT_FOLDERS:-1], parts[-1])
        except (OSError, ValueError) as error:
            raise _skipped(entry.path, error) from error
        try:
            return _read_whole(descriptor, entry.path, max_file_bytes)
        except OSError as error:
            raise _skipped(entry.path, error) from error
        finally:
            os.close(descriptor)

    def _kept_folder(self, names: list[str]) -> int:
        """A descriptor of the folder, reusing the part of the way that the last file had in common."""
        if not self._descriptors:
            self._descriptors.append(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        common = 0
        for ours, wanted in zip(self._names, names, strict=False):
            if ours != wanted:
                break
            common += 1
        while len(self._names) > common:
            self._names.pop()
            os.close(self._descriptors.pop())
        for name in names[common:]:
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=self._descriptors[-1])
            self._descriptors.append(descriptor)
            self._names.append(name)
        return self._descriptors[-1]


def read_file(root: str, entry: FileEntry, max_file_bytes: int) -> bytes:
    """`TreeReader.read` for a single file. `root` is the project's absolute folder."""
    with TreeReader(root) as reader:
        return reader.read(entry, max_file_bytes)


def _open_below(folder: int, names: list[str], name: str) -> int:
    """Opens `name` in the folder that `names` lead to from `folder`; leaves no other descriptor open."""
    current = folder
    try:
        for step in names:
            below = os.open(step, _FOLDER_FLAGS, dir_fd=current)
            if current != folder:
                os.close(current)
            current = below
        return os.open(name, _FILE_FLAGS, dir_fd=current)
    finally:
        if current != folder:
            os.close(current)


def _read_whole(descriptor: int, path: str, max_file_bytes: int) -> bytes:
    for _ in range(_READ_ATTEMPTS):
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise SkippedFile(path, "not-regular", "no longer a regular file")
        if before.st_size > max_file_bytes:
            raise _too_large(path, before.st_size, max_file_bytes)
        pieces: list[bytes] = []
        # One byte more than there should be shows that it has grown; what grows for ever stops at the limit.
        remaining = min(before.st_size, max_file_bytes) + 1
        while remaining > 0 and (piece := os.read(descriptor, remaining)):
            pieces.append(piece)
            remaining -= len(piece)
        data = b"".join(pieces)
        after = os.fstat(descriptor)
        if len(data) == after.st_size and after.st_mtime_ns == before.st_mtime_ns:
            return data
        if len(data) > max_file_bytes:
            raise _too_large(path, len(data), max_file_bytes)
        os.lseek(descriptor, 0, os.SEEK_SET)
    raise SkippedFile(path, "changed", "it was being written to while it was read")


def _too_large(path: str, size: int, limit: int) -> SkippedFile:
    return SkippedFile(path, "too-large", f"{size:,} bytes; the limit is {limit:,}")


def _skipped(path: str, error: OSError | ValueError) -> SkippedFile:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ESTALE):
        return SkippedFile(path, "vanished", "it is not there any more")
    if number in (errno.ELOOP, errno.EMLINK):
        return SkippedFile(path, "symlink", "it has become a symbolic link")
    if number == errno.ENOTDIR:
        # O_DIRECTORY with O_NOFOLLOW answers ENOTDIR for a link to a folder too.
        return SkippedFile(path, "symlink", "a folder on the way is not a folder, or a symbolic link")
    if number in (errno.ENXIO, errno.ENODEV):
        return SkippedFile(path, "not-regular", "a device or socket")
    if isinstance(error, UnicodeError):
        return SkippedFile(path, "unencodable-name", "the name is not valid UTF-8")
    return SkippedFile(path, "unreadable", (error.strerror if isinstance(error, OSError) else None) or str(error))
