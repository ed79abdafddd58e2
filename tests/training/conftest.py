"""One tiny model for all tests of training, and a project to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gardener.index.redact import redact
from gardener.training.examples import ExampleSet, collect_examples
from tests.tiny_mlx import make_tiny_model
from tests.tiny_projects import make_tiny_project


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a sharper last layer, which LoRA leaves as it is: random it is never sure of anything."""
    import mlx.core as mx

    folder = make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    path = str(folder / "model.safetensors")
    weights: Any = mx.load(path)
    sharper = {name: array * 3 if name.startswith("lm_head") else array for name, array in weights.items()}
    mx.eval(sharper)
    mx.save_safetensors(path, sharper, {"format": "mlx"})
    return folder


@pytest.fixture
def amber(tmp_path: Path) -> Path:
    return make_tiny_project(tmp_path / "amber", "amber")


def collected(root: Path) -> ExampleSet:
    """The examples of a folder, indexed without an app around it."""
    from gardener.index.classify import decode
    from gardener.index.languages import language_of
    from gardener.index.manifest import FileRecord
    from gardener.index.walk import read_file, walk

    records = {}
    for entry in walk(str(root), max_file_bytes=1_000_000).files:
        text = decode(read_file(str(root), entry, 1_000_000))
        records[entry.path] = FileRecord(
            entry.path, entry.size, entry.mtime_ns, "", language_of(entry.path, text.partition("\n")[0]), 0, 0
        )
    return collect_examples(
        str(root), records, max_file_bytes=1_000_000, redact=lambda text, path: redact(text, path).text
    )
