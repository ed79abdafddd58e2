"""One prepared machine for all tests of the pages; each page, and each runbook, begins with it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.world import World
from tests.ollama_server import Model, OllamaServer, ollama_server


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory, exported_models: Path) -> World:
    world = World(tmp_path_factory.mktemp("machine"))
    world.build(exported_models)
    return world


@pytest.fixture
def world(built: World) -> Iterator[World]:
    built.reset()
    yield built
    built.reset()


@pytest.fixture(scope="package")
def ollama() -> Iterator[OllamaServer]:
    """The stand-in for Ollama's server, with the model that the pages name."""
    with ollama_server(Model("qwen2.5-coder:7b"), Model("nomic-embed-text", capabilities=("embedding",))) as server:
        server.layers["qwen2.5-coder:7b"] = [("sha256:" + "a" * 64, 3_000_000)]
        yield server
