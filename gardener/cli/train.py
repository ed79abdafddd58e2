"""`gardener train`: teaches the base model a project's own code, with an adapter of a few megabytes."""

from __future__ import annotations

import contextlib

from gardener.cli.console import Console, duration, inert, one_line, size
from gardener.cli.target import add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Callable, Iterator
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext
    from gardener.project_training import TrainingReport

_PHASES = {
    "examples": "Collecting examples",
    "load": "Loading the model",
    "tokens": "Tokenising",
    "measure base": "Measuring the base",
    "train": "Training",
    "measure adapter": "Measuring the adapter",
}
_SHOWN_EXAMPLES = 3
_SHOWN_CHARACTERS = 600


def configure_train(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """The examples are the project's own: functions with their documentation, sections of
its documents, subjects of its commits. Secrets are left out, so are tests and other
people's code. A tenth of the files is held out; an adapter that does worse on them than
the base is not used.

examples:
  gardener train --dry-run               how many examples there are, and three of them
  gardener train                         train, measure, and use it from the next answer on
  gardener train --name house --steps 600
  gardener train --name house --resume   go on after Ctrl-C, a full disk or a crash
"""
    parser.add_argument("--name", default="own", metavar="NAME", help="what the adapter is called (default: own)")
    parser.add_argument("--model", default="", metavar="FOLDER", help="the MLX model (default: mlx.model)")
    parser.add_argument("--steps", type=int, metavar="N", help="batches (default: three rounds, 100 to 1,000)")
    parser.add_argument("--rank", type=int, metavar="R", help="size of the adapter's matrices (default: 8)")
    parser.add_argument("--batch", type=int, metavar="N", help="examples a step (default: 4)")
    parser.add_argument("--tokens", type=int, metavar="N", help="longest example (default: 1,024)")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="(default: 1e-5)")
    parser.add_argument("--dry-run", action="store_true", help="collect the examples and show them; train nothing")
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    parser.add_argument("--again", action="store_true", help="replace an unfinished run, or an adapter of this name")
    add_project_option(parser)
    parser.set_defaults(run=train)


def train(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import UsageError
    from gardener.project_training import TrainingRequest, train_project

    if args.resume and (args.again or args.dry_run):
        raise UsageError("--resume goes with neither --again nor --dry-run.", next_step="gardener train --help")
    with open_gardener(console) as gardener, _interrupt_cancels(console) as cancel:
        context = gardener.context(args.project)
        if args.dry_run:
            return _dry_run(gardener, context, console, cancel)
        request = TrainingRequest(
            name=args.name,
            model=args.model,
            steps=args.steps,
            rank=args.rank,
            batch=args.batch,
            tokens=args.tokens,
            learning_rate=args.learning_rate,
            resume=args.resume,
            again=args.again,
        )
        report = train_project(gardener, context, request, _show(console), cancel)
    return _tell(report, context, console)


@contextlib.contextmanager
def _interrupt_cancels(console: Console) -> Iterator[threading.Event]:
    """Ctrl-C sets the event, so that the work ends where it can be gone on with; a second one ends it at once."""
    import signal
    import threading
    from types import FrameType

    cancel = threading.Event()

    def interrupted(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        console.note("Stopping after this step; Ctrl-C again does not wait for it.")

    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def _show(console: Console) -> Callable[[dict[str, Any]], None]:
    def show(event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "phase":
            text = _PHASES.get(event["phase"], event["phase"])
            console.progress(text + (f" {event['done']:,} of {event['total']:,}" if event["total"] else ""))
        elif kind == "step":
            eta = f", {duration(event['eta_s'])} left" if event["eta_s"] else ""
            console.progress(
                f"Step {event['step']:,} of {event['steps']:,}, loss {event['loss']:.3f}, "
                f"{event['tokens_per_s']:,.0f} tokens/s, {size(event['peak_bytes'])}{eta}"
            )
            if event["step"] % max(1, event["steps"] // 10) == 0:  # what stays when nobody looks at a terminal
                console.note(f"Step {event['step']:,} of {event['steps']:,}: loss {event['loss']:.3f}{eta}")
        elif kind == "examples":
            console.note(f"{event['train']:,} examples, {event['tokens']:,} tokens; {event['held_out']:,} held out.")
            if event["cut"] or event["dropped"]:
                console.note(
                    f"{event['cut']:,} were too long and lost their end, {event['dropped']:,} were left out: --tokens"
                )
        elif kind == "resumed":
            console.note(
                f"Going on from step {event['step']:,}: matrices, optimizer and order of the batches restored."
            )

    return show


def _dry_run(gardener: Gardener, context: ProjectContext, console: Console, cancel: threading.Event) -> int:
    from gardener.project_training import project_examples

    examples = project_examples(
        gardener,
        context,
        lambda done, total: console.progress(f"{_PHASES['examples']} {done:,} of {total:,} files"),
        cancel,
    )
    every = max(1, len(examples.train) // _SHOWN_EXAMPLES)
    shown = examples.train[::every][:_SHOWN_EXAMPLES]
    if console.as_json:
        console.json({"project": context.name, **examples.as_json(), "shown": [example.as_json() for example in shown]})
        return 0
    counts: Any = examples.as_json()
    console.table(
        [
            {"kind": kind, "train": f"{count['train']:,}", "held out": f"{count['held_out']:,}"}
            for kind, count in counts["kinds"].items()
        ],
        ["kind", "train", "held out"],
    )
    left_out = ", ".join(f"{count:,} {why}" for why, count in examples.left_out.items())
    console.line(
        f"{len(examples.train):,} examples of {counts['characters']:,} characters, {len(examples.held_out):,} held out "
        f"with {examples.held_out_files:,} of {examples.files:,} files."
        + (f" Left out: {left_out}." if left_out else "")
    )
    for example in shown:
        console.line(f"\n---- {example.kind}, {one_line(example.path)}")
        console.line(inert(example.prompt[:_SHOWN_CHARACTERS]))
        console.line("---- answer")
        console.line(inert(example.completion[:_SHOWN_CHARACTERS]))
    return 0


def _tell(report: TrainingReport, context: ProjectContext, console: Console) -> int:
    from gardener.training.evaluate import WORSE, sentence

    if console.as_json:
        console.json({"project": context.name, **report.as_json()})
        return 1 if report.evaluation["verdict"] == WORSE else 0
    kinds = [
        {
            "kind": kind,
            "tokens": f"{found['tokens']:,}",
            "base": f"{found['base_loss']:.3f}",
            "adapter": f"{found['adapter_loss']:.3f}",
        }
        for kind, found in report.evaluation["kinds"].items()
    ]
    console.table(kinds, ["kind", "tokens", "base", "adapter"])
    numbers = sentence(report.evaluation)
    if report.active:
        console.line(f"{context.name} uses the adapter {report.name} from its next answer on: {numbers}.")
        return 0
    if report.evaluation["verdict"] != WORSE:
        console.line(f"The adapter {report.name} is better than the base: {numbers}.")
        console.note(
            f"It is not used, because {context.name} does not answer with {report.base_name}: gardener models use "
            f"{report.base_name} --project {context.name}, then gardener adapters use {report.name}"
        )
        return 0
    console.line(f"The adapter {report.name} is worse than the base: {numbers}.")
    if report.published:
        console.note(f"It was kept and is not used. All the same: gardener adapters use {report.name} --even-if-worse")
    else:
        console.note(
            f"The one that there was stays. More steps: gardener train --name {report.name} --resume --steps "
            f"{2 * report.steps}"
        )
    return 1
