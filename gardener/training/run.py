"""One training run as its parent sees it: data written, a process started, its events told, its end understood."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener import errors
from gardener.errors import AdapterUnfit, ConflictError, GardenerError, Interrupted, NotFoundError
from gardener.paths import ensure_directory, write_private
from gardener.training.checkpoint import step_of
from gardener.training.plan import DATA, RunFolder, TrainingPlan

if TYPE_CHECKING:
    from gardener.training.examples import Example, ExampleSet

_VERSION = 1
_LOOK_EVERY_S = 0.2
_STOP_PATIENCE_S = 120.0
"""How long a step may take after somebody wants to stop; then the process is ended and the checkpoint before it
stays."""


class Run(NamedTuple):
    """A run that was begun: what is needed to begin it, or to go on with it."""

    name: str
    model: str
    base: str
    """The base's identity."""
    plan: TrainingPlan
    examples: dict[str, Any]
    """`ExampleSet.as_json`."""


class RunResult(NamedTuple):
    evaluation: dict[str, Any]
    train_loss: float
    steps: int
    peak_bytes: int


Told = Callable[[dict[str, Any]], None]
"""Gets every event of the run; steps have "eta_s" as well."""


def begin(folder: RunFolder, run: Run, examples: ExampleSet) -> None:
    """Writes data and order; the order last, so that a run without it was never begun. Raises DiskFull."""
    ensure_directory(os.path.join(folder.path, DATA))
    for path in (folder.run, folder.checkpoint):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    write_private(folder.train, _lines(examples.train))
    write_private(folder.held_out, _lines(examples.held_out))
    rewrite(folder, run)


def rewrite(folder: RunFolder, run: Run) -> None:
    """Writes the order alone, for a run that is to go on with more steps."""
    content = {"version": _VERSION, **run._asdict(), "plan": run.plan.as_json()}
    write_private(folder.run, json.dumps(content, indent=1).encode())


def begun(folder: RunFolder) -> Run | None:
    """The run that lies in a folder; None when there is none. Raises AdapterUnfit when its order is damaged."""
    try:
        with open(folder.run, encoding="utf-8") as opened:
            content = json.load(opened)
        if content.pop("version") != _VERSION:
            raise ValueError("written by another version")
        return Run(**{**content, "plan": TrainingPlan(**content["plan"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterUnfit(
            f"The unfinished run in {folder.path} is damaged: {error}", next_step="gardener train --again"
        ) from error


def check_free(folder: RunFolder, name: str) -> None:
    """Raises ConflictError when an unfinished run lies there: hours of work are not thrown away unasked."""
    step = step_of(folder.checkpoint)
    if step and os.path.exists(folder.run):
        raise ConflictError(
            f"There is an unfinished run of {name!r}, at step {step:,}. Go on with it, or begin anew with --again.",
            next_step=f"gardener train --name {name} --resume",
        )


def nothing_to_resume(name: str) -> NotFoundError:
    return NotFoundError(f"There is no unfinished run of {name!r}.", next_step=f"gardener train --name {name}")


def train(folder: RunFolder, run: Run, told: Told, cancel: threading.Event) -> RunResult:
    """Runs the process until the adapter lies in the folder, measured.

    Raises Interrupted when `cancel` was set (or Ctrl-C came), after the last checkpoint was written; DiskFull,
    ModelError and its kinds as the process reports them, and GardenerError when it was killed.
    """
    from gardener.training.trainer import STOP, Order, trainer_process

    context = multiprocessing.get_context("spawn")
    events, theirs = context.Pipe(duplex=False)
    their_control, control = context.Pipe(duplex=False)
    order = Order(run.model, run.base, folder.path, run.plan)
    process = context.Process(target=trainer_process, args=(order, theirs, their_control), daemon=True)
    with _no_interrupts():
        process.start()
    theirs.close()
    their_control.close()
    clock = _Clock(run.plan.steps)
    last: dict[str, Any] = {}
    deadline = 0.0

    def stop() -> None:
        nonlocal deadline
        if not deadline:
            deadline = time.monotonic() + _STOP_PATIENCE_S
            with contextlib.suppress(OSError):  # it has just ended by itself
                control.send(STOP)

    try:
        while True:
            try:
                if cancel.is_set():
                    stop()
                if deadline and time.monotonic() > deadline:
                    break
                if not events.poll(_LOOK_EVERY_S):
                    continue
                last = events.recv()
                told(clock.with_eta(last) if last["event"] == "step" else last)
                if last["event"] in ("done", "stopped", "error"):
                    break
            except KeyboardInterrupt:
                if deadline:
                    break  # a second time: now
                told({"event": "stopping"})
                stop()
            except (EOFError, OSError):
                break
    finally:
        _end(process, patient=last.get("event") in ("done", "stopped", "error"))
        events.close()
        control.close()
    return _understood(last, bool(deadline), process.exitcode, folder, run)


def _understood(last: dict[str, Any], stopped: bool, exit_code: int | None, folder: RunFolder, run: Run) -> RunResult:
    """What the last event means."""
    event = last.get("event")
    if event == "done":
        return RunResult(last["evaluation"], last["train_loss"], last["steps"], last["peak_bytes"])
    resume = f"gardener train --name {run.name} --resume"
    step = step_of(folder.checkpoint)
    kept = f"step {step:,} of {run.plan.steps:,} is kept" if step else "no step was done yet"
    if event == "error":
        kind = getattr(errors, str(last["class"]), errors.ModelError)
        more = f" ({kept}: {resume})" if step else ""
        raise kind(last["message"] + more, next_step=last.get("next_step") or f"less {folder.log}")
    if event == "stopped" or stopped:
        raise Interrupted(f"Training of {run.name!r} was stopped; {kept}.", next_step=resume)
    how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"status {exit_code}"
    raise GardenerError(
        f"The process that trained {run.name!r} was ended from outside ({how}), perhaps for want of memory; {kept}. "
        f"What it said last is in {folder.log}.",
        next_step=resume,
    )


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process that is started now is born deaf to the terminal's Ctrl-C, which reaches everything in front of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: Any, *, patient: bool) -> None:
    """The process is gone after this."""
    process.join(30 if patient else 0.5)
    if process.is_alive():
        process.kill()
        process.join()


def _lines(examples: Sequence[Example]) -> bytes:
    return b"".join(json.dumps(example.as_json()).encode() + b"\n" for example in examples)


class _Clock:
    """How much longer: by the mean of the steps since this process began, without the first, which compiles."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._since: tuple[float, int] | None = None

    def with_eta(self, event: dict[str, Any]) -> dict[str, Any]:
        now, step = time.monotonic(), event["step"]
        if self._since is None:
            self._since = now, step
        since, first = self._since
        per_step = (now - since) / (step - first) if step > first else None
        return {**event, "eta_s": None if per_step is None else per_step * (self._steps - step)}
