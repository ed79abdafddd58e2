"""Trains an adapter for one project: its index, its model, its examples, one run, and whether the result is used."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import AdapterUnfit, ModelError, ModelNotFound, NameTaken, NotFoundError, UsageError
from gardener.locks import ProcessLock
from gardener.models.adapters import AdapterStore, check_name
from gardener.models.mlx.installed import INSTALL_MLX, mlx_is_installed
from gardener.paths import model_path

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.models.model_folder import ModelFolder
    from gardener.project_context import ProjectContext
    from gardener.training.examples import ExampleSet
    from gardener.training.plan import RunFolder, TrainingPlan
    from gardener.training.run import Run, RunResult, Told

DEFAULT_NAME = "own"
WAIT_FOR_INDEX_S = 60.0
WAIT_FOR_TRAINER_S = 20.0
"""For the process of a run whose parent was killed, which writes a last checkpoint."""


class TrainingRequest(NamedTuple):
    """None: the default, or with `resume` what the run was begun with."""

    name: str = DEFAULT_NAME
    model: str = ""
    """A folder, or the name of one below models/; empty takes the project's or the configured one."""
    steps: int | None = None
    rank: int | None = None
    batch: int | None = None
    tokens: int | None = None
    learning_rate: float | None = None
    resume: bool = False
    again: bool = False
    """An unfinished run and a finished adapter of this name may be replaced."""


class TrainingReport(NamedTuple):
    name: str
    base_name: str
    examples: dict[str, Any]
    evaluation: dict[str, Any]
    steps: int
    train_loss: float
    peak_bytes: int
    published: bool
    """False: it is worse than the base, and an adapter of this name stays as it was."""
    active: bool
    """The project uses it from its next answer on."""
    base_in_use: bool
    """False: the project answers with another model, or none is chosen; the adapter waits for its own."""

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def project_examples(
    gardener: Gardener,
    context: ProjectContext,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: threading.Event | None = None,
) -> ExampleSet:
    """The project's examples, after its index was brought up to date. Raises UsageError when there are too few."""
    from gardener.index.redact import redact
    from gardener.training.examples import check_enough, collect_examples

    index = gardener.index(context)
    index.update(cancel=cancel, lock_timeout_s=WAIT_FOR_INDEX_S)
    examples = collect_examples(
        context.root,
        index.indexer.manifest.files(),
        max_file_bytes=gardener.settings_for(context).integer("index.max_file_bytes"),
        redact=lambda text, path: redact(text, path).text,
        progress=progress,
        cancel=cancel,
    )
    check_enough(examples, context.name)
    return examples


def train_project(
    gardener: Gardener,
    context: ProjectContext,
    request: TrainingRequest,
    told: Told = lambda event: None,
    cancel: threading.Event | None = None,
) -> TrainingReport:
    """Trains, measures, publishes, and uses the adapter if it is better than the base.

    Raises UsageError (too little to train on, a name that is none), ModelNotFound, ModelDamaged, ModelTooLarge,
    NameTaken, ConflictError (an unfinished run), LockedError, DiskFull, Interrupted.
    """
    cancel = cancel or threading.Event()
    check_name(request.name)
    if not mlx_is_installed():
        raise ModelNotFound("Training needs MLX, which is not installed.", next_step=INSTALL_MLX)
    with ProcessLock(os.path.join(context.home, "train.lock"), "gardener train", subject=f"'{context.name}'"):
        former = trainer_lock(context)
        former.acquire(WAIT_FOR_TRAINER_S)
        former.release()  # now the process that trains takes it
        return _train(gardener, context, request, told, cancel)


def trainer_lock(context: ProjectContext) -> ProcessLock:
    """What the process that trains holds, which may outlive whoever started it by a step."""
    from gardener.training.plan import trainer_lock as lock

    return lock(AdapterStore(context.home).folder, context.name)


def _train(
    gardener: Gardener, context: ProjectContext, request: TrainingRequest, told: Told, cancel: threading.Event
) -> TrainingReport:
    from gardener.training.plan import RunFolder
    from gardener.training.run import train

    store = AdapterStore(context.home)
    folder = RunFolder(store.stage(request.name))
    try:
        if request.resume:
            run, model = _resumed(gardener, folder, request)
        else:
            _check_name_is_free(store, folder, request)
            run, model = _begun(gardener, context, folder, request, told, cancel)
    except BaseException:
        if not os.path.exists(folder.run):  # nothing that could be gone on with
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    result = train(folder, run, told, cancel)
    return _kept(gardener, context, store, run, model, result)


def _begun(
    gardener: Gardener,
    context: ProjectContext,
    folder: RunFolder,
    request: TrainingRequest,
    told: Told,
    cancel: threading.Event,
) -> tuple[Run, ModelFolder]:
    from gardener.training.plan import TrainingPlan, checkpoint_every, default_steps, fitted
    from gardener.training.run import Run, begin

    given = {
        name: value
        for name in ("rank", "batch", "tokens", "learning_rate")
        if (value := getattr(request, name)) is not None
    }
    plan = TrainingPlan(1 if request.steps is None else request.steps, **given).check()
    model = base_model(gardener, context, request.model)
    examples = project_examples(gardener, context, lambda done, total: told(_phase("examples", done, total)), cancel)
    steps = default_steps(len(examples.train), plan.batch) if request.steps is None else request.steps
    plan = _with(
        plan, steps=steps, tokens=min(plan.tokens, model.context_tokens), checkpoint_every=checkpoint_every(steps)
    )
    plan = fitted(model, plan, memory_bytes(gardener))
    run = Run(request.name, model.path, model.identity, plan, examples.as_json())
    begin(folder, run, examples)
    return run, model


