"""One tiny model and two adapters for all tests of MLX."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.models.base import AdapterRef, StreamLimits
from gardener.models.mlx.backend import MlxBackend
from gardener.models.model_folder import read_model_folder
from tests.tiny_adapters import write_random_adapter
from tests.tiny_mlx import make_tiny_model

Make = Callable[..., MlxBackend]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def ref(folder: Path, model: Path, name: str) -> AdapterRef:
    content = b"".join((folder / file).read_bytes() for file in ("adapters.safetensors", "adapter_config.json"))
    identity = read_model_folder(str(model)).identity
    return AdapterRef(name, str(folder), hashlib.sha256(content).hexdigest(), identity)


@pytest.fixture(scope="session")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, AdapterRef]:
    """Two of the same shape, one of another rank."""
    made = {}
    for name, seed, rank in (("left", 1, 4), ("right", 2, 4), ("wide", 3, 8)):
        folder = write_random_adapter(tmp_path_factory.mktemp(name), tiny_model, seed=seed, rank=rank)
        made[name] = ref(folder, tiny_model, name)
    return made


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path) -> Iterator[Make]:
    """Backends over the tiny model that share a folder for prefixes; all are closed."""
    made: list[MlxBackend] = []

    def build(model: str = "tiny", **changes: object) -> MlxBackend:
        arguments: dict[str, object] = {
            "models_directory": str(tiny_model.parent),
            "prefix_directory": lambda scope: str(tmp_path / "projects" / scope / "prompt-cache"),
            "context_tokens": 4096,
            "kv_bits": 0,
            "cache_bytes": 64_000_000,
            "prefix_disk_bytes": 64_000_000,
            "limits": StreamLimits(),
            "admit": lambda folder, kv_bytes: None,
        }
        backend = MlxBackend(model, **(arguments | changes))  # type: ignore[arg-type]
        made.append(backend)
        return backend

    yield build
    for backend in made:
        backend.close()
