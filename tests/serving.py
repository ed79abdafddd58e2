"""A real app for tests: uvicorn on a free port, a real home folder, real HTTP. Only the model is scripted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gardener.app import Gardener
from gardener.server.client import AppClient
from gardener.server.edge import Edge
from gardener.server.run import Mount, serve
from gardener.server.runfile import RunningApp, read_app

PATIENCE_S = 120.0
"""How long anything is waited for: only a failure takes that long, however busy the machine is."""


@dataclass
class Served:
    """One running app and ways to speak to it."""

    gardener: Gardener
    edge: Edge
    app: RunningApp

    @property
    def url(self) -> str:
        return self.app.url

    def http(self, **headers: str) -> httpx.Client:
        """A client with the launch token."""
        headers = {"Authorization": f"Bearer {self.app.token}", **headers}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def stranger(self, **headers: str) -> httpx.Client:
        """A client that knows nothing."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def command_line(self) -> AppClient:
        return AppClient(self.app, timeout_s=PATIENCE_S)


@contextmanager
def serving(gardener: Gardener, *, mount: Mount | None = None, port: int = 0) -> Iterator[Served]:
    """Serves until the block ends; what the server thread raises is raised here."""
    ready = threading.Event()
    edges: list[Edge] = []
    failures: list[BaseException] = []

    def on_ready(edge: Edge) -> None:
        edges.append(edge)
        ready.set()

    def run() -> None:
        try:
            serve(gardener, port=port, mount=mount, on_ready=on_ready)
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="served-app")
    thread.start()
    assert ready.wait(PATIENCE_S)
    if failures:
        thread.join()
        raise failures[0]
    app = read_app(gardener.paths)
    assert app is not None
    try:
        yield Served(gardener, edges[0], app)
    finally:
        edges[0].shut_down()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def write_project(root: Path, marker: str = "lantern") -> Path:
    """A small project of its own whose code talks about `marker`."""
    (root / "src").mkdir(parents=True)
    (root / "src" / "engine.py").write_text(
        f'"""The {marker} engine."""\n\n\ndef light_{marker}(fuel: int) -> int:\n'
        f'    """Lights the {marker} and returns how long it burns, in minutes."""\n'
        "    if fuel < 0:\n        raise ValueError(fuel)\n    return fuel * 3\n\n\n"
        f"def start() -> None:\n    light_{marker}(4)\n"
    )
    (root / "README.md").write_text(f"# {marker}\n\nA program about one {marker}.\n")
    return root
