"""`gardener switch`: another project, at once. On the path of every prompt, so it imports next to nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.cli.console import Console


def configure_switch(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener switch shop
  gardener switch -               back to the project before
"""
    parser.add_argument("name", metavar="NAME", help="the project to make active, or - for the one before")
    parser.set_defaults(run=switch)


def switch(args: argparse.Namespace, console: Console) -> int:
    from gardener.app import Gardener
    from gardener.cli.console import inert
    from gardener.resident_note import cost_of_switch

    with Gardener(console.home) as gardener:
        name = gardener.registry.previous().id if args.name == "-" else args.name
        context = gardener.switch(name)
        cost = cost_of_switch(gardener.paths, context)
    if console.as_json:
        console.json({"project": context.name, "id": context.id, "root": context.root, "cost": cost})
    else:
        console.line(f"{context.name}  {context.root}")
        if cost:
            console.note(inert(cost))
    return 0
