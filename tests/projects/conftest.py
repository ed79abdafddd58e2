from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.paths import Paths
from gardener.projects.registry import Registry
from gardener.state import State


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "gardener-home"))


@pytest.fixture
def state(paths: Paths) -> Iterator[State]:
    with State(paths.state_db) as opened:
        yield opened


@pytest.fixture
def registry(state: State, paths: Paths) -> Registry:
    return Registry(state, paths)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "code" / "alpha"
    made.mkdir(parents=True)
    return made
