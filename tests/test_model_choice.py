"""What may answer for a project, from what is there, and choosing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import ConfigError, ModelError, ModelNotFound, ModelTooLarge
from gardener.model_choice import choices, choose
from gardener.models.registry import AUTO
from tests.ollama_server import Model, OllamaServer, ollama_server


@pytest.fixture(scope="module")
def server() -> Iterator[OllamaServer]:
    with ollama_server() as server:
        for name, able in (("small", "completion"), ("large", "completion"), ("vectors", "embedding")):
            server.models[f"{name}:latest"] = Model(f"{name}:latest", capabilities=(able,))
        server.models["qwen2.5-coder:32b"] = Model("qwen2.5-coder:32b", size=20_000_000_000)
        yield server


@pytest.fixture
def gardener(home: Path, server: OllamaServer, tmp_path: Path) -> Iterator[Gardener]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GARDENER_OLLAMA_URL", server.url)
        patch.setenv("GARDENER_MODELS_MEMORY_MB", "4000")
        with Gardener(str(home)) as made:
            made.registry.add(str(tmp_path), "shop")
            yield made


def test_what_is_there_can_be_chosen_and_nothing_else(gardener: Gardener, server: OllamaServer) -> None:
    context = gardener.context("shop")
    found = choices(gardener, context)["choices"]
    assert isinstance(found, list)
    names = [(row["backend"], row["model"]) for row in found]
    assert names[0] == (AUTO, "") and names[-1] == ("extractive", "") and ("ollama", "small:latest") in names
    assert [row["chosen"] for row in found] == [True] + [False] * (len(found) - 1)

    context = choose(gardener, context, "ollama", "small:latest")
    assert (context.backend, context.model) == ("ollama", "small:latest")
    assert [row["title"] for row in choices(gardener, context)["choices"] if row["chosen"]] == ["small:latest"]  # type: ignore[attr-defined]
    with pytest.raises(ModelNotFound):
        choose(gardener, context, "ollama", "nobody")
    with pytest.raises(ConfigError):
        choose(gardener, context, "nobody", "")
    with pytest.raises(ModelNotFound):
        choose(gardener, context, "extractive", "small:latest")
    with pytest.raises(ModelError, match="only makes vectors"):
        choose(gardener, context, "ollama", "vectors:latest")
    with pytest.raises(ModelTooLarge):
        choose(gardener, context, "ollama", "qwen2.5-coder:32b")
    assert gardener.context("shop").model == "small:latest"
    assert choose(gardener, context, AUTO, "").model == ""
    assert server.loads == []  # choosing loads nothing


def test_a_chosen_model_that_has_gone_is_still_said(gardener: Gardener) -> None:
    context = gardener.registry.configure("shop", backend="ollama", model="gone:latest")
    chosen = [row for row in choices(gardener, context)["choices"] if row["chosen"]]  # type: ignore[attr-defined]
    assert [(row["model"], row["problem"]) for row in chosen] == [("gone:latest", "is not here now")]
