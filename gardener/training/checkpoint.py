"""One file from which a run goes on: matrices, optimizer, step, and what was measured before training.

One file, so that matrices and step can never be of two different moments. It replaces the one before it whole.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Any, NamedTuple

from gardener.errors import AdapterUnfit
from gardener.paths import write_private

_WEIGHTS, _OPTIMIZER = "weights:", "optimizer:"
VERSION = "1"


class Checkpoint(NamedTuple):
    step: int
    """Steps that were done."""
    weights: dict[str, Any]
    """Name of a matrix to mlx.core.array."""
    optimizer: dict[str, Any]
    facts: dict[str, Any]
    """The base's loss on the held-out examples, the run's loss so far."""


def safetensors(arrays: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """The file's content, made in memory: MLX's own writing neither syncs nor replaces a file whole."""
    import mlx.core as mx

    buffer = io.BytesIO()
    mx.save_safetensors(buffer, arrays, metadata)
    return buffer.getvalue()


def save(path: str, checkpoint: Checkpoint) -> None:
    """Raises DiskFull or PermissionProblem; the checkpoint before it is whole then."""
    arrays = {_WEIGHTS + name: array for name, array in checkpoint.weights.items()}
    arrays |= {_OPTIMIZER + name: array for name, array in checkpoint.optimizer.items()}
    metadata = {"version": VERSION, "step": str(checkpoint.step), "facts": json.dumps(checkpoint.facts)}
    write_private(path, safetensors(arrays, metadata))


def load(path: str) -> Checkpoint | None:
    """None when there is none. Raises AdapterUnfit when it is damaged."""
    import mlx.core as mx

    try:
        with open(path, "rb") as opened:
            data = opened.read()
    except FileNotFoundError:
        return None
    try:
        loaded: Any = mx.load(io.BytesIO(data), format="safetensors", return_metadata=True)
        arrays, metadata = loaded
        if metadata["version"] != VERSION:
            raise ValueError("another version")
        return Checkpoint(
            int(metadata["step"]),
            {name.removeprefix(_WEIGHTS): array for name, array in arrays.items() if name.startswith(_WEIGHTS)},
            {name.removeprefix(_OPTIMIZER): array for name, array in arrays.items() if name.startswith(_OPTIMIZER)},
            json.loads(metadata["facts"]),
        )
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise AdapterUnfit(
            f"The checkpoint {path} is damaged: {type(error).__name__}: {str(error)[:100]}",
            next_step="gardener train --again",
        ) from error


def step_of(path: str) -> int:
    """The step of a checkpoint, without MLX and without its arrays; 0 when there is none that can be read."""
    try:
        with open(path, "rb") as opened:
            length = struct.unpack("<Q", opened.read(8))[0]
            return int(json.loads(opened.read(min(length, 10_000_000)))["__metadata__"]["step"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return 0
