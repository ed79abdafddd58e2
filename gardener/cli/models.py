"""`gardener models`: which model fits this machine, which are here, which is in memory."""

from __future__ import annotations

import argparse

from gardener.cli.console import Console, one_line, size
from gardener.cli.target import add_common_options, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gardener.app import Gardener
    from gardener.machine_models import Machine
    from gardener.models.catalog import CatalogModel
    from gardener.models.fit import Fit

    Action = Callable[[argparse.Namespace, Gardener, Console], int]

EXAMPLES = """examples:
  gardener models recommend                   the catalogue, with what fits this machine
  gardener models recommend --context 32768   with room for a longer window
  gardener models check qwen3-coder-30b       what one model needs, and what there is
  gardener models check ~/models/my-model     the same for a folder
  gardener models list                        what is here: MLX folders, Ollama's, the server's
  gardener models pull qwen2.5-coder-7b       download it, after asking
  gardener models use qwen2.5-coder:7b        for all projects that have not chosen another
  gardener models use my-model --project shop
  gardener models ps                          what is in memory now
"""

_SHORT_WIDTH = 100
"""On a terminal narrower than this the licence and the context are left out of the table."""


def configure_models(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION")

    def action(name: str, help: str, run: Action) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help, description=help[:1].upper() + help[1:] + ".")
        add_common_options(added)

        def opened(args: argparse.Namespace, console: Console) -> int:
            with open_gardener(console) as gardener:
                return run(args, gardener, console)

        added.set_defaults(run=opened)
        return added

    def fit_options(added: argparse.ArgumentParser) -> None:
        added.add_argument("--context", type=_tokens, metavar="N", help="tokens of the window (default: the setting)")
        added.add_argument(
            "--runtime", choices=("mlx", "ollama"), help="which runtime's files (default: this machine's)"
        )

    from gardener.cli import models_change, models_local

    fit_options(action("recommend", "the catalogue, with what fits this machine", _recommend))
    check = action("check", "what one model needs, what there is, what would be left", _check)
    check.add_argument("name", metavar="NAME", help="a name of the catalogue, a folder, or a name of `list`")
    fit_options(check)
    listing = action("list", "the models that are here (the default)", models_local.list_models)
    parser.set_defaults(run=listing.get_default("run"))
    pull = action("pull", "download a model", models_change.pull)
    pull.add_argument("name", metavar="NAME", help="a name of the catalogue, or any of Ollama's")
    pull.add_argument("--runtime", choices=("mlx", "ollama"), help="for which runtime (default: this machine's)")
    pull.add_argument("--yes", "-y", action="store_true", help="do not ask")
    remove = action("rm", "delete a model from the disk", models_change.remove)
    remove.add_argument("name", metavar="NAME", help="a name of `gardener models list`")
    remove.add_argument("--yes", "-y", action="store_true", help="do not ask")
    use = action("use", "answer with this model", models_change.use)
    use.add_argument("name", metavar="NAME", help="a name of `gardener models list`, or a folder")
    use.add_argument("--project", "-p", metavar="NAME", help="for this project only")
    action("ps", "the models in memory, in the app and in Ollama", models_local.ps)


def _tokens(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"a number of tokens, not {text!r}")
    return int(text)


# ---- fit ----------------------------------------------------------------------------------------------------


def _machine(gardener: Gardener, args: argparse.Namespace) -> Machine:
    from gardener.machine_models import Machine

    return Machine(gardener, runtime=args.runtime, context=args.context)


def speed_text(fit: Fit) -> str:
    return "" if fit.tokens_per_s is None else f"~{fit.tokens_per_s:.0f} tok/s"


def leaves_text(fit: Fit) -> str:
    return size(fit.leaves) if fit.leaves >= 0 else f"-{size(-fit.leaves)}"


def _recommend(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.machine_models import best_of, recommended
    from gardener.model_listing import recommendation_json

    machine = _machine(gardener, args)
    if console.as_json:
        console.json(recommendation_json(machine))
        return 0
    found = recommended(machine)
    best = best_of(found)
    console.note(machine.sentence())
    rows = []
    for model, fit in found:
        build = model.build(machine.runtime)
        assert build is not None
        about = "~" if build.estimated else ""
        rows.append(
            {
                "model": model.id,
                "fit": fit.label,
                "needs": about + size(fit.needs.total),
                "leaves": leaves_text(fit),
                "speed": speed_text(fit),
                "window": f"{model.context // 1024}k",
                "licence": model.licence,
                "for": model.purpose,
            }
        )
    console.table(rows, _columns(console, machine.hardware.bandwidth_gbs is not None))
    _explain(console, machine, best)
    return 0


def _columns(console: Console, with_speed: bool) -> list[str]:
    columns = ["model", "fit", "needs", "leaves", *(["speed"] if with_speed else [])]
    if console.stdout.isatty():
        import shutil

        if shutil.get_terminal_size().columns < _SHORT_WIDTH:
            return columns
    return [*columns, "window", "licence", "for"]


def _explain(console: Console, machine: Machine, best: CatalogModel | None) -> None:
    tokens = machine.context(machine.runtime)
    console.note(f"needs: weights, keys and values of {tokens:,} tokens, working memory; ~ is an estimate.")
    if machine.hardware.bandwidth_gbs is None:
        console.note("Speeds are not estimated: this machine's memory bandwidth is not known.")
    if best is not None:
        console.note(f"Largest for code that fits with room to spare: gardener models pull {best.id}")
    else:
        console.note("None of these fits with room to spare; Gardener answers without a model, too.")


def _check(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    """Exit code 5 when it is too large, for scripts."""
    from gardener.errors import ModelTooLarge
    from gardener.model_listing import check_model

    machine = _machine(gardener, args)
    entry, title, fit, longest = check_model(gardener, machine, args.name, args.runtime)
    if console.as_json:
        console.json({**entry, "hardware": machine.hardware.as_json()})
    else:
        console.note(machine.sentence())
        wanted = args.context or fit.context
        console.line(console.bold(one_line(title)))
        console.line(f"  fit      {fit.label}")
        console.line(
            f"  needs    {size(fit.needs.total)}: weights {size(fit.needs.weights)}, keys and values of "
            f"{fit.context:,} tokens {size(fit.needs.kv)}, working memory {size(fit.needs.overhead)}"
        )
        console.line(f"  has      {size(fit.has)}")
        console.line(f"  leaves   {leaves_text(fit)}")
        if fit.tokens_per_s is not None:
            console.line(f"  speed    about {fit.tokens_per_s:.0f} tokens/s with a full window (an estimate)")
        if wanted > longest:
            console.note(f"The model's window ends at {longest:,} tokens.")
    if fit.label == "too large":
        console.note("It would be refused before it is loaded. Which do fit: gardener models recommend")
        return ModelTooLarge.exit_code
    return 0
