from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.models.adapters import CONFIG, WEIGHTS, AdapterStore


def fill(store: AdapterStore, name: str, weights: bytes = b"weights", *, replace: bool = False) -> None:
    """Publishes an adapter of made-up bytes."""
    folder = Path(store.stage(name))
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CONFIG).write_text("{}")
    store.publish(name, "b" * 32, {"base_name": "tiny"}, replace=replace)


@pytest.fixture
def gardener(home: Path) -> Iterator[Gardener]:
    with Gardener(str(home)) as made:
        yield made
