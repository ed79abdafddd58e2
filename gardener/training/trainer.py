"""The process that trains: loads the base, measures it, trains LoRA matrices with mlx-lm's tuner, measures again.

A process of its own, so that its memory goes with it and whatever ends it ends nothing else. It talks by one pipe of
events and hears by another; when its parent is gone, it stops at the next step with a checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import AdapterUnfit, GardenerError, ModelError
from gardener.models.adapters import CONFIG, WEIGHTS
from gardener.paths import open_private, write_private
from gardener.training import checkpoint as checkpoints
from gardener.training.checkpoint import Checkpoint
from gardener.training.evaluate import Losses, measure, verdict
from gardener.training.plan import SCALE, RunFolder, TrainingPlan, trainer_lock
from gardener.training.tokens import TokenExample, batches, padded, read_examples, tokenise

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from gardener.models.mlx.loading import Base

STOP = "stop"


class Order(NamedTuple):
    """What the parent asks for. It is pickled."""

    model: str
    """The base's folder."""
    base: str
    """Its identity as the parent saw it."""
    folder: str
    """Where the run keeps its files; the adapter's two files are written there, too."""
    plan: TrainingPlan


class _Ended(Exception):
    """All steps are done, or somebody wants the run to stop."""


def trainer_process(order: Order, events: Connection, control: Connection) -> None:
    """Runs one order. Every way out but a kill ends with an event "done", "stopped" or "error"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which says when to stop
    os.umask(0o077)
    folder = RunFolder(order.folder)
    stop = threading.Event()
    threading.Thread(target=_listen, args=(control, stop), daemon=True).start()
    try:
        _only_the_log(folder.log)
        with trainer_lock(os.path.dirname(folder.path)):
            last = _Trainer(order, folder, events, stop).run()
        events.send(last)
    except GardenerError as error:
        events.send(_event(error))
    except MemoryError:
        events.send({"event": "error", "class": "ModelTooLarge", "message": "There was not enough memory to train."})
    except BrokenPipeError:
        pass  # the parent is gone; the last checkpoint is on the disk
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the log
        events.send(
            {
                "event": "error",
                "class": "ModelError",
                "message": f"Training failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            }
        )
    finally:
        sys.stderr.flush()


def _event(error: GardenerError) -> dict[str, Any]:
    return {
        "event": "error",
        "class": type(error).__name__,
        "message": error.message,
        "next_step": error.next_step,
    }


def _listen(control: Connection, stop: threading.Event) -> None:
    """Until the parent says so or is gone, which closes its end."""
    with contextlib.suppress(EOFError, OSError):
        control.recv()
    stop.set()


def _only_the_log(path: str) -> None:
    """The tuner prints, and so do libraries in C: what this process writes goes to its log."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    log = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


