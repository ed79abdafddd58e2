"""Whether a model fits: laws for any sizes, and numbers that were worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.models.catalog import RUNTIMES, catalogue
from gardener.models.fit import (
    EFFICIENCY,
    LABELS,
    active_share,
    budget_bytes,
    fit_folder,
    fit_model,
    folder_kv_bytes,
    label_of,
    needs_of,
    smaller_than,
    speed,
    stored_kv,
)
from gardener.models.hardware import Hardware
from gardener.models.model_folder import ModelFolder

GB = 1_000_000_000
MAC = Hardware("darwin", "Apple M4 Pro", 12, 24 * GB, 12 * GB, "", 16 * GB, "rule", 273.0)
LINUX = Hardware("linux", "", 8, 32 * GB, 20 * GB, "", None, "", None)

bytes_ = st.integers(0, 10**13)


@given(bytes_, bytes_, bytes_)
def test_more_budget_or_less_need_is_never_worse(needs: int, has: int, more: int) -> None:
    rank = LABELS.index(label_of(needs, has))
    assert LABELS.index(label_of(needs, has + more)) <= rank
    assert LABELS.index(label_of(needs + more, has)) >= rank
    assert (label_of(needs, has) == "too large") == (needs > has)


@given(
    st.sampled_from(catalogue()), st.sampled_from(RUNTIMES), bytes_, st.integers(1, 400_000), st.integers(1, 100_000)
)
def test_a_longer_window_needs_no_less_and_is_no_faster(
    model: Any, runtime: Any, has: int, tokens: int, more: int
) -> None:
    short = fit_model(model, runtime, MAC, has=has, context=tokens)
    long = fit_model(model, runtime, MAC, has=has, context=tokens + more)
    assert short is not None and long is not None
    assert short.needs.total + short.leaves == has
    assert long.needs.kv >= short.needs.kv
    assert long.tokens_per_s is not None and short.tokens_per_s is not None
    assert long.tokens_per_s <= short.tokens_per_s
    assert long.context <= model.context
    smaller = fit_model(model, runtime, MAC, has=has, context=tokens, kv_bits=4)
    assert smaller is not None and smaller.needs.kv <= short.needs.kv


@given(bytes_, st.integers(1, 200_000))
def test_a_suggestion_fits_and_is_smaller(has: int, context: int) -> None:
    found = smaller_than(50 * GB, has, "mlx", context)
    if found is not None:
        assert found[1].total < 50 * GB
        assert label_of(found[1].total, has) in ("fits well", "fits")


def test_the_speed_by_hand() -> None:
    # A dense model of 7 GB on 273 GB/s: at most 39 tokens/s, and what is reached of it.
    assert speed(273, 7 * GB) == pytest.approx(39 * EFFICIENCY)
    assert speed(None, 7 * GB) is None
    assert speed(273, 0) is None


def test_the_budget() -> None:
    assert budget_bytes(MAC) == 16 * GB
    assert budget_bytes(LINUX) == int(25.6 * GB)
    assert budget_bytes(LINUX, 10 * GB) == 10 * GB
    assert budget_bytes(LINUX, 100 * GB) == 32 * GB
    assert budget_bytes(dataclasses.replace(LINUX, memory_bytes=GB)) == 0


def folder(config: Mapping[str, Any], weights: int = 4 * GB, context: int = 32_768, kv: int = 0) -> ModelFolder:
    return ModelFolder("/models/m", config, "0" * 32, weights, context, kv, 4)


def test_a_folder_with_a_plain_configuration() -> None:
    plain = folder({"model_type": "llama", "num_hidden_layers": 32}, kv=131_072)
    fit = fit_folder(plain, MAC, has=16 * GB, context=8_192)
    assert fit.needs == needs_of(4 * GB, 131_072 * 8_192)
    assert fit.tokens_per_s == pytest.approx(273 * GB * EFFICIENCY / (4 * GB + 131_072 * 8_192))
    assert fit_folder(plain, MAC, has=16 * GB, context=10**6).context == 32_768


@pytest.mark.parametrize(
    ("config", "full", "sliding"),
    [
        ({"layer_types": ["sliding_attention", "full_attention"] * 12, "sliding_window": 128}, 12, 12),
        ({"layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 6}, 6, 0),
        ({"full_attention_interval": 4}, 6, 0),
        ({"sliding_window_pattern": 6, "sliding_window": 128}, 4, 20),
        ({"sliding_window": 128, "layer_types": "nonsense"}, 24, 0),
        ({"layer_types": ["full_attention"]}, 24, 0),
        ({}, 24, 0),
    ],
)
def test_layers_that_do_not_keep_everything(config: dict[str, Any], full: int, sliding: int) -> None:
    found = folder({"text_config": {"num_hidden_layers": 24, **config}}, kv=24 * 2_048)
    assert folder_kv_bytes(found, 5_000) == 2_048 * (full * 5_000 + sliding * 128)


@given(
    st.dictionaries(
        st.sampled_from(
            ["num_hidden_layers", "layer_types", "sliding_window", "full_attention_interval", "num_experts",
             "sliding_window_pattern", "num_experts_per_tok", "text_config"]
        ),
        st.one_of(st.integers(-5, 100), st.sampled_from(["", "24", None, True, [], ["full_attention"], {}, 1.5])),
    ),
    st.integers(0, 10**6), st.integers(1, 10**6),
)  # fmt: skip
def test_a_hostile_configuration_gives_numbers(config: dict[str, Any], kv: int, context: int) -> None:
    found = folder(config, kv=kv)
    assert 0 <= folder_kv_bytes(found, context) <= kv * context
    assert 0 < active_share(config) <= 1


def test_stored_smaller() -> None:
    assert stored_kv(1_600, 0) == 1_600
    assert stored_kv(1_600, 4) == 450  # 4 bits and a half
    assert stored_kv(1_600, 8) == 850


def test_a_real_folder(tmp_path: Path) -> None:
    from gardener.models.model_folder import read_model_folder
    from tests.tiny_mlx import make_tiny_model

    found = read_model_folder(str(make_tiny_model(tmp_path / "tiny")))
    fit = fit_folder(found, LINUX, has=GB, context=4_096)
    # 2 x 2 layers x 2 heads x 16 x 2 bytes a token
    assert fit.needs.kv == 256 * 4_096
    assert fit.label == "fits well"
