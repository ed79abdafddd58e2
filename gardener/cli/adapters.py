"""`gardener adapters`: what a project has trained on the base model, which of it is on, and taking it off."""

from __future__ import annotations

from gardener.cli.console import Console, one_line, size
from gardener.cli.target import add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


_ACTIONS = ("list", "use", "off", "remove")


def configure_adapters(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener adapters                      those of the active project, the one in use marked
  gardener adapters use house-style      from the next answer on; the base model stays in memory
  gardener adapters off                  the base model alone
  gardener adapters remove house-style
"""
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="what to do")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the adapter, for use and remove")
    parser.add_argument("--even-if-worse", action="store_true", help="use it although it did worse than the base")
    parser.add_argument("--yes", action="store_true", help="do not ask before removing")
    add_project_option(parser)
    parser.set_defaults(run=adapters)


def adapters(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import UsageError

    if args.action in ("use", "remove") and not args.name:
        raise UsageError(f"Which adapter? gardener adapters {args.action} NAME", next_step="gardener adapters list")
    if args.action in ("list", "off") and args.name:
        raise UsageError(f"`adapters {args.action}` takes no name.", next_step="gardener adapters --help")
    with open_gardener(console) as gardener:
        context = gardener.context(args.project)
        if args.action == "list":
            return _list(console, context)
        if args.action == "use":
            return _use(gardener, console, context, args.name, even_if_worse=args.even_if_worse)
        if args.action == "off":
            return _off(gardener, console, context)
        return _remove(console, context, args.name, sure=args.yes)


def _list(console: Console, context: ProjectContext) -> int:
    from gardener.project_adapters import adapters_json

    listed = adapters_json(context)
    if console.as_json:
        console.json(listed)
        return 0
    if listed["adapters"]:
        console.table([_row(entry, context) for entry in listed["adapters"]], ["", "name", "size", "base", "state"])
    else:
        console.line(f"{context.name} has no adapters.")
    for name, step in listed["unfinished"].items():
        console.note(f"A training of {name} was stopped at step {step:,}: gardener train --name {name} --resume")
    return 0


def _row(entry: dict[str, Any], context: ProjectContext) -> dict[str, str]:
    from gardener.training.evaluate import is_worse

    sizes = entry.get("sizes")
    held = sum(value for value in sizes.values() if isinstance(value, int)) if isinstance(sizes, dict) else 0
    return {
        "": "*" if entry["name"] == context.adapter else "",
        "name": entry["name"],
        "size": size(held) if held else "",
        "base": one_line(str(entry.get("base_name") or entry.get("base", "")))[:40],
        "state": one_line(entry["problem"]) or ("whole, worse than the base" if is_worse(entry) else "whole"),
    }


def _use(gardener: Gardener, console: Console, context: ProjectContext, name: str, *, even_if_worse: bool) -> int:
    from gardener.project_adapters import use_adapter

    context = use_adapter(gardener, context, name, even_if_worse=even_if_worse)
    console.line_unless_json(f"{context.name} uses the adapter {name} from its next answer on.")
    if not gardener.settings.text("mlx.model"):
        console.note("Adapters need an MLX model, and none is chosen: gardener models recommend")
    if console.as_json:
        console.json({"project": context.name, "active": name})
    return 0


def _off(gardener: Gardener, console: Console, context: ProjectContext) -> int:
    from gardener.project_adapters import adapter_off

    was = adapter_off(gardener, context)
    console.line_unless_json(
        f"{context.name} uses the base model alone; {was} is kept." if was else f"{context.name} uses no adapter."
    )
    if console.as_json:
        console.json({"project": context.name, "active": "", "was": was})
    return 0


def _remove(console: Console, context: ProjectContext, name: str, *, sure: bool) -> int:
    from gardener.project_adapters import refuse_in_use, remove_adapter

    refuse_in_use(context, name)
    if not sure and not console.confirm(f"Remove the adapter {name} of {context.name} for good?"):
        console.note("Nothing was removed.")
        return 1
    remove_adapter(context, name)
    console.line_unless_json(f"The adapter {name} of {context.name} was removed.")
    if console.as_json:
        console.json({"project": context.name, "removed": name})
    return 0
