"""The program folder: versions side by side, and the pointer that says which of them is in force.

PROGRAM/
  versions/VERSION/    a virtual environment each, which refers to itself by its absolute path
  current              a relative link to versions/VERSION; replacing it is the only commit point
  installation.json    where the installation came from, its versions, the one before
  upgrade.json         an upgrade or rollback that is under way (see journal.py)
  upgrade.lock         held by whoever changes any of this

Data is never in here, and nothing in here is needed to read data.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import time
from typing import Any, NamedTuple

from gardener.errors import IntegrityError, NotFoundError, UsageError
from gardener.locks import ProcessLock
from gardener.paths import ensure_directory, sync_directory, translate_os_error, write_private

_log = logging.getLogger("gardener.upgrade")

SCHEMA = 1
VERSION = re.compile(r"\d[0-9A-Za-z.+!_-]{0,99}")
"""What may be the name of a version's folder (PEP 440 allows less)."""


class Version(NamedTuple):
    """One installed version. `state` is ready or failed; `backup` the one made right before it took over.

    `schema` is the schema of state.db that it took over; 0 when it was installed and not upgraded to.
    """

    version: str
    installed_at: float
    state: str
    backup: str = ""
    schema: int = 0


class Source(NamedTuple):
    """Where versions come from. `kind` is folder, wheel or index; `value` a path, or what pip is asked for."""

    kind: str
    value: str


class Installation(NamedTuple):
    """What installation.json says."""

    source: Source
    previous: str
    versions: tuple[Version, ...]

    def find(self, version: str) -> Version | None:
        return next((one for one in self.versions if one.version == version), None)

    def with_version(self, changed: Version) -> Installation:
        """The same with one version added or replaced; the newest is last."""
        others = tuple(one for one in self.versions if one.version != changed.version)
        return self._replace(versions=(*others, changed))


