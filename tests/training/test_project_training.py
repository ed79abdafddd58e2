"""Two projects train for real, in processes of their own; one of the processes is killed on the way."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gardener import project_training
from gardener.app import Gardener
from gardener.errors import (
    AdapterUnfit,
    ConflictError,
    GardenerError,
    Interrupted,
    LockedError,
    ModelNotFound,
    NameTaken,
    NotFoundError,
    UsageError,
)
from gardener.models.adapters import AdapterStore
from gardener.models.model_folder import read_model_folder
from gardener.project_training import TrainingReport, TrainingRequest, train_project, trainer_lock, unfinished
from gardener.types import ProjectContext
from tests.tiny_projects import make_tiny_project

STEPS = 40


class Trained(NamedTuple):
    gardener: Gardener
    contexts: dict[str, ProjectContext]
    reports: dict[str, TrainingReport]
    killed: GardenerError
    events: list[dict[str, Any]]
    unfinished: dict[str, int]
    holders: list[dict[str, object] | None]
    """Who held the trainer's lock while it was at work."""


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Both projects with an adapter each. The first one's process is killed at step 12 and gone on with."""
    place = tmp_path_factory.mktemp("trained")
    with Gardener(str(place / "home"), {"mlx.model": str(base)}) as gardener:
        contexts = {
            name: gardener.registry.add(str(make_tiny_project(place / name, name)), name)
            for name in ("amber", "cobalt")
        }
        request = TrainingRequest(steps=STEPS, batch=2, learning_rate=0.001, tokens=256)
        events: list[dict[str, Any]] = []

        holders = []

        def kill(event: dict[str, Any]) -> None:
            events.append(event)
            if event["event"] == "step":
                holders.append(trainer_lock(contexts["amber"]).holder())
            if event["event"] == "step" and event["step"] == 12:
                multiprocessing.active_children()[0].kill()

        with pytest.raises(GardenerError) as caught:
            train_project(gardener, contexts["amber"], request, kill)
        left = unfinished(contexts["amber"])
        reports = {
            "amber": train_project(gardener, contexts["amber"], TrainingRequest(resume=True), events.append),
            "cobalt": train_project(gardener, contexts["cobalt"], request),
        }
        yield Trained(gardener, contexts, reports, caught.value, events, left, holders)


def test_a_killed_process_is_an_error_and_its_checkpoint_stays(trained: Trained) -> None:
    assert "signal 9" in trained.killed.message and "step 10 of 40 is kept" in trained.killed.message
    assert trained.killed.next_step == "gardener train --name own --resume"
    assert trained.unfinished == {"own": 10}
    assert [event["step"] for event in trained.events if event["event"] == "resumed"] == [10]
    assert unfinished(trained.contexts["amber"]) == {}


def test_loss_falls_and_both_are_used(trained: Trained) -> None:
    losses = [event["loss"] for event in trained.events if event["event"] == "step"]
    assert losses[-1] < 0.8 * losses[0]
    for name, report in trained.reports.items():
        assert report.active and report.published and report.steps == STEPS
        assert report.evaluation["adapter_loss"] < report.evaluation["base_loss"]
        assert set(report.evaluation["kinds"]) == {"function", "question"}
        assert trained.gardener.context(name).adapter == "own"


def test_each_adapter_knows_its_own_project(trained: Trained) -> None:
    """Both are put onto one resident base, as a switch does it, and asked about what neither has seen."""
    from gardener.models.mlx.adapters import AdapterShelf
    from gardener.models.mlx.loading import load_base
    from gardener.training.evaluate import measure
    from gardener.training.tokens import read_examples, tokenise

    stores = {name: AdapterStore(context.home) for name, context in trained.contexts.items()}
    refs = {name: store.ref("own") for name, store in stores.items()}
    loaded = load_base(read_model_folder(trained.gardener.settings.text("mlx.model")))
    shelf = AdapterShelf()
    held_out = {}
    for project, ref in refs.items():
        examples = [e for e in read_examples(f"{ref.folder}/data/held-out.jsonl") if e["kind"] == "function"]
        held_out[project] = tokenise(loaded, examples, 256).examples
    # The same functions are held out of both: what differs is how each project would write them.
    losses: dict[tuple[str, str], float] = {}
    for adapter in ("amber", "cobalt", "amber"):
        shelf.put(loaded, refs[adapter])
        for project, examples in held_out.items():
            losses[adapter, project] = measure(loaded.model, examples).mean
    for project, other in (("amber", "cobalt"), ("cobalt", "amber")):
        assert losses[project, project] < losses[project, other] - 0.3  # it would rather write its own project's way
        assert losses[project, project] < losses[other, project] - 0.3  # and is the better one at it
        # What the trainer said about it is what the app's own way of loading it gives.
        said = trained.reports[project].evaluation["kinds"]["function"]["adapter_loss"]
        assert losses[project, project] == pytest.approx(said, abs=0.01)


