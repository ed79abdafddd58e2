"""Ways to break a machine for good, one for each runbook that is tried: what the page says must heal it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.docs.world import World


def _flip(path: Path) -> None:
    """One bit, in the middle; through a new file, as this one may be linked from elsewhere."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.unlink()
    path.write_bytes(content)


def _configure(world: World, text: str) -> None:
    path = world.home / "config.toml"
    path.write_text(text)
    path.chmod(0o600)


def _only(found: list[Path]) -> Path:
    assert found
    return max(found, key=lambda path: path.stat().st_size)


def project_folder(world: World, name: str = "shop") -> Path:
    """Where a project's index is kept."""
    with closing(sqlite3.connect(world.home / "state.db")) as database:
        (row,) = database.execute("SELECT id FROM projects WHERE name = ?", (name,)).fetchall()
    return world.home / "projects" / str(row[0])


def index_damaged(world: World) -> None:
    _flip(_only(list((project_folder(world) / "index/chunks.lance/data").glob("*"))))


def index_missing(world: World) -> None:
    shutil.rmtree(project_folder(world) / "index")


def vectors_damaged(world: World) -> None:
    _flip(_only([path for path in (world.home / "embeddings").rglob("*") if path.is_file()]))


def backup_damaged(world: World) -> None:
    _flip(_only([path for path in (world.home / "backups").rglob("*") if path.is_file()]))


def modes_open(world: World) -> None:
    """Gardener mends the modes of what it opens; a settings file that somebody else wrote stays as it is."""
    _configure(world, "[search]\nlimit = 12\n")
    (world.home / "config.toml").chmod(0o644)


def config_invalid(world: World) -> None:
    _configure(world, '[search]\nlimit = "many"\n')


def project_folder_gone(world: World) -> None:
    world.shop.rename(world.shop.with_name("shop-moved"))


def embedder_unreachable(world: World) -> None:
    _configure(world, '[embedder]\nname = "ollama:gone"\n')


def folders_orphaned(world: World) -> None:
    """What a crash in the middle of `add` would leave, a day ago."""
    folder = world.home / "projects/0123456789ab"
    (folder / "index").mkdir(parents=True)
    os.utime(folder, (time.time() - 86_400, time.time() - 86_400))


def state_damaged(world: World) -> None:
    path = world.home / "state.db"
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 64] = b"\xff" * 64
    for extra in world.home.glob("state.db-*"):
        extra.unlink()
    path.write_bytes(content)


def state_newer(world: World) -> None:
    with closing(sqlite3.connect(world.home / "state.db")) as database, database:
        database.execute("PRAGMA user_version = 999")


def model_unreachable(world: World) -> None:
    _configure(world, '[models]\nbackend = "ollama"\n[ollama]\nurl = "http://127.0.0.1:9"\n')
    world.environment["GARDENER_OLLAMA_URL"] = None


def model_missing(world: World) -> None:
    _configure(world, '[models]\nbackend = "mlx"\n[mlx]\nmodel = "no-such-model"\n')


def backup_disk_absent(world: World) -> None:
    _configure(world, f'[backup]\nsecond_folder = "{world.person}/no-such-disk/gardener"\n')


def backup_old(world: World) -> None:
    """Nobody was here for three days."""
    world.days_later = 3


def backup_unproven(world: World) -> None:
    """Nor for forty; a backup was made in between, by hand."""
    world.days_later = 40


def token_exposed(world: World) -> None:
    assert world.type("gardener token create editor").code == 0
    for path in (world.home / "run").glob("*.json"):
        path.chmod(0o644)


def embedder_changed(world: World) -> None:
    assert world.type("gardener embedder use ollama:nomic-embed-text").code == 0


BREAKS: dict[str, Callable[[World], None]] = {
    "backup-damaged": backup_damaged,
    "backup-disk-absent": backup_disk_absent,
    "backup-old": backup_old,
    "backup-unproven": backup_unproven,
    "config-invalid": config_invalid,
    "embedder-changed": embedder_changed,
    "embedder-unreachable": embedder_unreachable,
    "folders-orphaned": folders_orphaned,
    "index-damaged": index_damaged,
    "index-missing": index_missing,
    "model-missing": model_missing,
    "model-unreachable": model_unreachable,
    "modes-open": modes_open,
    "project-folder-gone": project_folder_gone,
    "state-damaged": state_damaged,
    "state-newer": state_newer,
    "token-exposed": token_exposed,
    "vectors-damaged": vectors_damaged,
}
