"""One app for the tests of a module; tests that change it for others make their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gardener.app import Gardener
from tests.chat_samples import ScriptedBackend
from tests.conftest import home_with
from tests.serving import Served, serving, write_project


class Gate:
    """Holds a scripted model before every word until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()

    def __call__(self, number: int) -> None:
        if not self.open.is_set():
            self.waiting.set()
            assert self.open.wait(120)


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def model(gate: Gate) -> ScriptedBackend:
    return ScriptedBackend(script=("The lantern", " is lit", " by light_lantern", " [1]."), on_event=gate)


@pytest.fixture(scope="module")
def gardener(
    tmp_path_factory: pytest.TempPathFactory, model: ScriptedBackend, exported_models: Path
) -> Iterator[Gardener]:
    """No vectors are made by themselves here: that would go on beside any test."""
    base = tmp_path_factory.mktemp("served")
    made = Gardener(str(home_with(exported_models, base)), {"index.background_embedding": False})
    made.backends.register("scripted", lambda: model)
    for marker in ("lantern", "compass"):
        context = made.registry.add(str(write_project(base / marker, marker)))
        made.update_index(context)
    made.switch("lantern")
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(gardener: Gardener) -> Iterator[Served]:
    with serving(gardener) as app:
        yield app


@pytest.fixture(autouse=True)
def as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leaves the gate open and the first project active for the next test."""
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("gate").open.set()
        request.getfixturevalue("gardener").switch("lantern")