class _Trainer:
    def __init__(self, order: Order, folder: RunFolder, events: Connection, stop: threading.Event) -> None:
        self._order = order
        self._plan = order.plan
        self._folder = folder
        self._events = events
        self._stop = stop

    def run(self) -> dict[str, Any]:
        """The last event."""
        from gardener.models.mlx.loading import load_base
        from gardener.models.model_folder import read_model_folder

        plan = self._plan
        self._say("load")
        model_folder = read_model_folder(self._order.model)
        if model_folder.identity != self._order.base:
            raise AdapterUnfit(
                f"The model {model_folder.path} has changed since the run was begun.", next_step="gardener train"
            )
        base = load_base(model_folder)
        saved = checkpoints.load(self._folder.checkpoint)
        self._say("tokens")
        train = tokenise(base, read_examples(self._folder.train), plan.tokens)
        held_out = tokenise(base, read_examples(self._folder.held_out), plan.tokens)
        if not train.examples or not held_out.examples:
            raise AdapterUnfit(
                f"No example fits into {plan.tokens:,} tokens.", next_step=f"gardener train --tokens {2 * plan.tokens}"
            )
        self._tell(
            {
                "event": "examples",
                "train": len(train.examples),
                "held_out": len(held_out.examples),
                "cut": train.cut + held_out.cut,
                "dropped": train.dropped + held_out.dropped,
                "tokens": sum(len(example.tokens) for example in train.examples),
            }
        )
        if saved is not None and "base" in saved.facts:
            measured = Losses.from_json(saved.facts["base"])
        else:
            found = self._measured(base, held_out.examples, "measure base")
            if found is None:
                return {"event": "stopped", "step": 0}
            measured = found
        step, loss = self._trained(base, train.examples, measured, saved)
        if step < plan.steps:
            return {"event": "stopped", "step": step}
        adapter = self._measured(base, held_out.examples, "measure adapter")
        if adapter is None:
            return {"event": "stopped", "step": step}
        self._write_adapter(base)
        import mlx.core as mx

        return {
            "event": "done",
            "evaluation": verdict(measured, adapter),
            "train_loss": round(loss, 5),
            "steps": step,
            "peak_bytes": int(mx.get_peak_memory()),
        }

    def _tell(self, event: dict[str, Any]) -> None:
        """A parent that is gone is one that wants the run to stop, with a checkpoint."""
        try:
            self._events.send(event)
        except OSError:
            self._stop.set()

    def _say(self, phase: str, done: int = 0, total: int = 0) -> None:
        self._tell({"event": "phase", "phase": phase, "done": done, "total": total})

    def _measured(self, base: Base, examples: list[TokenExample], phase: str) -> Losses | None:
        """None when somebody wants the run to stop."""

        def progress(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _Ended
            self._say(phase, done, total)

        try:
            return measure(base.model, examples, progress)
        except _Ended:
            return None

    # ---- training --------------------------------------------------------------------------------------

    def _trained(
        self, base: Base, examples: list[TokenExample], measured: Losses, saved: Checkpoint | None
    ) -> tuple[int, float]:
        """Steps that are done now, and the smoothed loss. Ends with a checkpoint."""
        import mlx.core as mx
        import mlx.optimizers as optimizers
        from mlx.utils import tree_flatten, tree_unflatten
        from mlx_lm.tuner.trainer import TrainingArgs, train
        from mlx_lm.tuner.utils import linear_to_lora_layers

        plan = self._plan
        mx.random.seed(plan.seed)
        base.model.freeze()
        layers = len(base.model.layers)
        self._layers = min(plan.layers, layers) if plan.layers > 0 else layers
        linear_to_lora_layers(
            base.model, self._layers, {"rank": plan.rank, "scale": SCALE, "dropout": 0.0}, use_dora=False
        )
        optimizer = optimizers.Adam(learning_rate=plan.learning_rate)
        optimizer.init(base.model.trainable_parameters())
        done, loss = 0, 0.0
        if saved is not None:
            done, loss = saved.step, float(saved.facts.get("loss", 0.0))
            expected: Any = tree_flatten(base.model.trainable_parameters())
            if {name: array.shape for name, array in expected} != {
                name: array.shape for name, array in saved.weights.items()
            }:
                raise AdapterUnfit(
                    f"The checkpoint {self._folder.checkpoint} does not fit the model or the rank.",
                    next_step="gardener train --again",
                )
            base.model.load_weights(list(saved.weights.items()), strict=False)
            optimizer.state = tree_unflatten(list(saved.optimizer.items()))
            self._tell({"event": "resumed", "step": done})
        state = _State(done, loss, done)

        def save() -> None:
            weights: Any = dict(tree_flatten(base.model.trainable_parameters()))
            moments: Any = dict(tree_flatten(optimizer.state))
            facts = {"base": measured.as_json(), "loss": state.loss}
            checkpoints.save(self._folder.checkpoint, Checkpoint(state.step, weights, moments, facts))
            state.saved = state.step
            self._tell({"event": "checkpoint", "step": state.step})

        def report(info: dict[str, Any]) -> None:
            state.step += 1
            found = float(info["train_loss"])
            if not math.isfinite(found):
                raise ModelError(
                    f"Training diverged at step {state.step}: the loss is no number any more.",
                    next_step=f"gardener train --again --learning-rate {plan.learning_rate / 10:g}",
                )
            state.loss = found if state.step == 1 else 0.9 * state.loss + 0.1 * found
            self._tell(
                {
                    "event": "step",
                    "step": state.step,
                    "steps": plan.steps,
                    "loss": state.loss,
                    "tokens_per_s": float(info["tokens_per_second"]),
                    "peak_bytes": int(info["peak_memory"] * 1e9),
                }
            )
            if state.step % plan.checkpoint_every == 0 and state.step < plan.steps:
                save()

        def feed(**_: Any) -> Iterator[tuple[Any, Any]]:
            # mlx-lm's own would draw the batches anew after a resume.
            for batch in batches(examples, plan.batch, seed=plan.seed, first=done):
                if self._stop.is_set() or state.step >= plan.steps:
                    raise _Ended  # and not the end of the loop, after which mlx-lm writes a file of its own
                yield padded(batch)

        arguments = TrainingArgs(
            batch_size=plan.batch,
            iters=plan.steps - done + 1,
            steps_per_report=1,
            steps_per_save=plan.steps + 1,
            max_seq_length=plan.tokens + 33,
            adapter_file=os.path.join(self._folder.path, "unused.safetensors"),
            grad_checkpoint=plan.save_memory,
        )
        self._say("train")
        if done < plan.steps:
            with contextlib.suppress(_Ended):
                train(
                    base.model,
                    optimizer,
                    examples,
                    None,
                    arguments,
                    iterate_batches=feed,
                    training_callback=_Report(report),
                )
            if state.step > state.saved:
                save()
        return state.step, state.loss

    def _write_adapter(self, base: Base) -> None:
        """mlx-lm's two files. Raises DiskFull."""
        import json

        from mlx.utils import tree_flatten

        plan = self._plan
        weights: Any = dict(tree_flatten(base.model.trainable_parameters()))
        config = {
            "fine_tune_type": "lora",
            "num_layers": self._layers,
            "lora_parameters": {"rank": plan.rank, "scale": SCALE, "dropout": 0.0},
        }
        path = self._folder.path
        write_private(os.path.join(path, WEIGHTS), checkpoints.safetensors(weights, {"format": "mlx"}))
        write_private(os.path.join(path, CONFIG), json.dumps(config, indent=1).encode())


class _Report:
    """What mlx-lm's tuner calls after each step."""

    def __init__(self, told: Callable[[dict[str, Any]], None]) -> None:
        self.on_train_loss_report = told

    def on_val_loss_report(self, info: dict[str, Any]) -> None:
        """Held-out examples are measured before and after, not in between."""


class _State:
    __slots__ = ("loss", "saved", "step")

    def __init__(self, step: int, loss: float, saved: int) -> None:
        self.step = step
        self.loss = loss
        self.saved = saved
