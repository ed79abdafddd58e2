from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.types import ProjectContext


@pytest.fixture
def gardener(home: Path, embedder: None) -> Iterator[Gardener]:
    with Gardener(str(home)) as opened:
        yield opened


@pytest.fixture
def indexed(gardener: Gardener, json_project: Path) -> ProjectContext:
    """The json package, registered and searchable, without vectors."""
    context = gardener.registry.add(str(json_project), "json")
    gardener.update_index(context)
    return context


@pytest.fixture
def write(json_project: Path) -> Callable[[str, str], Path]:
    """Writes a file of the project."""

    def write_file(path: str, text: str) -> Path:
        target = json_project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    return write_file
