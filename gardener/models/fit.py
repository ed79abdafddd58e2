"""Whether a model fits: what it needs, what there is, what would be left, and about how fast it would be.

    needs = weights + keys and values of the window + working memory of the runtime
    tokens/s = bandwidth x efficiency / bytes read for one token (active weights + keys and values)

Writing a token reads every active weight once, so memory bandwidth bounds the speed: "Efficiently Scaling Transformer
Inference" (Pope et al., 2022, arxiv.org/abs/2211.05102, section 2), "LLM Inference Unveiled" (Yuan et al., 2024,
arxiv.org/abs/2402.16363, the roofline model). Efficiency is what published measurements reach of that bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from gardener.models.catalog import CatalogModel, Runtime, catalogue
from gardener.models.model_folder import text_config

if TYPE_CHECKING:
    from gardener.models.hardware import Hardware
    from gardener.models.model_folder import ModelFolder

Label = Literal["fits well", "fits", "tight", "too large"]
LABELS: Final[tuple[Label, ...]] = ("fits well", "fits", "tight", "too large")

FITS_WELL: Final = 0.6
FITS: Final = 0.85
"""Largest shares of the budget for each label; up to all of it is tight."""

OVERHEAD_BYTES: Final = 500_000_000
OVERHEAD_SHARE: Final = 0.05
"""Working memory of the runtime: buffers for reading a prompt in chunks, and what an allocator keeps. An estimate."""

EFFICIENCY: Final = 0.6
"""llama.cpp's measurements of a 7B model (github.com/ggml-org/llama.cpp/discussions/4167) come to 0.45 (M2 Ultra) to
0.8 (M1, M4) of the published bandwidth."""
EFFICIENCY_MIXTURE: Final = 0.35
"""For a mixture of experts reads are small and scattered. An M4 Pro wrote 60 tokens/s with 3 of 80 billion active
parameters at 4 bits (github.com/ggml-org/llama.cpp/issues/19366), which is 0.37 of its bandwidth."""

SPARE_BYTES: Final = 2_000_000_000
SPARE_SHARE: Final = 0.2
"""What stays for everything else on a machine without Metal's own limit: the larger of the two."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes."""

    weights: int
    kv: int
    overhead: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.overhead


@dataclass(frozen=True, slots=True)
class Fit:
    label: Label
    needs: Needs
    has: int
    """Budget in bytes."""
    context: int
    """Tokens for which keys and values were counted."""
    tokens_per_s: float | None
    """An estimate with a full window; None when the memory's bandwidth is unknown."""

    @property
    def leaves(self) -> int:
        """Bytes; negative when it is too large."""
        return self.has - self.needs.total

    def as_json(self) -> dict[str, object]:
        return {
            "label": self.label,
            "needs_bytes": self.needs.total,
            "weights_bytes": self.needs.weights,
            "kv_bytes": self.needs.kv,
            "overhead_bytes": self.needs.overhead,
            "has_bytes": self.has,
            "leaves_bytes": self.leaves,
            "context_tokens": self.context,
            "tokens_per_s": None if self.tokens_per_s is None else round(self.tokens_per_s, 1),
        }


def budget_bytes(hardware: Hardware, configured: int = 0) -> int:
    """What models, their caches and the embedder may take together.

    `configured` (bytes; models.memory_mb) wins, up to what the process may have at all. Without it: Metal's working
    set on a Mac, elsewhere memory but for a spare part.
    """
    if configured > 0:
        return min(configured, hardware.memory_bytes)
    if hardware.gpu_bytes is not None:
        return min(hardware.gpu_bytes, hardware.memory_bytes)
    spare = max(SPARE_BYTES, int(hardware.memory_bytes * SPARE_SHARE))
    return max(0, hardware.memory_bytes - spare)


def needs_of(weights: int, kv: int) -> Needs:
    """What a model takes in memory, from the bytes of its weights and of its keys and values."""
    return Needs(weights, kv, OVERHEAD_BYTES + int(weights * OVERHEAD_SHARE))


def label_of(needs: int, has: int) -> Label:
    """All in bytes. The law: more budget or less need never gives a worse label."""
    if needs > has:
        return "too large"
    if needs <= has * FITS_WELL:
        return "fits well"
    return "fits" if needs <= has * FITS else "tight"


