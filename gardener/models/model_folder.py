"""A local MLX model's folder, read without loading it: what it is, how large, how long its window, what tells it apart.

The safetensors header (8 bytes of little-endian length, then JSON with dtype, shape and offsets of every tensor) is
enough for all of it: https://huggingface.co/docs/safetensors. No weights are read, so it takes milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gardener.errors import ModelDamaged, ModelNotFound

MOST_HEADER_BYTES: Final = 100_000_000
"""The format's own limit."""
_MOST_JSON_BYTES: Final = 64_000_000
DEFAULT_CONTEXT: Final = 4096
_TEMPLATES: Final = ("chat_template.jinja", "tokenizer_config.json", "chat_template.json")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a folder with config.json, tokenizer.json and *.safetensors holds."""

    path: str
    config: Mapping[str, Any]
    identity: str
    """Digest of configuration, tokenizer, template, and names, sizes, headers and times of the weights: 32 hex digits.

    Not of the weights' bytes, which are gigabytes: a file that was replaced has another size, time or header.
    """
    weight_bytes: int
    """As they lie on the disk, which is what they take in memory."""
    context_tokens: int
    """Longest window that the model was made for."""
    kv_bytes_per_token: int
    """Keys and values of all layers at 16 bits; 0 when the configuration does not say."""
    bits: int
    """Of its quantisation; 0 when it is not quantised."""

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))


def read_model_folder(path: str) -> ModelFolder:
    """Looks at a model's folder. Raises ModelNotFound when there is none, ModelDamaged when MLX cannot use it."""
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(path):
        raise ModelNotFound(f"There is no model folder {path}.", next_step="gardener models list")
    config = _json(path, "config.json")
    if not isinstance(config.get("model_type"), str):
        raise _damaged(path, "config.json names no model_type")
    if "model_file" in config or "auto_map" in config:
        # mlx-lm would run that file, transformers would import those classes.
        raise _damaged(path, "config.json wants Python code of its own to be run, which Gardener never does")
    if not os.path.isfile(os.path.join(path, "tokenizer.json")):
        raise _damaged(path, "tokenizer.json is missing")
    # mlx-lm reads files of these names alone.
    weights = sorted(name for name in os.listdir(path) if name.startswith("model") and name.endswith(".safetensors"))
    if not weights:
        other = any(name.endswith((".bin", ".gguf", ".pt", ".pth")) for name in os.listdir(path))
        raise _damaged(path, "its weights are not in MLX's form (*.safetensors)" if other else "it has no weights")
    _whole(path, weights)
    digest = hashlib.sha256()
    total = 0
    for name in weights:
        header, size, changed = _header(path, name)
        total += size
        digest.update(f"{name}\0{size}\0{changed}\0".encode() + header)
    for name in ("config.json", "tokenizer.json", *_TEMPLATES):
        file = os.path.join(path, name)
        if os.path.isfile(file):
            with open(file, "rb") as opened:
                digest.update(f"{name}\0".encode() + hashlib.file_digest(opened, "sha256").digest())
    text = text_config(config)
    quantisation = config.get("quantization") or config.get("quantization_config") or {}
    return ModelFolder(
        path,
        config,
        digest.hexdigest()[:32],
        total,
        _number(text, "max_position_embeddings", DEFAULT_CONTEXT),
        _kv_bytes(text),
        _number(quantisation if isinstance(quantisation, dict) else {}, "bits", 0),
    )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the language model: models that see have others beside it."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def _kv_bytes(config: Mapping[str, Any]) -> int:
    """2 (keys and values) x layers x key-value heads x head dimension x 2 bytes."""
    heads = _number(config, "num_attention_heads", 0)
    layers = _number(config, "num_hidden_layers", 0)
    dimension = _number(config, "head_dim", _number(config, "hidden_size", 0) // heads if heads else 0)
    return 2 * layers * _number(config, "num_key_value_heads", heads) * dimension * 2


def _number(config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else default


def _json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    try:
        if _regular(folder, name).st_size > _MOST_JSON_BYTES:
            raise _damaged(folder, f"{name} is too large")
        with open(path, encoding="utf-8") as opened:
            found = json.load(opened)
    except FileNotFoundError:
        raise _damaged(folder, f"{name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"{name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise _damaged(folder, f"{name} is no JSON object")
    return found


def _regular(folder: str, name: str) -> os.stat_result:
    """Raises ModelDamaged for a pipe or a device, which have no end, and OSError."""
    status = os.stat(os.path.join(folder, name))
    if not stat.S_ISREG(status.st_mode):
        raise _damaged(folder, f"{name} is no file")
    return status


def _whole(folder: str, weights: list[str]) -> None:
    """Every file that the index of a model in several files names must be there: a broken download is found here."""
    name = "model.safetensors.index.json"
    if not os.path.isfile(os.path.join(folder, name)):
        return
    parts = _json(folder, name).get("weight_map")
    if not isinstance(parts, dict):
        raise _damaged(folder, f"{name} has no weight_map")
    missing = sorted({str(part) for part in parts.values()} - set(weights))
    if missing:
        raise _damaged(folder, f"{len(missing)} of its files are missing: {', '.join(missing[:3])}")


def _header(folder: str, name: str) -> tuple[bytes, int, int]:
    """The header of a weights file, the file's size, and when it was changed (ns). Raises ModelDamaged."""
    path = os.path.join(folder, name)
    try:
        status = _regular(folder, name)
        with open(path, "rb") as opened:
            start = opened.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MOST_HEADER_BYTES, status.st_size):
                raise _damaged(folder, f"{name} is cut off or no safetensors file")
            header = opened.read(length)
        tensors = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in tensors.items() if key != "__metadata__"]
        if not all(isinstance(end, int) for end in ends):
            raise ValueError("an offset that is no integer")
    except OSError as error:
        raise _damaged(folder, f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(folder, f"the header of {name} cannot be read") from error
    if status.st_size != 8 + length + max(ends, default=0):
        raise _damaged(folder, f"{name} is cut off: {status.st_size:,} bytes of {8 + length + max(ends, default=0):,}")
    return header, status.st_size, status.st_mtime_ns


def _damaged(folder: str, why: str) -> ModelDamaged:
    return ModelDamaged(f"The model in {folder} cannot be used: {why}.", next_step="gardener models list")
