"""A program folder with the old version, a home with a project and a conversation: made once, copied for each test."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.upgrade.program import Program
from tests.conftest import made_once
from tests.tiny_projects import make_tiny_project
from tests.upgrade.versions import build_wheel, copy_program, make_program, newer


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Path:
    """wheels/, program/ with the old version, and home/."""

    def make(place: Path) -> None:
        (place / "wheels").mkdir()
        wheel = build_wheel(place / "wheels")
        newer(wheel)
        make_program(place / "program", wheel)
        home = place / "home"
        shutil.copytree(exported_models, home / "models")
        for folder in (home, home / "models"):
            folder.chmod(0o700)
        root = make_tiny_project(place / "amber", "amber", files=3)
        with Gardener(str(home)) as gardener:
            context = gardener.registry.add(str(root), "amber")
            gardener.update_index(context)
            assert gardener.embed(context).remaining == 0
            talk = gardener.history.start(context.id, "Where are orders loaded?")
            gardener.history.append(context.id, talk.id, "user", "Where are orders loaded?")
            gardener.history.append(context.id, talk.id, "assistant", "In order.py.")

    return made_once(tmp_path_factory, "upgrade", make)


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    return copy_program(made / "program", tmp_path / "program")


@pytest.fixture
def live_home(made: Path, home: Path) -> Path:
    shutil.copytree(made / "home", home, symlinks=True)
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
    with closing(sqlite3.connect(home / "state.db")) as database, database:  # it was made elsewhere, and moved
        database.execute("UPDATE projects SET root = ?", (str(made / "amber"),))
    return home
