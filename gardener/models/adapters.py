"""The adapters of one project on the disk: what there is, whether it is whole, and for which base it was made.

projects/ID/adapters/NAME/ holds adapters.safetensors and adapter_config.json, which are mlx-lm's, and gardener.json,
which is written last and says what the other two must be. Nothing heavy is imported: `gardener switch` looks here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time

from gardener.errors import AdapterUnfit, NameTaken, NotFoundError, UsageError
from gardener.paths import ensure_directory, sync_directory, translate_os_error, write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gardener.models.base import AdapterRef

WEIGHTS, CONFIG, ABOUT = "adapters.safetensors", "adapter_config.json", "gardener.json"
VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_MAKING, _OLD = ".making", ".old"
_BLOCK = 1 << 20


def check_name(name: str) -> str:
    """The name, which becomes a folder's. Raises UsageError."""
    if not _NAME.match(name):
        raise UsageError(
            f"An adapter's name has letters, digits, dots, dashes and underscores, at most 64: {name!r} is none.",
            next_step="gardener adapters list",
        )
    return name


class AdapterStore:
    """The adapters below a project's home folder."""

    def __init__(self, project_home: str) -> None:
        self.folder = os.path.join(project_home, "adapters")

    def list(self) -> list[dict[str, Any]]:
        """What gardener.json of each adapter says, by name; of a damaged one {"name", "problem"}.

        Every byte is read.
        """
        found = []
        for name in self._names():
            try:
                self.ref(name)
                found.append({"name": name, **self.about(name), "problem": ""})
            except NotFoundError:
                continue  # removed just now
            except AdapterUnfit as error:
                found.append({"name": name, "problem": error.message})
        return found

    def about(self, name: str) -> dict[str, Any]:
        """gardener.json: base, fingerprint, created_at, evaluation and whatever training has put there.

        Raises NotFoundError naming what there is, AdapterUnfit when the file is damaged.
        """
        path = os.path.join(self._place(name), ABOUT)
        try:
            with open(path, encoding="utf-8") as opened:
                about = json.loads(opened.read(1_000_000))
            if about["version"] != VERSION or not all(isinstance(about[key], str) for key in ("base", "fingerprint")):
                raise ValueError("written by another version")
        except FileNotFoundError:
            raise AdapterUnfit(
                f"The adapter {name!r} is not complete: {path} is missing.",
                next_step=f"gardener train --name {name} --again",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AdapterUnfit(
                f"The adapter {name!r} is damaged: {path}: {error}", next_step=f"gardener train --name {name} --again"
            ) from error
        return dict(about)

    def check(self, name: str) -> None:
        """Whether the adapter is there and its files have the sizes that were written: cheap enough for every switch.

        Raises NotFoundError or AdapterUnfit.
        """
        sizes = self.about(name).get("sizes")
        for file in (WEIGHTS, CONFIG):
            path = os.path.join(self._place(name), file)
            try:
                size = os.stat(path).st_size
            except OSError:
                size = -1
            if not isinstance(sizes, dict) or sizes.get(file) != size:
                raise AdapterUnfit(
                    f"The adapter {name!r} is damaged: {path} is missing or of another size.",
                    next_step=f"gardener train --name {name} --again",
                )

    def ref(self, name: str) -> AdapterRef:
        """The adapter as a backend needs it; every byte is compared with what was written.

        Raises NotFoundError or AdapterUnfit.
        """
        try:
            return self._ref(name)
        except (AdapterUnfit, NotFoundError):
            return self._ref(name)  # it may have been replaced between two of its files

    def _ref(self, name: str) -> AdapterRef:
        from gardener.models.base import AdapterRef

        about = self.about(name)
        place = self._place(name)
        try:
            found = _remembered(place)
        except OSError as error:
            raise AdapterUnfit(
                f"The adapter {name!r} is damaged: {error.filename}: {error.strerror}",
                next_step=f"gardener train --name {name} --again",
            ) from error
        if found != about["fingerprint"]:
            raise AdapterUnfit(
                f"The adapter {name!r} is damaged: the files in {place} are not what was written.",
                next_step=f"gardener train --name {name} --again",
            )
        return AdapterRef(name, place, found, about["base"])

    def stage(self, name: str) -> str:
        """An empty folder in which an adapter is made; `publish` gives it its name. Of a run that was killed it is
        what that has left."""
        return ensure_directory(os.path.join(ensure_directory(self.folder), f".{check_name(name)}{_MAKING}"))

    def staged(self) -> dict[str, str]:
        """Name to folder of the adapters that are being made, or whose making was stopped."""
        try:
            entries = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return {}
        names = [entry[1 : -len(_MAKING)] for entry in entries if entry.startswith(".") and entry.endswith(_MAKING)]
        return {name: os.path.join(self.folder, f".{name}{_MAKING}") for name in names}

    def discard(self, name: str) -> None:
        """Removes what lies in `stage(name)`, if anything does."""
        shutil.rmtree(os.path.join(self.folder, f".{check_name(name)}{_MAKING}"), ignore_errors=True)

    def publish(self, name: str, base: str, about: Mapping[str, Any], *, replace: bool = False) -> None:
        """Gives the staged adapter its name, whole or not at all. `base` is the identity of the model it was made for.

        Raises NameTaken when there is one of that name and `replace` does not say otherwise, AdapterUnfit when the
        staged one is not complete, DiskFull.
        """
        staged, place = self.stage(name), os.path.join(self.folder, check_name(name))
        if os.path.isdir(place) and not replace:
            raise NameTaken(f"There is an adapter {name!r} already.", next_step=f"gardener adapters remove {name}")
        try:
            sizes = {file: os.stat(os.path.join(staged, file)).st_size for file in (WEIGHTS, CONFIG)}
            for file in (WEIGHTS, CONFIG):
                os.chmod(os.path.join(staged, file), 0o600)
            content = {
                "version": VERSION,
                "base": base,
                "fingerprint": fingerprint(staged),
                "sizes": sizes,
                "created_at": time.time(),
                **about,
            }
        except OSError as error:
            raise AdapterUnfit(
                f"The adapter {name!r} is not complete: {error.filename} is missing.",
                next_step=f"gardener train --name {name} --again",
            ) from error
        write_private(os.path.join(staged, ABOUT), json.dumps(content, indent=1).encode())
        old = staged + _OLD
        try:
            if os.path.isdir(place):
                shutil.rmtree(old, ignore_errors=True)
                with contextlib.suppress(FileNotFoundError):  # removed just now
                    os.rename(place, old)
            os.rename(staged, place)
            sync_directory(self.folder)
        except OSError as error:
            if os.path.isdir(old) and not os.path.isdir(place):
                os.rename(old, place)
            raise translate_os_error(error, place) from error
        shutil.rmtree(old, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Deletes an adapter. Raises NotFoundError."""
        place = self._place(name)
        gone = os.path.join(self.folder, f".{name}.{os.urandom(4).hex()}.gone")
        try:
            os.rename(place, gone)  # at once: half of an adapter is none
        except FileNotFoundError:
            raise NotFoundError(
                f"The adapter {name!r} has been removed already.", next_step="gardener adapters list"
            ) from None
        except OSError as error:
            raise translate_os_error(error, place) from error
        shutil.rmtree(gone, ignore_errors=True)

    def _names(self) -> tuple[str, ...]:
        try:
            entries = os.listdir(self.folder)
        except FileNotFoundError:
            return ()
        names = {entry[1 : -len(_MAKING + _OLD)] if entry.endswith(_MAKING + _OLD) else entry for entry in entries}
        return tuple(sorted(name for name in names if _NAME.match(name) and os.path.isdir(self._path(name))))

    def _path(self, name: str) -> str:
        """Where an adapter is. Should `publish` be killed between its two renames, what it replaces still counts."""
        place = os.path.join(self.folder, check_name(name))
        old = os.path.join(self.folder, f".{name}{_MAKING}{_OLD}")
        return old if os.path.isdir(old) and not os.path.isdir(place) else place

    def _place(self, name: str) -> str:
        place = self._path(name)
        if not os.path.isdir(place):
            names = self._names()
            raise NotFoundError(
                f"The project has no adapter {name!r}."
                + (f" It has: {', '.join(names)}." if names else " It has none."),
                next_step="gardener adapters list",
            )
        return place


_known: dict[str, tuple[object, str]] = {}
"""Folder to the stamp of its files and their fingerprint, so that a process reads them once and not at every switch."""


def _remembered(folder: str) -> str:
    stamp = []
    for file in (WEIGHTS, CONFIG):
        status = os.stat(os.path.join(folder, file))
        stamp.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    known = _known.get(folder)
    if known is not None and known[0] == stamp:
        return known[1]
    found = fingerprint(folder)
    if len(_known) > 500:
        _known.clear()
    _known[folder] = stamp, found
    return found


def fingerprint(folder: str) -> str:
    """SHA-256 over both files of an adapter. Raises OSError."""
    digest = hashlib.sha256()
    for file in (WEIGHTS, CONFIG):
        with open(os.path.join(folder, file), "rb") as opened:
            digest.update(f"{file}\0".encode())
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
