"""`gardener add`: register a folder and make it searchable."""

from __future__ import annotations

from gardener.cli.console import Console, duration
from gardener.cli.target import open_gardener
from gardener.sizes import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any


def configure_add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener add .                     this folder, under its own name
  gardener add ~/code/shop --name shop
  gardener add . --wait              return when every vector is made, too
"""
    parser.add_argument("path", metavar="PATH", help="the project's folder")
    parser.add_argument("--name", metavar="NAME", help="call it this instead of the folder's name")
    parser.add_argument("--wait", action="store_true", help="make all vectors before returning")
    parser.add_argument("--no-vectors", action="store_true", help="make no vectors now; search makes those it needs")
    parser.add_argument("--no-switch", action="store_true", help="leave the active project as it is")
    parser.add_argument("--nested", action="store_true", help="allow a folder inside another project, or around it")
    parser.add_argument("--force", action="store_true", help="allow the home folder or the root of the file system")
    parser.set_defaults(run=add)


def add(args: argparse.Namespace, console: Console) -> int:
    from gardener.cli.index import bring_up_to_date, make_vectors
    from gardener.project_list import add_project

    with open_gardener(console) as gardener:
        before = gardener.registry.active()
        context = add_project(gardener, args.path, args.name, nested=args.nested, force=args.force)
        console.note(f"Reading {context.root}")
        report = bring_up_to_date(gardener, console, context, vectors=not args.no_vectors and not args.wait)
        active = gardener.registry.active()
        if not args.no_switch and (active is None or active.id != context.id):
            active = gardener.switch(context.id)
        note_index(console, context.name, report)
        vectors = make_vectors(gardener, console, context, wait=args.wait, skip=args.no_vectors)
        if console.as_json:
            console.json(
                {
                    "project": context.as_json(),
                    "active": bool(active and active.id == context.id),
                    "index": report,
                    "vectors": vectors,
                }
            )
            return 0
        if before is not None and active is not None and active.id == context.id:
            console.note(f"'{context.name}' is now the active project (it was '{before.name}').")
        if report["files"]:
            console.note('Next: gardener ask "what does this project do?"')
    return 0


def note_index(console: Console, name: str, report: Mapping[str, Any]) -> None:
    """What the index holds now, and what was left out and why."""
    from gardener.projects.names import shell_word

    took = float(report["seconds"])
    console.line_unless_json(
        f"{name}: {counted(report['files'], 'file')}, {counted(report['lines'], 'line')}, "
        f"{counted(report['chunks'], 'chunk')}; "
        f"searchable after {f'{took:.1f} s' if took < 10 else duration(took)}."
    )
    if report["skipped"]:
        reasons = sorted(report["skipped"].items(), key=lambda item: -item[1])
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons[:6])
        console.note(f'Left out: {listed}. Which and why: gardener show "{name}" --skipped')
    if report["secrets"]:
        found = report["secret_files"]
        console.note(
            f"{report['secrets']:,} secrets were kept out of the index, in "
            f'{", ".join(found[:3])}{" …" if len(found) > 3 else ""}: gardener show "{name}" --secrets'
        )
    if not report["files"]:
        console.note("There is nothing to index here: the folder has no text files that the rules let through.")
        console.note(f"When it has some: gardener index --project {shell_word(name)}")
