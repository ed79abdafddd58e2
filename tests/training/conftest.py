"""One tiny model for all tests of training, and a project to train on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gardener.index.redact import redact
from gardener.models.mlx.loading import load_base
from gardener.models.model_folder import read_model_folder
from gardener.training.examples import ExampleSet, collect_examples
from gardener.training.tokens import batches, padded, tokenise
from tests.conftest import made_once
from tests.tiny_mlx import make_tiny_model
from tests.tiny_projects import BODIES, make_tiny_project


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "trained", teach) / "tiny"


def teach(place: Path) -> None:
    """The tiny model, taught a little of both manners: LoRA turns what a model knows, and noise knows nothing."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.trainer import default_loss

    folder = make_tiny_model(place / "tiny")
    examples = [
        example.as_json() for manner in BODIES for example in collected(make_tiny_project(place / manner, manner)).train
    ]
    loaded = load_base(read_model_folder(str(folder)))
    tokens = tokenise(loaded, examples, 256).examples
    optimizer = optimizers.Adam(learning_rate=6e-3)
    step = nn.value_and_grad(loaded.model, lambda model, ids, bounds: default_loss(model, ids, bounds)[0])
    for batch in islice(batches(tokens, 4, seed=9, first=0), 40):
        _, gradients = step(loaded.model, *padded(batch))
        optimizer.update(loaded.model, gradients)
        mx.eval(loaded.model.parameters(), optimizer.state)
    weights: Any = dict(tree_flatten(loaded.model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})


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
