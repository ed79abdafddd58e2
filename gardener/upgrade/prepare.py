"""Finds out which version is to be had and makes its environment beside the others. Nothing that runs is touched.

An index is asked only when the installation came from one, or with the person's leave (`allow_index`). Otherwise the
packages of the version in force are linked into the new environment, and pip, told to stay offline, says what is
missing.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from gardener.errors import ConflictError, NotFoundError, UpgradeFailed, UsageError
from gardener.paths import ensure_directory
from gardener.upgrade.commands import Commands, gardener
from gardener.upgrade.program import VERSION, Program, Source

PACKAGE = "gardener"
PIP_SECONDS = 1_800.0
_WHEEL = re.compile(r"gardener-(?P<version>[^-]+)-[^/]*\.whl")
_OWN = re.compile(r"(gardener|ui|gardener-.*\.dist-info|__pycache__|pip|pip-.*\.dist-info|.*\.pth|_virtualenv.*)")
_RECORD = re.compile(r"gardener-[^/]+\.dist-info/RECORD")
_CONSTRAINTS = "gardener/constraints.txt"


class Wanted(NamedTuple):
    """A version that is to be had. `wheel` is "" until it was fetched.

    `name` is its folder below versions/: the version, with a mark when that is taken by other contents.
    """

    version: str
    source: Source
    wheel: str = ""
    name: str = ""


Install = Callable[[str, Wanted], None]
"""Puts the wheel of a version and what it needs into the environment of the interpreter given first."""


def source_of(given: str, known: Source) -> Source:
    """What `--from` means: a folder, a wheel, or a requirement for pip; "" is where the installation came from.

    Raises UsageError when that is not known.
    """
    if not given:
        if not known.kind:
            raise UsageError(
                "Where this installation came from is not recorded. Say where the next version is.",
                next_step="gardener upgrade --from PATH",
            )
        return known  # a wheel, too, is that very file: what else lies in its folder nobody has named
    path = os.path.abspath(os.path.expanduser(given))
    if os.path.isdir(path):
        return Source("folder", path)
    if given.endswith(".whl"):
        return Source("wheel", path)
    if not re.match(r"[A-Za-z0-9]", given) or not given.isprintable():  # such as what pip would take for an option
        raise UsageError(f"{given!r} names no folder, wheel or package.", next_step="gardener upgrade --from PATH")
    return Source("index", given)


def look(source: Source, to: str, commands: Commands, scratch: str) -> Wanted:
    """Which version the source has, without making anything: `to`, if one was asked for.

    Raises NotFoundError when it has no such version, UpgradeFailed when an index does not answer.
    """
    if source.kind == "folder":
        version = _version_of_folder(source.value)
    elif source.kind == "wheel":
        version = _version_of_wheel(source.value)
    elif to:
        version = to
    else:
        said = commands.need(
            [*_pip(commands, scratch), "index", "versions", _name_of(source.value)], seconds=120, folder=scratch
        )
        found = re.search(r"\(([^)]+)\)", said.out)
        if found is None:
            raise UpgradeFailed(f"pip did not name a version of {source.value}: {said.text}")
        version = found[1]
    if to and version != to:
        raise NotFoundError(
            f"{source.value} has version {version}, not {to}.", next_step=f"gardener upgrade --to {version}"
        )
    if not VERSION.fullmatch(version):
        raise NotFoundError(f"{source.value}: {version!r} is not a version.", next_step="gardener upgrade --check")
    return Wanted(version, source)


def fetch(wanted: Wanted, commands: Commands, scratch: str, *, allow_index: bool) -> Wanted:
    """The wheel of a version: the file itself, one built from the folder, or one that pip brings.

    Raises UpgradeFailed, or ConflictError when a folder cannot be built without asking an index.
    """
    source = wanted.source
    if source.kind == "wheel":
        return wanted._replace(wheel=source.value)
    command = [*_pip(commands, scratch), "wheel", "--no-deps", "--wheel-dir", scratch]
    if source.kind == "folder":
        if not allow_index:
            command += ["--no-index", "--no-build-isolation"]
        target = source.value
    else:
        exact = re.fullmatch(r"[A-Za-z0-9._-]+", source.value)
        target = f"{source.value}=={wanted.version}" if exact else source.value
    try:
        commands.need([*command, target], seconds=PIP_SECONDS, folder=scratch)
    except UpgradeFailed as error:
        if source.kind == "folder" and not allow_index:
            raise ConflictError(
                f"{source.value} could not be built without a package index (it needs hatchling): {error.message}",
                next_step="gardener upgrade --index",
            ) from error
        raise
    made = [name for name in os.listdir(scratch) if _WHEEL.fullmatch(name)]
    if len(made) != 1:
        raise UpgradeFailed(f"{target} gave {made or 'no wheel'} instead of one wheel of Gardener.")
    wheel = os.path.join(scratch, made[0])
    return wanted._replace(version=_version_of_wheel(wheel), wheel=wheel)


def choose_folder(program: Program, wanted: Wanted) -> tuple[Wanted, bool]:
    """Under which name a fetched wheel is installed, and whether it still has to be.

    A checkout may change without a new number, as the installers know, too: what works is not overwritten.
    """
    with zipfile.ZipFile(wanted.wheel) as archive:
        records = [name for name in archive.namelist() if _RECORD.fullmatch(name)]
        try:
            (record,) = records
            contents = _hashed(archive.read(record).decode())
        except ValueError as error:  # UnicodeDecodeError is one
            raise UpgradeFailed(
                f"{wanted.wheel} has {len(records)} lists of its files that can be read; it is no wheel of Gardener.",
                next_step="gardener upgrade --from WHEEL",
            ) from error
    mark = hashlib.sha256("\n".join(sorted(map(repr, contents))).encode()).hexdigest()[:8]
    known = program.read()
    ready = {
        one.version for one in known.versions if one.state == "ready" and os.path.exists(program.python(one.version))
    }
    for name in sorted(ready & set(program.installed())):
        if name.partition("+")[0] == wanted.version and contents <= _installed(program, name, record):
            return wanted._replace(name=name), False
    return wanted._replace(name=f"{wanted.version}+{mark}" if wanted.version in ready else wanted.version), True


def _hashed(record: str) -> set[tuple[str, ...]]:
    """Path and hash of each file that a RECORD lists (the specification of binary distributions)."""
    return {tuple(line.rsplit(",", 2)[:2]) for line in record.splitlines() if ",sha256=" in line}


def _installed(program: Program, name: str, record: str) -> set[tuple[str, ...]]:
    folder = os.path.join(glob.escape(program.environment(name)), "lib", "python3.*", "site-packages")
    for path in glob.glob(os.path.join(folder, record)):
        with open(path, encoding="utf-8") as handle:
            return _hashed(handle.read())
    return set()


def make_environment(program: Program, wanted: Wanted, commands: Commands, install: Install) -> None:
    """Makes versions/VERSION and sees it start. What is there already is made anew. Raises UpgradeFailed."""
    target = program.environment(wanted.name)
    shutil.rmtree(target, ignore_errors=True)
    ensure_directory(program.versions)
    base = getattr(sys, "_base_executable", "") or sys.executable
    commands.need([base, "-m", "venv", "--without-pip", target], seconds=120, folder=program.folder)
    python = program.python(wanted.name)
    install(python, wanted)
    said = commands.need(gardener(python, "--version"), seconds=120, folder=program.folder)
    if said.out.strip() != f"gardener {wanted.version}":
        raise UpgradeFailed(f"What was installed as {wanted.version} calls itself {said.out.strip()!r}.")


def installer(program: Program, commands: Commands, scratch: str, *, allow_index: bool) -> Install:
    """Installs with pip: from the index where that is allowed, else with what the version in force has."""

    def install(python: str, wanted: Wanted) -> None:
        command = [*_pip(commands, scratch), "--python", python, "install", "--disable-pip-version-check"]
        if allow_index or wanted.source.kind == "index":
            pins = _constraints(wanted.wheel, scratch)
            command += ["--constraint", pins] if pins else []
            commands.need([*command, wanted.wheel], seconds=PIP_SECONDS, folder=scratch)
            return
        _link_packages(program.python(program.current()), python, commands, scratch)
        beside = os.path.dirname(wanted.wheel if wanted.source.kind == "wheel" else wanted.source.value)
        try:
            commands.need(
                [*command, "--no-index", "--find-links", beside, wanted.wheel], seconds=PIP_SECONDS, folder=scratch
            )
        except UpgradeFailed as error:
            raise ConflictError(
                f"Version {wanted.version} needs packages that the version in force does not have and that are not "
                f"beside it: {error.message}",
                next_step="gardener upgrade --index",
            ) from error

    return install


def _link_packages(old: str, new: str, commands: Commands, folder: str) -> None:
    """Links the packages of one environment, Gardener itself left out, into another of the same Python."""
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    source, target = (
        commands.need([python, "-c", ask], seconds=60, folder=folder).out.strip() for python in (old, new)
    )
    if os.path.basename(os.path.dirname(source)) != os.path.basename(os.path.dirname(target)):
        raise ConflictError(
            f"The version in force has {os.path.basename(os.path.dirname(source))} and the new one would have "
            f"{os.path.basename(os.path.dirname(target))}, so its packages have to be installed anew.",
            next_step="gardener upgrade --index",
        )
    for name in sorted(os.listdir(source)):
        if _OWN.fullmatch(name):
            continue
        path = os.path.join(source, name)
        if os.path.isdir(path):
            shutil.copytree(path, os.path.join(target, name), symlinks=True, copy_function=link, dirs_exist_ok=True)
        else:
            link(path, os.path.join(target, name))


def link(source: str, target: str) -> str:
    """A hard link, or a copy where there can be none. Installed files are replaced, never written to."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def _pip(commands: Commands, scratch: str) -> list[str]:
    import importlib.util

    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-P", "-m", "pip"]
    tool = os.path.join(scratch, "pip")  # an environment that uv made has none
    if not os.path.isdir(tool):
        base = getattr(sys, "_base_executable", "") or sys.executable
        commands.need([base, "-m", "venv", tool], seconds=120, folder=scratch)
    return [os.path.join(tool, "bin", "python"), "-P", "-m", "pip"]


