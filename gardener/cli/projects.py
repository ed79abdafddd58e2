"""`gardener list`, `rename`, `move`, `remove`, `restore`: the registry."""

from __future__ import annotations

from gardener.cli.console import Console, size
from gardener.cli.target import open_gardener
from gardener.sizes import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--removed", "--all", dest="all", action="store_true", help="those in the trash, too")
    parser.set_defaults(run=list_projects)


def list_projects(args: argparse.Namespace, console: Console) -> int:
    from gardener.project_list import project_entries

    with open_gardener(console) as gardener:
        entries = project_entries(gardener, include_removed=args.all)
    for entry in entries:
        if problem := entry["problem"]:
            console.note(f'{problem} Try: gardener index --rebuild --project "{entry["name"]}"')
    if console.as_json:
        console.json({"projects": entries})
        return 0
    if not entries:
        console.note("No projects yet. Register one: gardener add PATH")
        return 0
    console.table(
        [
            {
                "": "*" if entry["active"] else "",
                "name": str(entry["name"]),
                "files": f"{entry['files']:,}" if entry["indexed"] else "not indexed",
                "chunks": f"{entry['chunks']:,}" if entry["chunks"] else "",
                "state": "" if entry["state"] == "ok" else str(entry["state"]),
                "folder": str(entry["root"]),
            }
            for entry in entries
        ],
        ["", "name", "files", "chunks", "state", "folder"],
    )
    return 0


def configure_rename(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the project's name now")
    parser.add_argument("new_name", metavar="NEW_NAME", help="its new name")
    parser.set_defaults(run=rename)


def rename(args: argparse.Namespace, console: Console) -> int:
    with open_gardener(console) as gardener:
        context = gardener.registry.rename(args.name, args.new_name)
    if console.as_json:
        console.json({"project": context.as_json()})
    else:
        console.line(f"'{args.name}' is now called '{context.name}'.")
    return 0


def configure_move(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """example:
  gardener move shop ~/work/shop     the folder is there now; index and history are kept
"""
    parser.add_argument("name", metavar="NAME", help="the project")
    parser.add_argument("path", metavar="NEW_PATH", help="where its folder is now")
    parser.add_argument("--nested", action="store_true", help="allow a folder inside another project, or around it")
    parser.add_argument("--force", action="store_true", help="allow the home folder or the root of the file system")
    parser.set_defaults(run=move)


def move(args: argparse.Namespace, console: Console) -> int:
    from gardener.errors import ConflictError, InvalidPath
    from gardener.projects.names import shell_word

    with open_gardener(console) as gardener:
        try:
            context = gardener.registry.move(args.name, args.path, nested=args.nested, force=args.force)
        except (InvalidPath, ConflictError) as error:  # which name the command for a new project
            error.next_step = error.next_step.replace("gardener add ", f"gardener move {shell_word(args.name)} ", 1)
            raise
    if console.as_json:
        console.json({"project": context.as_json()})
    else:
        console.line(f"{context.name} is at {context.root} now.")
        console.note(
            f'What differs there is indexed at the next search, or now: gardener index --project "{context.name}"'
        )
    return 0


def configure_remove(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener remove shop             into the trash; the folder itself is never touched
  gardener restore shop            and back
  gardener remove shop --purge     for good: index, vectors no one else uses, history
"""
    parser.add_argument("name", metavar="NAME", help="the project")
    parser.add_argument("--purge", action="store_true", help="delete everything that Gardener keeps of it, for good")
    parser.add_argument("--yes", action="store_true", help="do not ask before purging")
    parser.set_defaults(run=remove)


def remove(args: argparse.Namespace, console: Console) -> int:
    import os

    from gardener.errors import UsageError

    with open_gardener(console) as gardener:
        if not args.purge:
            context = gardener.registry.remove(args.name)
            if console.as_json:
                console.json({"removed": context.as_json(), "purged": False})
            else:
                there = os.path.isdir(context.root)
                folder = f"its folder {context.root} " + ("is as it was" if there else "was gone before")
                console.line(f"{context.name} is in the trash; {folder}.")
                console.note(f'Undo: gardener restore "{context.name}"')
            return 0
        if not args.yes and not console.confirm(
            f"Delete the index, the vectors and all conversations of '{args.name}' for good?"
        ):
            raise UsageError(
                f"Nothing was deleted: purging '{args.name}' needs a yes.",
                next_step=f'gardener remove "{args.name}" --purge --yes',
            )
        report = gardener.purge(args.name)
    if console.as_json:
        console.json({"removed": report.as_json(), "purged": True})
        return 0
    console.line(
        f"{report.name} is gone for good: {counted(report.files, 'file')} ({size(report.bytes)}), "
        f"{counted(report.conversations, 'conversation')}, {counted(report.vectors, 'shared vector')}."
    )
    console.note(
        "Not touched: backups from before still hold it until they are thinned out (gardener backup list); the main "
        "and the error log, issues and alerts may still name it until they are rotated away."
    )
    return 0


def configure_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the project in the trash")
    parser.add_argument("--name", dest="new_name", metavar="NEW_NAME", help="restore it under another name")
    parser.set_defaults(run=restore)


def restore(args: argparse.Namespace, console: Console) -> int:
    import os

    with open_gardener(console) as gardener:
        context = gardener.registry.restore(args.name, new_name=args.new_name)
    if console.as_json:
        console.json({"project": context.as_json()})
    else:
        console.line(f"{context.name} is back: {context.root}")
        if not os.path.isdir(context.root):
            console.note(f'Its folder is gone. Where is it now? gardener move "{context.name}" NEW_PATH')
    return 0
