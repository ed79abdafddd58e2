from __future__ import annotations

import os
from pathlib import Path

import pytest

from gardener.errors import AdapterUnfit, DiskFull
from gardener.training.checkpoint import Checkpoint, load, save, step_of


@pytest.fixture
def written(tmp_path: Path) -> Path:
    import mlx.core as mx

    path = tmp_path / "checkpoint.safetensors"
    weights, moments = {"a.lora_a": mx.ones((3, 2))}, {"a.lora_a.m": mx.zeros((3, 2)), "step": mx.array(7)}
    save(str(path), Checkpoint(7, weights, moments, {"loss": 1.5}))
    return path


def test_what_was_saved_comes_back(written: Path) -> None:
    found = load(str(written))
    assert found is not None
    assert (found.step, found.facts) == (7, {"loss": 1.5})
    assert found.weights["a.lora_a"].tolist() == [[1, 1]] * 3
    assert set(found.optimizer) == {"a.lora_a.m", "step"} and found.optimizer["step"].item() == 7
    assert step_of(str(written)) == 7
    assert written.stat().st_mode & 0o777 == 0o600


def test_none_and_damaged_ones(written: Path) -> None:
    assert load(f"{written}.none") is None and step_of(f"{written}.none") == 0
    content = written.read_bytes()
    for damaged in (b"", content[:20], content[:-5], b"\xff" * 50, content.replace(b'"version":"1"', b'"version":"2"')):
        written.write_bytes(damaged)
        with pytest.raises(AdapterUnfit, match="damaged"):
            load(str(written))


def test_a_full_disk_leaves_the_one_before(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()
    found = load(str(written))
    assert found is not None
    with monkeypatch.context() as patch:
        # The write itself fails, as on a full disk; what is written to is real.
        patch.setattr("gardener.paths.sync_file", lambda descriptor: _full())
        with pytest.raises(DiskFull):
            save(str(written), found._replace(step=8))
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


def _full() -> None:
    import errno

    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