class Program:
    """The program folder `folder`; nothing is made until it is written to."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)

    # ---- where things are ------------------------------------------------------------------------------

    @property
    def versions(self) -> str:
        return os.path.join(self.folder, "versions")

    @property
    def pointer(self) -> str:
        return os.path.join(self.folder, "current")

    def environment(self, version: str) -> str:
        """The folder of a version's virtual environment."""
        if not VERSION.fullmatch(version):
            raise UsageError(f"{version!r} is not a version.", next_step="gardener upgrade --check")
        return os.path.join(self.versions, version)

    def python(self, version: str) -> str:
        return os.path.join(self.environment(version), "bin", "python")

    @property
    def current_python(self) -> str:
        """The interpreter of whatever version is in force; what services and restarts name."""
        return os.path.join(self.pointer, "bin", "python")

    def lock(self, purpose: str) -> ProcessLock:
        """Raises LockedError while another process upgrades. Use the result as a context manager."""
        self._make()
        lock = self._lock(purpose)
        lock.acquire()
        return lock

    def _make(self) -> None:
        if not os.path.isdir(self.folder):  # one that was there is the user's own, and keeps its mode
            ensure_directory(self.folder)

    def lock_holder(self) -> dict[str, object] | None:
        """Who upgrades now; see ProcessLock.holder."""
        return self._lock("gardener upgrade").holder()

    def _lock(self, purpose: str) -> ProcessLock:
        return ProcessLock(os.path.join(self.folder, "upgrade.lock"), purpose, subject="the installed versions")

    # ---- what is there ---------------------------------------------------------------------------------

    def current(self) -> str:
        """The version in force. Raises NotFoundError when the pointer leads nowhere."""
        try:
            target = os.readlink(self.pointer)
        except OSError:
            target = ""
        version = os.path.basename(target)
        if not VERSION.fullmatch(version) or not os.path.exists(self.python(version)):
            raise NotFoundError(
                f"{self.pointer} does not lead to an installed version"
                + (f" ({', '.join(self.installed())} are installed)." if self.installed() else "."),
                next_step=f'ls -l "{self.folder}"',
            )
        return version

    def installed(self) -> list[str]:
        """Versions that have a folder, whole or not."""
        if not os.path.isdir(self.versions):
            return []
        return sorted(name for name in os.listdir(self.versions) if VERSION.fullmatch(name))

    def read(self) -> Installation:
        """installation.json; without one, what the folders tell. Raises IntegrityError when it cannot be understood."""
        path = os.path.join(self.folder, "installation.json")
        try:
            with open(path, encoding="utf-8") as handle:
                found = json.load(handle)
            if found["schema"] > SCHEMA:
                raise IntegrityError(
                    f"{path} was written by a newer Gardener (schema {found['schema']}; this one knows {SCHEMA}).",
                    next_step=f'"{self.current_python}" -m gardener.cli.main upgrade',
                )
            return Installation(
                Source(str(found["source"]["kind"]), str(found["source"]["value"])),
                str(found.get("previous") or ""),
                tuple(_version(one) for one in found["versions"]),
            )
        except FileNotFoundError:
            ready = tuple(Version(name, os.stat(self.environment(name)).st_mtime, "ready") for name in self.installed())
            return Installation(Source("", ""), "", ready)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{path} cannot be read ({type(error).__name__}: {error}). Moved aside, it is made anew.",
                next_step=f'mv "{path}" "{path}.damaged"',
            ) from error
        except OSError as error:
            raise translate_os_error(error, path) from error

    # ---- changes; call them under the lock -----------------------------------------------------------------

    def write(self, installation: Installation) -> None:
        """Replaces installation.json durably."""
        text = json.dumps(
            {
                "schema": SCHEMA,
                "source": installation.source._asdict(),
                "previous": installation.previous,
                "versions": [one._asdict() for one in installation.versions],
            },
            indent=1,
        )
        self._make()
        write_private(os.path.join(self.folder, "installation.json"), text.encode())

    def flip(self, version: str) -> None:
        """Puts a version in force, by one rename. Who has the old one open goes on with it."""
        if not os.path.exists(self.python(version)):
            raise NotFoundError(f"Version {version} is not installed here.", next_step="gardener upgrade --check")
        temporary = f"{self.pointer}.{os.urandom(6).hex()}.tmp"
        try:
            os.symlink(os.path.join("versions", version), temporary)
            os.replace(temporary, self.pointer)
            sync_directory(self.folder)
            _log.debug("flipped: %s", version)
        except OSError as error:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise translate_os_error(error, self.pointer) from error

    def remove(self, version: str) -> None:
        """Deletes a version that is neither in force nor the one before."""
        if version in (self.current(), self.read().previous):
            raise UsageError(f"Version {version} is in use.", next_step="gardener upgrade --check")
        shutil.rmtree(self.environment(version), ignore_errors=True)
        installation = self.read()
        kept = tuple(one for one in installation.versions if one.version != version)
        self.write(installation._replace(versions=kept))

    def prune(self, keep: int) -> list[str]:
        """Deletes the oldest versions until `keep` are left; never the one in force nor the one before."""
        installation = self.read()
        safe = {self.current(), installation.previous}
        order = [one.version for one in sorted(installation.versions, key=lambda one: one.installed_at)]
        unknown = [name for name in self.installed() if name not in order]  # left by a kill: they go first
        doomed = [name for name in (*unknown, *order) if name not in safe]
        present = set(self.installed()) | set(order)
        gone = doomed[: max(0, len(present) - max(keep, len(safe - {""})))]
        for version in gone:
            self.remove(version)
        return gone


def _version(found: dict[str, Any]) -> Version:
    if not VERSION.fullmatch(found["version"]):
        raise ValueError(found["version"])
    return Version(
        found["version"],
        float(found.get("installed_at") or 0),
        str(found.get("state") or "ready"),
        str(found.get("backup") or ""),
        int(found.get("schema") or 0),
    )


def ready(version: str) -> Version:
    """A version that was installed now."""
    return Version(version, time.time(), "ready")


def running_program(prefix: str = sys.prefix) -> Program | None:
    """The program folder that this very process runs from; None for a checkout or another environment."""
    versions = os.path.dirname(os.path.realpath(prefix))
    folder = os.path.dirname(versions)
    if os.path.basename(versions) == "versions" and os.path.lexists(os.path.join(folder, "current")):
        return Program(folder)
    return None


def this_program(prefix: str = sys.prefix) -> Program:
    """As `running_program`. Raises UsageError saying how to get one."""
    found = running_program(prefix)
    if found is None:
        raise UsageError(
            f"This Gardener runs from {prefix}, which is not an installation with versions side by side (a checkout "
            "with `make install`, or an environment of your own). It is upgraded the way it was installed, for example "
            "with git pull and make install.",
            next_step="gardener backup create",
        )
    return found