def speed(bandwidth_gbs: float | None, bytes_per_token: float, *, mixture: bool = False) -> float | None:
    """Estimated tokens per second: bandwidth x efficiency / bytes read for one token. None without a bandwidth."""
    if bandwidth_gbs is None or bytes_per_token <= 0:
        return None
    return bandwidth_gbs * 1e9 * (EFFICIENCY_MIXTURE if mixture else EFFICIENCY) / bytes_per_token


def fit_model(
    model: CatalogModel, runtime: Runtime, hardware: Hardware, *, has: int, context: int, kv_bits: int = 0
) -> Fit | None:
    """How a catalogue entry fits into `has` bytes; None when that runtime has no build of it.

    context: wanted tokens; no more than the model's own are counted. kv_bits: 4 or 8 when keys and values are stored
    smaller, which takes a scale and a bias of 16 bits for every 64 as MLX does it.
    """
    build = model.build(runtime)
    if build is None:
        return None
    tokens = min(context, model.context)
    kv = stored_kv(model.kv_bytes(tokens), kv_bits)
    needs = needs_of(build.bytes, kv)
    active = build.bytes * model.active / model.parameters
    estimate = speed(hardware.bandwidth_gbs, active + kv, mixture=model.mixture)
    return Fit(label_of(needs.total, has), needs, has, tokens, estimate)


def fit_folder(folder: ModelFolder, hardware: Hardware, *, has: int, context: int, kv_bits: int = 0) -> Fit:
    """How a model on the disk fits into `has` bytes."""
    tokens = min(context, folder.context_tokens)
    kv = stored_kv(folder_kv_bytes(folder, tokens), kv_bits)
    needs = needs_of(folder.weight_bytes, kv)
    share = active_share(folder.config)
    estimate = speed(hardware.bandwidth_gbs, folder.weight_bytes * share + kv, mixture=share < 1)
    return Fit(label_of(needs.total, has), needs, has, tokens, estimate)


def stored_kv(kv_bytes: int, kv_bits: int) -> int:
    """Bytes of keys and values when they are kept at `kv_bits` (0: as they are, at 16)."""
    return int(kv_bytes * (kv_bits + 0.5) / 16) if kv_bits else kv_bytes


def folder_kv_bytes(folder: ModelFolder, context: int) -> int:
    """Keys and values of `context` tokens at 16 bits. Layers with a sliding window keep the window only, linear ones
    nothing that grows; where the configuration does not tell, every layer counts as a full one."""
    text = text_config(folder.config)
    layers = text.get("num_hidden_layers")
    if not isinstance(layers, int) or layers <= 0 or folder.kv_bytes_per_token % layers:
        return folder.kv_bytes_per_token * context
    full, sliding = _layer_kinds(text, layers)
    window = text.get("sliding_window")
    kept = min(context, window) if isinstance(window, int) and window > 0 else context
    return folder.kv_bytes_per_token // layers * (full * context + sliding * kept)


def _layer_kinds(text: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """(full, sliding) layers; those of linear attention are neither."""
    types = text.get("layer_types")
    if isinstance(types, list) and len(types) == layers:
        sliding = types.count("sliding_attention")
        return layers - sliding - types.count("linear_attention"), sliding
    every = text.get("full_attention_interval")  # Qwen3-Next: every fourth is a full one, the others are linear
    if isinstance(every, int) and every > 0:
        return layers // every, 0
    pattern = text.get("sliding_window_pattern")  # Gemma 3: every sixth is a full one, the others have a window
    if isinstance(pattern, int) and pattern > 0:
        return layers // pattern, layers - layers // pattern
    return layers, 0


def active_share(config: Mapping[str, Any]) -> float:
    """About which part of the weights one token reads: 1.0 for a dense model.

    For a mixture of experts the experts are counted as nine tenths of all weights, which is a rough estimate.
    """
    text = text_config(config)
    experts = text.get("num_experts") or text.get("num_local_experts") or text.get("n_routed_experts")
    used = text.get("num_experts_per_tok") or text.get("experts_per_token")
    if not isinstance(experts, int) or not isinstance(used, int) or not 0 < used < experts:
        return 1.0
    return 0.1 + 0.9 * used / experts


def smaller_than(needs: int, has: int, runtime: Runtime, context: int) -> tuple[CatalogModel, Needs] | None:
    """The largest catalogue model that fits into `has` bytes with room to spare; None when none does."""
    for model in catalogue():
        build = model.build(runtime)
        if build is None:
            continue
        found = needs_of(build.bytes, model.kv_bytes(min(context, model.context)))
        if found.total < needs and label_of(found.total, has) in ("fits well", "fits"):
            return model, found
    return None
