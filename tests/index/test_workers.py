"""A file that kills its worker costs that file. The killer here is a real signal in a real process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gardener.errors import GardenerError
from gardener.index import prepare, workers
from gardener.index.walk import FileEntry
from gardener.index.workers import CRASHED, WorkerPool


def entries(root: Path, names: list[str]) -> list[tuple[FileEntry, str]]:
    for name in names:
        (root / name).write_text(f"def {name.split('.')[0]}():\n    pass\n")
    return [(FileEntry(name, (root / name).stat().st_size, 1), "") for name in names]


def deadly(root: str, batch: list[tuple[FileEntry, str]], limit: int) -> list[prepare.PreparedFile]:
    """Stands for a grammar that crashes: it runs in the worker, which has imported this module."""
    if any("deadly" in entry.path for entry, _ in batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare.prepare_files(root, batch, limit)


def always_deadly() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_only_the_culprit_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "prepare_files", deadly)
    files = entries(tmp_path, ["a.py", "b.py", "deadly.py", "c.py", "d.py", "e.py"])
    with WorkerPool(2) as pool:
        batches = [files[:2], files[2:4], files[4:]]
        found = [item for done in pool.prepare(str(tmp_path), batches, 10_000, lambda: None) for item in done]
    assert sorted(item.record.path for item in found) == sorted(entry.path for entry, _ in files)
    assert {item.record.path: item.record.skipped for item in found if item.record.skipped} == {"deadly.py": CRASHED}
    assert all(item.rows for item in found if not item.record.skipped)


def test_no_file_is_blamed_when_no_worker_can_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_start", always_deadly)
    with WorkerPool(1) as pool, pytest.raises(GardenerError) as caught:
        list(pool.prepare(str(tmp_path), [entries(tmp_path, ["a.py"])], 10_000, lambda: None))
    assert "GARDENER_INDEX_WORKERS=1" in caught.value.next_step