def _resumed(gardener: Gardener, folder: RunFolder, request: TrainingRequest) -> tuple[Run, ModelFolder]:
    from gardener.models.model_folder import read_model_folder
    from gardener.training.checkpoint import step_of
    from gardener.training.plan import fitted
    from gardener.training.run import begun, nothing_to_resume, rewrite

    run = begun(folder)
    if run is None:
        raise nothing_to_resume(request.name)
    changed = [
        f"--{name.replace('_', '-')}"
        for name in ("rank", "batch", "tokens", "learning_rate", "model")
        if getattr(request, name) not in (None, "")
    ]
    if changed:
        raise UsageError(
            f"A run goes on with what it was begun with; only --steps can be changed, not {', '.join(changed)}.",
            next_step=f"gardener train --name {request.name} --again",
        )
    model = read_model_folder(run.model)
    if model.identity != run.base:
        raise AdapterUnfit(
            f"The model {model.name} is not the one that the run of {request.name!r} was begun with.",
            next_step=f"gardener train --name {request.name} --again",
        )
    if request.steps is not None:
        steps = max(_with(run.plan, steps=request.steps).check().steps, step_of(folder.checkpoint))
        run = run._replace(plan=_with(run.plan, steps=steps))
        rewrite(folder, run)
    fitted(model, run.plan, memory_bytes(gardener))
    return run, model


def _with(plan: TrainingPlan, **changes: Any) -> TrainingPlan:
    from dataclasses import replace

    return replace(plan, **changes)


def _check_name_is_free(store: AdapterStore, folder: RunFolder, request: TrainingRequest) -> None:
    """Raises NameTaken or ConflictError. A damaged adapter is in nobody's way."""
    from gardener.training.run import check_free

    if request.again:
        return
    check_free(folder, request.name)
    try:
        store.ref(request.name)
    except (NotFoundError, AdapterUnfit):
        return
    raise NameTaken(
        f"There is an adapter {request.name!r} already. With --again it is replaced when the new one is ready.",
        next_step=f"gardener train --name {request.name} --again",
    )


def _kept(
    gardener: Gardener,
    context: ProjectContext,
    store: AdapterStore,
    run: Run,
    model: ModelFolder,
    result: RunResult,
) -> TrainingReport:
    """Publishes the adapter; uses it when it is better. One that is worse replaces none."""
    from gardener.training.evaluate import WORSE
    from gardener.training.plan import RunFolder

    worse = result.evaluation["verdict"] == WORSE
    try:
        store.ref(run.name)
        replaces = True
    except (NotFoundError, AdapterUnfit):
        replaces = False
    published = not (worse and replaces)
    if published:
        about = {
            "base_name": model.name,
            "evaluation": result.evaluation,
            "train_loss": result.train_loss,
            "plan": run.plan.as_json(),
            "examples": run.examples,
        }
        store.publish(run.name, run.base, about, replace=True)
        # Not before: should publishing fail, the run can still be gone on with.
        done = RunFolder(store.ref(run.name).folder)
        for path in (done.checkpoint, done.log, done.run):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    in_use = _is_base(gardener, context, run.base)
    active = in_use and not worse
    if active:
        gardener.registry.configure(context.id, adapter=run.name)
    return TrainingReport(
        run.name,
        model.name,
        run.examples,
        result.evaluation,
        result.steps,
        result.train_loss,
        result.peak_bytes,
        published,
        active,
        in_use,
    )


def _is_base(gardener: Gardener, context: ProjectContext, identity: str) -> bool:
    """Whether the project's chosen MLX model is this one."""
    try:
        return base_model(gardener, context).identity == identity
    except ModelError:
        return False


def base_model(gardener: Gardener, context: ProjectContext, wanted: str = "") -> ModelFolder:
    """The MLX model that is trained on, read without loading it. Raises ModelNotFound or ModelDamaged."""
    from gardener.models.model_folder import read_model_folder

    own = context.model if context.backend == "mlx" else ""
    name = wanted or own or gardener.settings.text("mlx.model")
    if not name:
        raise ModelNotFound(
            "No MLX model is chosen, and an adapter is trained on one.",
            next_step="gardener train --model FOLDER, or gardener models recommend",
        )
    # A relative path is for the command line alone; a setting may be a repository's.
    relative = bool(wanted) and (os.sep in wanted or os.path.isdir(wanted))
    return read_model_folder(os.path.expanduser(wanted) if relative else model_path(name, gardener.paths.models))


def memory_bytes(gardener: Gardener) -> int:
    """What a run may take: of the configured budget or the machine's, what is free right now."""
    from gardener.models.fit import budget_bytes
    from gardener.models.hardware import read_hardware

    hardware = read_hardware()
    configured = gardener.settings.integer("models.memory_mb") * 1_000_000
    return min(budget_bytes(hardware, configured), hardware.available_bytes)


def unfinished(context: ProjectContext) -> dict[str, int]:
    """Names of runs that can go on, with their steps."""
    from gardener.training.checkpoint import step_of
    from gardener.training.plan import RunFolder

    runs = {name: RunFolder(folder) for name, folder in AdapterStore(context.home).staged().items()}
    return {name: step for name, run in runs.items() if (step := step_of(run.checkpoint)) and os.path.exists(run.run)}


def _phase(phase: str, done: int, total: int) -> dict[str, Any]:
    return {"event": "phase", "phase": phase, "done": done, "total": total}
