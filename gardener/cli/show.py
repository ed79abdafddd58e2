"""`gardener show`: one project in full, or what was left out of its index and why."""

from __future__ import annotations

from gardener.cli.console import Console, size
from gardener.cli.target import open_gardener
from gardener.sizes import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def configure_show(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener show                   the active project
  gardener show shop --skipped    every file that is not indexed, with the reason
  gardener show shop --secrets    which secrets were kept out, by file and line
"""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the project (default: the active one)")
    parser.add_argument("--project", "-p", dest="named", metavar="NAME", help="the same")
    parser.add_argument("--skipped", action="store_true", help="list what is not indexed and why")
    parser.add_argument("--secrets", action="store_true", help="list where secrets were kept out")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace, console: Console) -> int:
    with open_gardener(console) as gardener:
        context = gardener.context(args.name or args.named)
        if args.skipped:
            return _skipped(gardener, context, console)
        if args.secrets:
            return _secrets(gardener, context, console)
        return _project(gardener, context, console)


def _project(gardener: Gardener, context: ProjectContext, console: Console) -> int:
    from gardener.projects import checkout

    state = gardener.index_state(context)
    facts = gardener.index(context).indexer.manifest.facts()
    languages = gardener.index(context).languages()
    disk = _folder_bytes(context.home)
    if console.as_json:
        console.json(
            {
                "project": context.as_json(),
                "git": {"head": state.current_head, "branch": checkout.branch(context.root)},
                "index": state.as_json(),
                "lines": int(facts.get("lines", "0")),
                "languages": languages,
                "disk_bytes": disk,
            }
        )
        return 0
    head = (state.current_head or "")[:10]
    branch = checkout.branch(context.root)
    console.line(console.bold(context.name))
    console.line(f"  folder     {context.root}")
    git = f"{branch or '(detached)'} at {head}" if head else "not a git repository"
    console.line(f"  git        {git}")
    if not facts.get("table_version"):
        console.line(f'  index      none yet: gardener index --project "{context.name}"')
        return 0
    fresh = (
        "matches the disk" if state.fresh else f"{counted(state.changed_files, 'file')} behind the disk: gardener index"
    )
    console.line(
        f"  index      {counted(state.files, 'file')}, {counted(int(facts.get('lines', '0')), 'line')}, "
        f"{counted(state.chunks, 'chunk')}; {fresh}"
    )
    console.line(f"  vectors    {state.embedded_fraction:.0%}")
    top = sorted(languages.items(), key=lambda item: -item[1])[:8]
    console.line(f"  languages  {', '.join(f'{name} {count:,}' for name, count in top)}")
    console.line(f"  disk       {size(disk)} in {context.home}")
    return 0


def _skipped(gardener: Gardener, context: ProjectContext, console: Console) -> int:
    entries = gardener.index(context).skipped()
    if console.as_json:
        console.json({"project": context.name, "skipped": entries})
        return 0
    if not entries:
        console.note("Nothing was left out.")
        return 0
    console.table(entries, ["reason", "path", "detail"])
    return 0


def _secrets(gardener: Gardener, context: ProjectContext, console: Console) -> int:
    entries = [
        {"path": record.path, "line": line, "kind": kind}
        for record in gardener.index(context).indexer.manifest.files().values()
        for line, _, kind in (finding.partition(":") for finding in record.secrets.split())
    ]
    if console.as_json:
        console.json({"project": context.name, "secrets": entries})
        return 0
    if not entries:
        console.note("No secrets were found.")
        return 0
    console.table(entries, ["path", "line", "kind"])
    return 0


def _folder_bytes(folder: str) -> int:
    import os

    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue  # a table version that was just cleaned up
    return total
