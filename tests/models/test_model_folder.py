from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.errors import ModelDamaged, ModelNotFound
from gardener.models.model_folder import read_model_folder

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}


def weights(data: bytes = b"\0" * 8) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(weights())
    return tmp_path


def test_what_a_folder_says(folder: Path) -> None:
    found = read_model_folder(str(folder))
    assert (found.model_type, found.context_tokens, found.bits) == ("llama", 8192, 0)
    assert found.kv_bytes_per_token == 2 * 2 * 2 * 16 * 2
    assert found.weight_bytes == len(weights())
    assert read_model_folder(str(folder)).identity == found.identity


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"])
def test_another_state_has_another_identity(folder: Path, name: str) -> None:
    before = read_model_folder(str(folder)).identity
    if name == "model.safetensors":
        (folder / name).write_bytes(weights(b"\0" * 12))
    elif name == "config.json":
        (folder / name).write_text(json.dumps(CONFIG | {"rope_theta": 1.0}))
    else:
        (folder / name).write_text('{"x": 1}')
    assert read_model_folder(str(folder)).identity != before


def test_a_quantised_one_and_one_with_a_text_configuration(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"model_type": "x", "text_config": CONFIG | {"head_dim": 32}, "quantization": {"bits": 4}})
    )
    found = read_model_folder(str(folder))
    assert (found.bits, found.kv_bytes_per_token) == (4, 2 * 2 * 2 * 32 * 2)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="nowhere"):
        read_model_folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", b"[1]", "no JSON object"),
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[" * 100_000, "cannot be read"),
        ("config.json", b"{}", "model_type"),
        ("config.json", b'{"model_type": "llama", "model_file": "evil.py"}', "Python code"),
        ("config.json", b'{"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}}', "Python code"),
        ("config.json", None, "missing"),
        ("tokenizer.json", None, "missing"),
        ("model.safetensors", None, "no weights"),
        ("model.safetensors", b"", "cut off"),
        ("model.safetensors", weights()[:-1], "cut off"),
        ("model.safetensors", weights()[:9], "cut off"),
        ("model.safetensors", b"\xff" * 8 + b"{}", "cut off"),
        ("model.safetensors", struct.pack("<Q", 2) + b"[]", "header"),
        ("model.safetensors", struct.pack("<Q", 36) + b'{"w": {"data_offsets": [0, "8"]}}   ', "header"),
        ("model.safetensors", struct.pack("<Q", 36) + b'{"w": {"data_offsets": [0, 1e3]}}   ', "header"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model-2.safetensors"}}', "1 of its files are missing"),
        ("model.safetensors.index.json", b"{}", "weight_map"),
    ],
)
def test_what_cannot_be_used_is_said(folder: Path, name: str, content: bytes | None, says: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelDamaged, match=says) as caught:
        read_model_folder(str(folder))
    assert str(folder) in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model-2.safetensors"])
def test_nothing_that_is_no_file_is_opened(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)  # opening it would wait for ever
    with pytest.raises(ModelDamaged, match="no file"):
        read_model_folder(str(folder))
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises(ModelDamaged, match="no file"):
        read_model_folder(str(folder))


def test_weights_of_another_form_are_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")
    with pytest.raises(ModelDamaged, match="not in MLX's form"):
        read_model_folder(str(folder))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_give_a_model_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, config: bytes, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_bytes(config)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    with pytest.raises(ModelDamaged):
        read_model_folder(str(folder))
