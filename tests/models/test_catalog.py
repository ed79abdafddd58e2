"""The catalogue: every entry is whole, and people find a model by any of its names."""

from __future__ import annotations

import datetime

import pytest

from gardener.models.catalog import RUNTIMES, CatalogModel, catalogue, find, names_of, nearest


@pytest.mark.parametrize("model", catalogue(), ids=lambda model: model.id)
def test_an_entry_is_whole_and_plausible(model: CatalogModel) -> None:
    assert [build.runtime for build in model.builds] == list(RUNTIMES)
    assert 0 < model.active <= model.parameters
    assert model.layers > 0 and model.kv_heads > 0 and model.head_dim in (64, 128, 256)
    assert bool(model.window_layers) == bool(model.window)
    assert model.context >= 8_192 and model.licence and model.source
    assert datetime.date.fromisoformat(model.checked) <= datetime.date.today()
    for build in model.builds:
        # Local builds lie between 3 and 6 bits a weight; a slipped digit in either number does not.
        assert 3 < build.bytes * 8 / model.parameters < 6, build
        assert ":" in build.name or "/" in build.name or build.name == model.id


def test_names_are_unique_and_each_finds_its_model() -> None:
    seen: set[str] = set()
    for model in catalogue():
        for name in names_of(model):
            assert name not in seen or name == model.id
            seen.add(name)
            found = find(name.upper())
            assert found is not None and found[0] is model


def test_a_runtimes_own_name_says_which_runtime() -> None:
    assert find("qwen2.5-coder:7b") == (find("qwen2.5-coder-7b")[0], "ollama")  # type: ignore[index]
    found = find("mlx-community/phi-4-4bit")
    assert found is not None and (found[0].id, found[1]) == ("phi-4", "mlx")


def test_the_nearest_names() -> None:
    assert nearest("qwen2.5-codr-7b")[0] == "qwen2.5-coder-7b"
    assert "qwen3-coder-30b" in nearest("qwen3-coder")
    assert nearest("mine", ("mine-4bit",)) == ("mine-4bit",)
    assert nearest("zzzzzzzz") == ()


def test_keys_and_values_by_hand() -> None:
    # Llama 3.3 70B: 2 x 80 layers x 8 heads x 128 x 2 bytes = 327,680 bytes a token.
    assert _model("llama-3.3-70b").kv_bytes(1000) == 327_680_000
    # Gemma 3 12B: 8 full layers and 40 that keep 1,024 tokens, 8,192 bytes each a token.
    assert _model("gemma-3-12b").kv_bytes(10_000) == 8_192 * (8 * 10_000 + 40 * 1_024)
    assert _model("gemma-3-12b").kv_bytes(500) == 8_192 * 48 * 500


def _model(name: str) -> CatalogModel:
    found = find(name)
    assert found is not None
    return found[0]
