"""A switch, whoever makes it, readies the resident model in the background; what fails there stops nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import ModelDamaged
from gardener.index.search import SearchRequest
from gardener.models.base import Capabilities, Preparation, Prepared, ResidentState
from gardener.server import warming
from gardener.server.warming import Warming
from tests.chat_samples import ScriptedBackend
from tests.serving import serving


@dataclass
class ResidentScript(ScriptedBackend):
    """A scripted backend that says it keeps a model in memory, and remembers what it was told to ready."""

    name: str = "resident"
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(adapters=True))
    prepared: list[tuple[Preparation, bool]] = field(default_factory=list)
    hold: threading.Event | None = None
    fail: Exception | None = None
    cancelled: int = 0

    def prepare(self, wanted: Preparation, *, may_load: bool, cancel: threading.Event) -> Prepared:
        self.prepared.append((wanted, may_load))
        if self.fail is not None:
            raise self.fail
        while self.hold is not None and not self.hold.is_set():
            if cancel.wait(0.01):
                self.cancelled += 1
                return Prepared("ready", detail="cancelled")
        return Prepared("ready", prefix="restored", prefix_tokens=100)

    def resident(self) -> ResidentState:
        return ResidentState("small", "identity#1", 5_000, 700, "", {"base_loads": 1, "adapter_swaps": 2})

    def release_caches(self) -> int:
        return 0


@pytest.fixture
def backend() -> ResidentScript:
    return ResidentScript()


@pytest.fixture
def garden(home: Path, tmp_path: Path, backend: ResidentScript) -> Iterator[Gardener]:
    made = Gardener(str(home), {"models.backend": "auto"})
    made.backends.register("resident", lambda: backend)
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        (root / "a.py").write_text(f"def {name}():\n    return 1\n")
        made.update_index(made.registry.add(str(root), name))
    made.switch("one")
    yield made
    made.close()


@pytest.fixture
def warm(garden: Gardener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warming]:
    monkeypatch.setattr(warming, "LOOK_S", 0.01)
    made = Warming(garden)
    made.start()
    yield made
    made.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def scopes(backend: ResidentScript) -> list[str]:
    return [wanted.scope for wanted, _ in backend.prepared]


def test_the_active_project_is_readied_and_after_a_switch_the_new_one(
    garden: Gardener, backend: ResidentScript, warm: Warming
) -> None:
    one, two = garden.context("one").id, garden.context("two").id
    until(lambda: scopes(backend) == [one])
    garden.switch("two")
    until(lambda: scopes(backend) == [one, two])
    wanted, may_load = backend.prepared[-1]
    assert not may_load
    assert [message.role for message in wanted.prefix] == ["system"]
    assert '"two"' in wanted.prefix[0].content
    until(lambda: warm.last is not None and warm.last.project == "two")
    assert warm.last is not None
    assert warm.last.as_json()["prefix"] == "restored"


def test_the_first_search_after_a_switch_finds_everything_read(
    garden: Gardener, warm: Warming, monkeypatch: pytest.MonkeyPatch
) -> None:
    garden.switch("two")
    until(lambda: warm.last is not None and warm.last.project == "two")

    def read_again(*_: object) -> None:
        raise AssertionError("the index was read by the search")

    monkeypatch.setattr("gardener.index.search.Snapshot", read_again)
    assert garden.search(garden.context("two"), SearchRequest("two")).hits


def test_what_is_readied_is_what_the_answer_sends(garden: Gardener, backend: ResidentScript, warm: Warming) -> None:
    until(lambda: len(backend.prepared) == 1)
    list(garden.ask(garden.context("one"), "what does one return?"))
    assert backend.requests[-1].messages[:1] == backend.prepared[0][0].prefix
    assert backend.requests[-1].scope == backend.prepared[0][0].scope


def test_a_preparation_that_nobody_wants_any_more_is_cancelled(
    garden: Gardener, backend: ResidentScript, warm: Warming
) -> None:
    until(lambda: len(backend.prepared) == 1)
    backend.hold = threading.Event()
    garden.switch("two")
    until(lambda: len(backend.prepared) == 2)
    garden.switch("one")
    until(lambda: backend.cancelled == 1)
    backend.hold.set()
    until(lambda: scopes(backend)[-1] == garden.context("one").id)


@pytest.mark.parametrize("error", [ModelDamaged("the weights are cut off"), RuntimeError("anything")])
def test_a_failure_is_said_and_the_next_switch_is_tried(
    garden: Gardener, backend: ResidentScript, warm: Warming, error: Exception
) -> None:
    until(lambda: len(backend.prepared) == 1)
    backend.fail = error
    garden.switch("two")
    until(lambda: warm.last is not None and bool(warm.last.problem))
    assert warm.last is not None
    assert str(error) in warm.last.problem
    backend.fail = None
    garden.switch("one")
    until(lambda: warm.last is not None and warm.last.project == "one" and not warm.last.problem)


def test_preloading_is_a_setting(home: Path, garden: Gardener, backend: ResidentScript) -> None:
    eager = Gardener(str(home), {"models.preload": True})
    eager.backends.register("resident", lambda: backend)
    made = Warming(eager)
    made.start()
    until(lambda: len(backend.prepared) == 1)
    made.close()
    eager.close()
    assert backend.prepared[0][1]


def test_counters_over_http_in_the_status_and_in_the_metrics(garden: Gardener, backend: ResidentScript) -> None:
    list(garden.ask(garden.context("one"), "what does one return?"))
    with serving(garden) as app, app.http() as client:
        held = client.get("/api/models/resident").json()
        assert held["backends"]["resident"]["counters"] == {"base_loads": 1, "adapter_swaps": 2}
        assert held["backends"]["resident"]["identity"] == "identity#1"
        assert held["memory"]["budget_bytes"] > 0
        text = client.get("/metrics").text
        assert 'gardener_model_base_loads_total{backend="resident"} 1' in text
        assert 'gardener_model_weight_bytes{backend="resident"} 5000' in text
