"""Versions to upgrade to: the wheel of this repository, and wheels made of it with another number and a migration more.

The stand-in of these tests is one function: `linked_install` unpacks a wheel and links the packages of the environment
that the tests run in, where pip would install them.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

from gardener.upgrade.prepare import Wanted
from gardener.upgrade.program import Installation, Program, Source, Version

REPOSITORY = Path(__file__).parents[2]
OLD, NEW = "0.1.0", "0.2.0"

MIGRATION = (
    "gardener/state_schema.py",
    "MIGRATIONS: list[",
    "def moods(connection):\n"
    "    connection.execute(\"ALTER TABLE conversations ADD COLUMN mood TEXT NOT NULL DEFAULT ''\")\n"
    '    connection.execute("CREATE TABLE moods (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")\n\n\n'
    "MIGRATIONS: list[",
)
LAST = ("gardener/state_schema.py", "    branches_and_reasons,\n]", "    branches_and_reasons,\n    moods,\n]")
Change = tuple[str, str, str]
"""A file of the wheel, a text in it, and what takes its place."""

_LIVE = "'upgrade-trial' not in __import__('os').environ.get('GARDENER_HOME', '')"
BROKEN: Mapping[str, Change] = {
    "import": ("gardener/cli/main.py", "import sys\n", "import sys\nimport no_such_module\n"),
    "migrate": (MIGRATION[0], "def moods(connection):\n", "def moods(connection):\n    raise KeyError('mood')\n"),
    "ready": ("gardener/server/probes.py", "ready = all(", "ready = False and all("),
    "answers": ("gardener/server/json_api.py", "**found.as_json()}", '**found.as_json(), "hits": []}'),
    "hangs": ("gardener/cli/serve.py", "def serve(", "__import__('time').sleep(600)\n\n\ndef serve("),
    "ends": ("gardener/server/run.py", "    be_frugal()\n", "    raise SystemExit(9)\n"),
    "live-ready": ("gardener/server/probes.py", "ready = all(", f"ready = not ({_LIVE}) and all("),
    "live-hangs": (
        "gardener/server/run.py", "    be_frugal()\n", f"    if {_LIVE}:\n        __import__('time').sleep(600)\n",
    ),
    "live-ends": ("gardener/server/run.py", "    be_frugal()\n", f"    if {_LIVE}:\n        raise SystemExit(9)\n"),
}  # fmt: skip
"""What is wrong with a version; of the last three only its live app."""


def build_wheel(folder: Path) -> Path:
    """The wheel of this repository as it is on the disk."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w",
         str(folder), str(REPOSITORY)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder / f"gardener-{OLD}-py3-none-any.whl"


def variant(wheel: Path, version: str, *changes: Change) -> Path:
    """The same wheel under another version, with changes."""
    target = wheel.with_name(f"gardener-{version}-py3-none-any.whl")
    edits = [*changes, ("gardener/__init__.py", f'"{OLD}"', f'"{version}"')]
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as made:
        for name in source.namelist():
            data = source.read(name)
            for path, before, after in edits:
                if path == name:
                    assert before.encode() in data, (path, before)
                    data = data.replace(before.encode(), after.encode(), 1)
            if name.endswith("METADATA"):
                data = data.replace(f"Version: {OLD}".encode(), f"Version: {version}".encode(), 1)
            made.writestr(name.replace(f"gardener-{OLD}.dist-info", f"gardener-{version}.dist-info"), data)
    return target


def newer(wheel: Path, version: str = NEW, *changes: Change) -> Path:
    """A version with one more migration."""
    return variant(wheel, version, MIGRATION, LAST, *changes)


def linked_install(python: str, wanted: Wanted) -> None:
    """Unpacks the wheel into the environment and links this one's packages."""
    environment = Path(python).parents[1]
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wanted.wheel) as archive:
        archive.extractall(packages)
    (packages / "linked.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")


def make_program(folder: Path, wheel: Path) -> Program:
    """A program folder with the old version in force."""
    program = Program(str(folder))
    environment = program.environment(OLD)
    os.makedirs(environment)
    base = getattr(sys, "_base_executable", "") or sys.executable
    subprocess.run([base, "-m", "venv", "--without-pip", environment], check=True)
    linked_install(program.python(OLD), Wanted(OLD, Source("wheel", str(wheel)), str(wheel)))
    compileall.compile_dir(environment, quiet=1)  # once here, and not in every copy
    program.flip(OLD)
    program.write(Installation(Source("wheel", str(wheel)), "", (Version(OLD, 1.0, "ready"),)))
    return program


def copy_program(made: Path, folder: Path) -> Program:
    """A copy of a program folder; its environments may be moved, as nothing in them is called by its own path."""
    shutil.copytree(made, folder, symlinks=True)
    return Program(str(folder))
