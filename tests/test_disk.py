"""The disk ledger and what it removes, on real indexes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gardener.app import Gardener
from gardener.disk import clean, disk_use
from gardener.errors import DiskFull
from gardener.index.search import SearchRequest
from gardener.index.vector_tables import VECTORS
from gardener.locks import ProcessLock
from gardener.paths import project_lock
from gardener.types import ProjectContext

Run = Callable[..., Any]


@pytest.fixture
def gardener(home: Path, embedder: None) -> Iterator[Gardener]:
    with Gardener(str(home)) as opened:
        yield opened


@pytest.fixture
def embedded(gardener: Gardener, json_project: Path, json_embeddings: None) -> ProjectContext:
    context = gardener.registry.add(str(json_project), "json")
    gardener.update_index(context)
    assert gardener.embed(context).remaining == 0
    return context


def home_bytes(home: Path) -> int:
    return sum(path.lstat().st_size for path in home.rglob("*") if path.is_file())


def age(path: Path) -> None:
    os.utime(path, (1, 1))


def test_the_ledger_adds_up(gardener: Gardener, embedded: ProjectContext, home: Path) -> None:
    use = disk_use(gardener)
    (project,) = use.projects
    assert project["bytes"] == home_bytes(Path(embedded.home)) == sum(project["parts"].values())
    assert all(project["parts"][part] for part in ("chunks", "words_index", "vectors", "manifest", "symbols"))
    known = project["bytes"] + sum(row["bytes"] for row in use.shared)
    assert use.total - 100_000 < known <= use.total
    (vectors,) = [row for row in use.shared if row["what"] == "vectors"]
    assert vectors["vectors"] > 0 and vectors["unused"] == 0 and vectors["used_by"] == ["json"]
    assert use.freeable == []


def test_what_nobody_uses_is_found_and_removed_and_the_rest_works(
    gardener: Gardener, embedded: ProjectContext, home: Path
) -> None:
    store = gardener.embedding.store()
    import numpy as np

    made_up = np.eye(store.dimensions, dtype=np.float32)[:300]
    store.put([f"{number:064x}" for number in range(300)], made_up)
    index = Path(embedded.home, "index")
    gardener.index(embedded).indexer.manifest.commit(facts={"vectors_complete": "1"})
    shutil.copytree(index / f"{VECTORS}{store.fingerprint}.lance", index / f"{VECTORS}former.lance")
    shutil.copytree(index / "chunks.lance", index / "chunks-7.lance")
    orphan = home / "projects" / "0123456789ab"
    (orphan / "index").mkdir(parents=True)
    (orphan / "index" / "x").write_bytes(b"x" * 50_000)
    age(orphan)
    trained = home / "projects" / "ba9876543210"
    (trained / "adapters").mkdir(parents=True)
    (trained / "adapters" / "weights").write_bytes(b"w" * 1000)
    age(trained)
    young = home / "projects" / "aaaaaaaaaaaa"
    young.mkdir()

    use = disk_use(gardener)
    said = " ".join(item.what for item in use.freeable)
    assert "300 vectors that no project uses" in said and str(orphan) in said
    before = home_bytes(home)
    report = clean(gardener)
    assert report.skipped == []
    assert report.freed == before - home_bytes(home) > 300 * 800
    assert sorted(path.name for path in index.glob("*.lance")) == [
        "chunks.lance",
        f"{VECTORS}{store.fingerprint}.lance",
    ]
    assert not orphan.exists() and (trained / "adapters" / "weights").exists() and young.exists()
    assert store.known([f"{0:064x}"]) == set() and store.count() > 0
    assert gardener.index(embedded).indexer.hashes.verify(embedded).damaged == ()
    assert gardener.search(embedded, SearchRequest("scan a json string")).hits
    assert gardener.embed(embedded).embedded == 0
    assert clean(gardener).done == []


def test_vectors_of_a_project_in_the_trash_are_kept(gardener: Gardener, embedded: ProjectContext) -> None:
    count = gardener.embedding.store().count()
    gardener.registry.remove("json")
    assert [row["state"] for row in disk_use(gardener).projects] == ["trash"]
    clean(gardener)
    assert gardener.embedding.store().count() == count > 0


def test_a_project_that_is_being_updated_is_left_out_and_its_vectors_stay(
    gardener: Gardener, embedded: ProjectContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gardener.disk._LOCK_WAIT_S", 0.0)
    count = gardener.embedding.store().count()
    with ProcessLock(project_lock(embedded.home), "gardener index", subject="'json'"):
        report = clean(gardener)
    assert report.done == []
    assert "json" in report.skipped[0] and "vectors" in report.skipped[1]
    assert gardener.embedding.store().count() == count


def test_on_a_full_disk_what_can_be_removed_is(
    gardener: Gardener, embedded: ProjectContext, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> list[str]:
        raise DiskFull("The disk is full.")

    orphan = home / "projects" / "0123456789ab" / "index"
    orphan.mkdir(parents=True)
    (orphan / "x").write_bytes(b"x")
    age(orphan.parent)
    monkeypatch.setattr("gardener.disk._clean_stores", full)
    report = clean(gardener)
    assert not orphan.exists() and report.done
    assert report.skipped == ["vectors that no project uses: The disk is full."]


def test_old_versions_are_removed(
    gardener: Gardener, embedded: ProjectContext, json_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gardener.disk.WORTH_COMPACTING", 10_000)
    for number in range(5):
        (json_project / "json" / "more.py").write_text(f"def more():\n    return {number}\n")
        gardener.update_index(embedded)
    versions = Path(embedded.home, "index", "chunks.lance", "_versions")
    before = len(list(versions.iterdir()))
    assert any("old versions" in item.what for item in disk_use(gardener).freeable)
    assert "json: old versions" in clean(gardener).done
    assert len(list(versions.iterdir())) < before
    report = gardener.update_index(embedded)
    assert report.unchanged > 0 and report.changed == 0
    assert gardener.search(embedded, SearchRequest("more", symbol="more")).hits


def test_a_home_without_anything(gardener: Gardener) -> None:
    assert disk_use(gardener).projects == []
    assert clean(gardener).done == []


def test_nothing_here_takes_a_young_folder_for_an_orphan(gardener: Gardener, home: Path) -> None:
    folder = home / "projects" / "0123456789ab"
    (folder / "index").mkdir(parents=True)
    gardener.registry.list()
    from gardener.disk import orphans

    assert orphans(gardener) == []
    os.utime(folder, (time.time() - 7200,) * 2)
    assert orphans(gardener) == [str(folder)]
    assert json.dumps(disk_use(gardener).as_json())
