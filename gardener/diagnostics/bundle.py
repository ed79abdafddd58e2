"""The bundle as one file: parts of JSON and a text that says what they are, in a tar.gz that names nobody."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from typing import TYPE_CHECKING

from gardener.errors import ConflictError
from gardener.paths import open_private, sync_directory, sync_file, translate_os_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gardener.diagnostics.collect import Part

README = """Diagnostics of Gardener.

Made of numbers, and of words of Gardener's own: versions, findings of its checks, settings with where they are set
(texts that you typed are left out), sizes, counts, times, and the last warnings and errors of its logs with everything
that was put into them replaced by "…". It holds no text of repositories, no questions or answers, no names of projects,
files, people or machines, no addresses and no tokens. Nothing of it was sent anywhere.
"""
_TOP = "gardener-diagnostics"


def default_name(now: float | None = None) -> str:
    return f"{_TOP}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}.tar.gz"


def files(parts: Mapping[str, Part]) -> dict[str, bytes]:
    """What the bundle holds, by name."""
    made = {"README.txt": README.encode()}
    return made | {
        name: (json.dumps(part, indent=1, ensure_ascii=False) + "\n").encode() for name, part in parts.items()
    }


def packed(contents: Mapping[str, bytes], now: float | None = None) -> bytes:
    """A tar.gz whose headers have neither a user's name nor a number of one."""
    at = int(time.time() if now is None else now)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(f"{_TOP}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), at, 0o600
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=at)


def refuse_existing(path: str) -> None:
    """Raises ConflictError when something is there already."""
    if os.path.lexists(path):
        raise ConflictError(
            f"{path} exists already. It was left as it is.", next_step="gardener diagnostics --output ANOTHER.tar.gz"
        )


def write(path: str, data: bytes) -> None:
    """A new file of mode 0600. Raises ConflictError when there is one already, DiskFull or PermissionProblem."""
    refuse_existing(path)
    try:
        # "x" follows no link, and never writes over what is there.
        with open(path, "xb", opener=open_private) as handle:
            handle.write(data)
            handle.flush()
            sync_file(handle.fileno())
        sync_directory(os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        if not isinstance(error, FileExistsError) and os.path.isfile(path):
            os.unlink(path)
        raise translate_os_error(error, path) from error
