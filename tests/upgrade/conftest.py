"""A program folder with the old version, a home with a project and a conversation: made once, copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from gardener.upgrade.program import Program
from tests.conftest import made_once
from tests.upgrade.homes import copy_home, make_home
from tests.upgrade.versions import build_wheel, copy_program, make_program, newer


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Path:
    """wheels/, program/ with the old version, home/ and the project amber/."""

    def make(place: Path) -> None:
        (place / "wheels").mkdir()
        wheel = build_wheel(place / "wheels")
        newer(wheel)
        make_program(place / "program", wheel)
        make_home(place / "home", place / "amber", exported_models)

    return made_once(tmp_path_factory, "upgrade", make)


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    return copy_program(made / "program", tmp_path / "program")


@pytest.fixture
def live_home(made: Path, home: Path) -> Path:
    return copy_home(made / "home", home, made / "amber")
