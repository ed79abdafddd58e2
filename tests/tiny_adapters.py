"""Adapters with random matrices for the tiny model: not trained, but as real to MLX as any."""

from __future__ import annotations

import json
from pathlib import Path


def write_random_adapter(folder: Path, model: Path, *, seed: int, rank: int = 4, scale: float = 8.0) -> Path:
    """adapters.safetensors and adapter_config.json for the model in `model`, strong enough to change what it says."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    loaded, _ = load_model(model)
    parameters = {"rank": rank, "scale": scale, "dropout": 0.0}
    linear_to_lora_layers(loaded, len(loaded.layers), dict(parameters))
    mx.random.seed(seed)
    matrices = {
        name: mx.random.normal(array.shape) * 0.3
        for name, array in tree_flatten(loaded.parameters())
        if name.rsplit(".", 1)[-1] in ("lora_a", "lora_b")
    }
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"), matrices)
    config = {"fine_tune_type": "lora", "num_layers": len(loaded.layers), "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
