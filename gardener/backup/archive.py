"""A backup as one file that another machine can import: a compressed tar, the manifest first, its files in order.

An archive comes from anywhere, so it is read twice. The first time nothing is written: every member must be the regular
file that the manifest announces at that place, with its size and its SHA-256, and nothing more. Only what has passed is
unpacked, and every byte is hashed again on the way.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from typing import IO

from gardener.backup import manifest
from gardener.backup.encryption import Key, encrypt
from gardener.backup.manifest import FileEntry, Manifest
from gardener.backup.snapshot import new_id
from gardener.backup.store import MAKING, Entry, Store
from gardener.backup.verify import refuse_newer
from gardener.errors import ConflictError, DiskFull, PathNotFound
from gardener.paths import ensure_directory, open_private, sync_directory, sync_file, translate_os_error

_BLOCK = 1 << 20
_PER_MEMBER = 4_096
"""Most bytes of headers and padding for one file; `tarfile` needs 512 to 2,048 and the length of the name."""
_SPARE = 100_000_000
"""Bytes that stay free on the disk."""


def write(entry: Entry, found: Manifest, path: str, key: Key | None = None, scratch: str = "") -> int:
    """Writes a checked backup to the new file `path`, mode 0600. Returns its size in bytes.

    With a `key` it is encrypted; the plain archive is then made in the folder `scratch` and removed.

    Raises ConflictError when there is a file already, DiskFull, PermissionProblem, or BackupDamaged.
    """
    if os.path.lexists(path):
        raise ConflictError(f"{path} exists already.", next_step=f"ls -l {path!r}")
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    plain = os.path.join(scratch, "plain") if key else temporary
    try:
        with open(plain, "xb", opener=open_private) as raw:
            with (
                gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=3, mtime=0, filename="") as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                _add(archive, manifest.NAME, io.BytesIO(data := found.encode()), len(data))
                for file in found.files:
                    with open(os.path.join(entry.path, file.path), "rb") as handle:
                        _add(archive, file.path, handle, file.size)
            raw.flush()
            sync_file(raw.fileno())
        if key:
            encrypt(plain, temporary, key)
        size = os.stat(temporary).st_size
        os.replace(temporary, path)
        sync_directory(os.path.dirname(os.path.abspath(path)))
        return size
    except OSError as error:
        raise translate_os_error(error, path) from error
    finally:
        for leftover in {plain, temporary}:
            if os.path.lexists(leftover):
                os.unlink(leftover)


def _add(archive: tarfile.TarFile, name: str, handle: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, handle)


def read(path: str, store: Store, *, source: str = "") -> Entry:
    """Takes an archive into the store under a new number. Raises BackupDamaged or SchemaTooNew before anything is
    written, PathNotFound, DiskFull, LockedError.

    `source` is the file to name in errors, if `path` is a decrypted copy of it.
    """
    found = inspect(path, source)
    with store.lock("gardener backup import"):
        store.remove_unfinished()
        free = shutil.disk_usage(store.folder).free
        if found.total_bytes + _SPARE > free:
            raise DiskFull(
                f"{path} needs {found.total_bytes:,} bytes, and {free:,} are free on the disk of {store.folder}.",
                next_step=f'df -h "{store.folder}"',
            )
        number, backup_id = new_id(store)
        folder = os.path.join(store.folder, MAKING + backup_id)
        try:
            ensure_directory(folder)
            if _walk(path, lambda file: _create(os.path.join(folder, file.path))) != found:
                raise manifest.damaged(path, "it changed while it was read")
            manifest.write(folder, found._replace(id=backup_id, sequence=number, imported=True))
            os.rename(folder, store.path(backup_id))
            sync_directory(store.folder)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise translate_os_error(error, folder) from error
            raise
    return store.find(backup_id)


def inspect(path: str, source: str = "") -> Manifest:
    """The manifest of an archive that is whole and harmless; nothing is written. Raises as `read`."""
    if not os.path.isfile(path):
        raise PathNotFound(f"There is no file {path}.", next_step=f"ls -l {os.path.dirname(path) or '.'!r}")
    return _walk(path, lambda file: None, source)


def _create(place: str) -> IO[bytes]:
    ensure_directory(os.path.dirname(place))
    return open(place, "xb", opener=open_private)


def _walk(path: str, target: Callable[[FileEntry], IO[bytes] | None], source: str = "") -> Manifest:
    """Reads the whole archive; each file goes where `target` says. Raises BackupDamaged at the first oddity."""
    opened, path = path, source or path
    try:
        with gzip.open(opened, "rb") as unpacked:
            bounded = _Bounded(unpacked, path)
            with tarfile.open(fileobj=bounded, mode="r|") as archive:
                found = _manifest(archive, bounded, path)
                for file in found.files:
                    _copy(archive, _next(archive, file.path, file.size, path), file, target(file), path)
                if archive.next() is not None:
                    raise manifest.damaged(path, "it holds more than its manifest names")
            while bounded.read(_BLOCK):
                pass  # to the end, where gzip compares its own checksum
            return found
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise manifest.damaged(
            path, f"it is no archive of a backup ({str(error)[:100] or 'it ends too early'})"
        ) from error


def _manifest(archive: tarfile.TarFile, bounded: _Bounded, path: str) -> Manifest:
    member = _next(archive, manifest.NAME, None, path)
    if member.size > manifest.MAX_BYTES:
        raise manifest.damaged(path, "its manifest is too large")
    handle = archive.extractfile(member)
    found = manifest.decode(handle.read() if handle else b"", path)
    refuse_newer(found)
    names = sum(len(file.path.encode()) for file in found.files)
    bounded.left = found.total_bytes + 2 * names + _PER_MEMBER * (len(found.files) + 8)
    return found


def _next(archive: tarfile.TarFile, name: str, size: int | None, path: str) -> tarfile.TarInfo:
    member = archive.next()
    if member is None:
        raise manifest.damaged(path, f"{name} is missing from it")
    if member.name != name:
        raise manifest.damaged(path, f"it holds {member.name[:200]!r} where {name!r} belongs")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise manifest.damaged(path, f"{name} is not a regular file in it")
    if size is not None and member.size != size:
        raise manifest.damaged(path, f"{name} has {member.size:,} bytes instead of {size:,}")
    return member


def _copy(
    archive: tarfile.TarFile, member: tarfile.TarInfo, file: FileEntry, writing: IO[bytes] | None, path: str
) -> None:
    reading = archive.extractfile(member)
    digest = hashlib.sha256()
    try:
        while reading and (block := reading.read(_BLOCK)):
            digest.update(block)
            if writing:
                writing.write(block)
        if writing:
            writing.flush()
            sync_file(writing.fileno())
    finally:
        if writing:
            writing.close()
    if digest.hexdigest() != file.sha256:
        raise manifest.damaged(path, f"the content of {file.path} is not what was written")


class _Bounded(io.RawIOBase):
    """A stream that ends in an error after `left` bytes: what a bomb unpacks to is never held or read to its end."""

    def __init__(self, stream: gzip.GzipFile, path: str) -> None:
        self._stream = stream
        self._path = path
        self.left = manifest.MAX_BYTES + 1_000_000

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, _BLOCK) if size >= 0 else _BLOCK)
        self.left -= len(data)
        if self.left < 0:
            raise manifest.damaged(self._path, "it unpacks to more than its manifest says")
        return data
