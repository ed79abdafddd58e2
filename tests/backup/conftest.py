"""A small home with real parts, made once and copied for each test: an indexed project, vectors and a conversation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gardener.app import Gardener
from tests.tiny_projects import make_tiny_project


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> Path:
    place = tmp_path_factory.mktemp("backup")
    home = place / "home"
    shutil.copytree(exported_models, home / "models")
    home.chmod(0o700)
    (home / "models").chmod(0o700)
    root = make_tiny_project(place / "amber", "amber", files=3)
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(root), "amber")
        gardener.update_index(context)
        assert gardener.embed(context).remaining == 0
        talk = gardener.history.start(context.id, "Where are orders loaded?")
        gardener.history.append(context.id, talk.id, "user", "Where are orders loaded?")
        gardener.history.append(context.id, talk.id, "assistant", "In order.py.")
    config = home / "config.toml"
    config.write_text("config_version = 1\n\n[search]\nlimit = 7\n")
    config.chmod(0o600)
    return home


@pytest.fixture
def full_home(made_home: Path, home: Path) -> Path:
    """This test's home, with one project `amber` and one conversation."""
    shutil.copytree(made_home, home, ignore=shutil.ignore_patterns("models"))
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        folder.chmod(0o700)
    return home
