"""The running app keeps its projects fresh by itself, and says how."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.server import watching as watching_module
from tests.chat_samples import ScriptedBackend
from tests.serving import Served, serving, write_project

PATIENCE_S = 120.0


@pytest.fixture
def gardener(home: Path, embedder: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gardener]:
    monkeypatch.setattr(watching_module, "LOOK_S", 0.1)
    with Gardener(str(home)) as opened:
        yield opened


def wait(what: Callable[[], bool], about: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, about()
        threading.Event().wait(0.02)


def states(app: Served) -> dict[str, str]:
    with app.http() as client:
        return {item["project"]: item["mode"] for item in client.get("/api/watch").json()["projects"]}


def wait_for(app: Served, **wanted: str) -> None:
    wait(lambda: states(app) == wanted, lambda: states(app))


def test_an_edit_is_indexed_and_embedded_without_a_search(gardener: Gardener, tmp_path: Path) -> None:
    context = gardener.registry.add(str(write_project(tmp_path / "lantern")))
    gardener.update_index(context)
    with serving(gardener) as app:
        wait_for(app, lantern="watching")
        (tmp_path / "lantern" / "src" / "new.py").write_text("def zebra_crossing():\n    return 'stripes'\n")
        wait(lambda: "src/new.py" in gardener.index(context).indexer.manifest.files())
        wait(lambda: gardener.status()["embedded_fraction"] == 1.0, gardener.status)
        with app.http() as client:
            index = client.post("/api/search", json={"query": "zebra_crossing"}).json()["index"]
            assert index["watching"] == "watching 2 folders"
            assert 'gardener_watching{project="lantern",mode="watching"} 1' in client.get("/metrics").text


def test_projects_that_come_move_and_go(gardener: Gardener, tmp_path: Path) -> None:
    for marker in ("lantern", "compass"):
        gardener.update_index(gardener.registry.add(str(write_project(tmp_path / marker, marker))))
    with serving(gardener) as app:
        wait_for(app, lantern="watching", compass="watching")
        gardener.update_index(gardener.registry.add(str(write_project(tmp_path / "anchor", "anchor"))))
        wait_for(app, lantern="watching", compass="watching", anchor="watching")

        (tmp_path / "anchor").rename(tmp_path / "moved")
        wait_for(app, lantern="watching", compass="watching", anchor="polling")
        gardener.registry.move("anchor", str(tmp_path / "moved"))
        wait_for(app, lantern="watching", compass="watching", anchor="watching")
        (tmp_path / "moved" / "src" / "new.py").write_text("x = 1\n")
        anchor = gardener.context("anchor")
        wait(lambda: "src/new.py" in gardener.index(anchor).indexer.manifest.files())

        gardener.registry.remove("compass")
        wait_for(app, lantern="watching", anchor="watching")
        wait(lambda: not [thread for thread in threading.enumerate() if thread.name == "watch-compass"])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch")]


def test_what_is_removed_in_a_terminal_is_let_go_of(gardener: Gardener, home: Path, tmp_path: Path) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def wait_until_stopped(number: int) -> None:
        begun.set()
        assert stopped.wait(PATIENCE_S)

    gardener.backends.register("scripted", lambda: ScriptedBackend(on_event=wait_until_stopped))
    context = gardener.registry.add(str(write_project(tmp_path / "lantern")))
    gardener.update_index(context)
    with serving(gardener) as app, app.http() as client, Gardener(str(home)) as terminal:
        wait_for(app, lantern="watching")
        gardener.index(context)
        asked = f"/api/jobs/{client.post('/api/ask', json={'question': 'How is it lit?'}).json()['job']}"
        assert begun.wait(PATIENCE_S)
        terminal.registry.remove("lantern")
        wait(lambda: client.get(asked).json()["stopping"])
        stopped.set()
        wait(lambda: client.get(asked).json()["state"] == "cancelled")
        wait(lambda: context.id not in gardener._indexes)
        terminal.purge(context.id)
        wait(lambda: client.get(asked).status_code == 404)
        wait(lambda: not Path(context.home).exists())  # the app was writing into it


def command_line(command: str) -> str:
    """What the command prints, as a process of its own."""
    words = [sys.executable, "-m", "gardener.cli.main", command]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def test_only_so_many_are_watched_and_polling_shows(gardener: Gardener, home: Path, tmp_path: Path) -> None:
    for marker in ("lantern", "compass"):
        gardener.update_index(gardener.registry.add(str(write_project(tmp_path / marker, marker))))
    gardener.switch("compass")
    home.joinpath("config.toml").write_text('config_version = 1\n[index]\nwatch = "poll"\nwatch_projects = 1\n')
    home.joinpath("config.toml").chmod(0o600)
    with serving(gardener) as app:
        wait_for(app, compass="polling", lantern="off")
        assert "polling every 10 s: as the setting index.watch says" in command_line("status")
        assert "!!  watching compass: polling every 10 s: as the setting" in command_line("doctor")
        gardener.switch("lantern")
        wait_for(app, lantern="polling", compass="off")