def _constraints(wheel: str, scratch: str) -> str:
    """The pins that a wheel carries, as a file for pip; "" when it has none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(_CONSTRAINTS)
    except KeyError:
        return ""
    path = os.path.join(scratch, "constraints.txt")
    with open(path, "wb") as handle:
        handle.write(data)
    return path


def _version_of_folder(folder: str) -> str:
    path = os.path.join(folder, "gardener", "__init__.py")
    try:
        with open(path, encoding="utf-8") as handle:
            found = re.search(r'^__version__ = "([^"]+)"$', handle.read(100_000), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise NotFoundError(f"{folder} is not a checkout of Gardener.", next_step="gardener upgrade --from PATH")
    return found[1]


def _version_of_wheel(path: str) -> str:
    found = _WHEEL.fullmatch(os.path.basename(path))
    if found is None:
        raise NotFoundError(f"{path} is not a wheel of Gardener.", next_step="gardener upgrade --from WHEEL")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is None:
                return found["version"]
    except (OSError, zipfile.BadZipFile) as error:
        raise NotFoundError(f"{path} cannot be read: {error}.", next_step="gardener upgrade --from WHEEL") from error
    raise NotFoundError(f"{path} is damaged.", next_step="gardener upgrade --from WHEEL")


def order_of(text: str) -> tuple[int, ...]:
    """What the first three numbers in a version are ordered by."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    if found is None or "://" in requirement or "/" in requirement:
        raise UsageError(
            f"Which versions there are cannot be asked of {requirement!r}; upgrade to find out.",
            next_step="gardener upgrade --to VERSION",
        )
    return found[0]
