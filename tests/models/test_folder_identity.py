"""The identity of a model's folder: every byte counts, and a file is read again only when it has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gardener.errors import EmbedderUnavailable
from gardener.models import folder_identity as module
from gardener.models.folder_identity import MEMORY, folder_identity


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(4_000_000))
    return folder


@pytest.mark.parametrize("remembering", [False, True])
def test_a_byte_in_the_middle_counts(
    model: Path, tmp_path: Path, remembering: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_S", -1.0)
    models = str(tmp_path / "models") if remembering else ""
    weights = model / "model.safetensors"
    before, times = folder_identity(str(model), models), weights.stat()
    assert folder_identity(str(model), models) == before
    with open(weights, "r+b") as opened:
        opened.seek(2_000_000)
        opened.write(b"\1")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as tools do that copy files with their times
    assert folder_identity(str(model), models) != before


def test_a_moved_file_counts_and_a_hidden_one_does_not(model: Path) -> None:
    before = folder_identity(str(model))
    (model / ".cache").mkdir()
    (model / ".cache" / "note").write_text("x")
    (model / ".gitattributes").write_text("x")
    assert folder_identity(str(model)) == before
    (model / "1_Pooling").rename(model / "2_Pooling")
    assert folder_identity(str(model)) != before


def test_what_is_remembered_is_not_read_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_S", -1.0)
    before = folder_identity(str(model), str(tmp_path))
    memory = tmp_path / MEMORY
    assert memory.stat().st_mode & 0o077 == 0
    entries = json.loads(memory.read_text())
    entries[str(model / "model.safetensors")][-1] = "another"
    memory.write_text(json.dumps(entries))
    assert folder_identity(str(model), str(tmp_path)) != before
    for damaged in ("", "[]", "{", json.dumps({str(model / "model.safetensors"): 7})):
        memory.write_text(damaged)
        assert folder_identity(str(model), str(tmp_path)) == before


def test_a_young_file_is_not_remembered(model: Path, tmp_path: Path) -> None:
    folder_identity(str(model), str(tmp_path))
    assert not (tmp_path / MEMORY).exists()


def test_folders_that_are_no_model_are_not_searched(tmp_path: Path, model: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="not a sentence-transformers model"):
        folder_identity(str(model.parent))  # it holds one, as a home folder may
    with pytest.raises(EmbedderUnavailable, match="does not exist"):
        folder_identity(str(tmp_path / "none"))


def test_a_pipe_is_not_waited_for(model: Path) -> None:
    before = folder_identity(str(model))
    os.mkfifo(model / "pipe")
    assert folder_identity(str(model)) == before