def test_what_is_kept(trained: Trained) -> None:
    folder = Path(AdapterStore(trained.contexts["amber"].home).ref("own").folder)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "adapters.safetensors", "adapter_config.json", "gardener.json", "data/train.jsonl", "data/held-out.jsonl",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    about = AdapterStore(trained.contexts["amber"].home).about("own")
    assert about["base_name"] == "tiny" and about["evaluation"]["verdict"] == "better"
    assert about["examples"]["train"] == trained.reports["amber"].examples["train"]


def test_a_process_that_outlives_its_parent_is_waited_for(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still has its last checkpoint to write, which would become that of the run after it."""
    context = trained.contexts["cobalt"]
    held = trained.holders[0]
    assert held is not None and held["pid"] not in (0, os.getpid())
    monkeypatch.setattr(project_training, "WAIT_FOR_TRAINER_S", 0.0)
    before = AdapterStore(context.home).ref("own")
    with trainer_lock(context), pytest.raises(LockedError, match="cobalt"):
        train_project(trained.gardener, context, TrainingRequest(steps=5, again=True))
    assert AdapterStore(context.home).ref("own") == before and unfinished(context) == {}


def test_a_name_that_is_taken(trained: Trained) -> None:
    with pytest.raises(NameTaken, match="--again"):
        train_project(trained.gardener, trained.contexts["amber"], TrainingRequest(steps=5))
    with pytest.raises(NotFoundError, match="no unfinished run"):
        train_project(trained.gardener, trained.contexts["amber"], TrainingRequest(resume=True))
    with pytest.raises(UsageError):
        train_project(trained.gardener, trained.contexts["amber"], TrainingRequest(name="../up"))


def test_interrupted_worse_and_again(trained: Trained) -> None:
    """Stopped by the user; asked for again; and then an adapter that is worse, which takes nobody's place."""
    gardener, context = trained.gardener, trained.contexts["cobalt"]
    before = AdapterStore(context.home).ref("own").fingerprint
    cancel = threading.Event()

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 2:
            cancel.set()

    # So fast that it unlearns; it stands on 2 or 3 steps when it stops.
    wild = TrainingRequest(steps=30, batch=1, learning_rate=0.03, tokens=256, again=True)
    with pytest.raises(Interrupted, match=r"step \d+ of 30 is kept") as caught:
        train_project(gardener, context, wild, stop, cancel)
    assert caught.value.exit_code == 130
    with pytest.raises(ConflictError, match="unfinished run of 'own', at step"):
        train_project(gardener, context, wild._replace(again=False))
    with pytest.raises(UsageError, match="--rank"):
        train_project(gardener, context, TrainingRequest(resume=True, rank=2))
    report = train_project(gardener, context, TrainingRequest(resume=True, steps=6))
    assert report.evaluation["verdict"] == "worse" and not report.published and not report.active
    assert AdapterStore(context.home).ref("own").fingerprint == before
    assert gardener.context("cobalt").adapter == "own"


def test_without_a_model_or_with_another_one(gardener_home: Gardener, amber: Path, tmp_path: Path) -> None:
    context = gardener_home.registry.add(str(amber), "amber")
    with pytest.raises(ModelNotFound, match="No MLX model is chosen"):
        train_project(gardener_home, context, TrainingRequest())
    with pytest.raises(ModelNotFound, match="no model folder"):
        train_project(gardener_home, context, TrainingRequest(model=str(tmp_path / "nowhere")))
    assert AdapterStore(context.home).list() == []


@pytest.fixture
def gardener_home(home: Path) -> Iterator[Gardener]:
    with Gardener(str(home)) as made:
        yield made


def test_a_model_that_has_changed_since(trained: Trained) -> None:
    from gardener.training.plan import RunFolder, TrainingPlan
    from gardener.training.run import Run, rewrite

    context = trained.contexts["amber"]
    folder = RunFolder(AdapterStore(context.home).stage("older"))
    model = trained.gardener.settings.text("mlx.model")
    rewrite(folder, Run("older", model, "0" * 32, TrainingPlan(steps=5), {}))
    with pytest.raises(AdapterUnfit, match="not the one that the run"):
        train_project(trained.gardener, context, TrainingRequest(name="older", resume=True))
    Path(folder.run).write_text("{")
    with pytest.raises(AdapterUnfit, match="damaged"):
        train_project(trained.gardener, context, TrainingRequest(name="older", resume=True))
