"""`gardener diagnostics`: a file for whoever helps you, shown before it is written, and never sent."""

from __future__ import annotations

from gardener.cli.console import Console, inert, size
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_diagnostics(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """Versions, findings, settings without what you typed, sizes, counts, times, and the last
errors of the logs. No text of repositories, no questions, no names of projects, files, people or machines, no
addresses, no tokens. It is never sent: you look at it, and give it to whom you like.

examples:
  gardener diagnostics                       says what would be in it, asks, writes it to this folder
  gardener diagnostics --show                prints all of it first
  gardener diagnostics --output report.tar.gz --yes
"""
    parser.add_argument("--output", "-o", default="", metavar="FILE", help="a file that does not exist yet (tar.gz)")
    parser.add_argument("--show", action="store_true", help="print everything that would be in it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=diagnostics)


def diagnostics(args: argparse.Namespace, console: Console) -> int:
    from gardener.checks import all_checks
    from gardener.diagnostics.bundle import default_name, files, packed, refuse_existing, write
    from gardener.diagnostics.collect import collect
    from gardener.errors import UsageError
    from gardener.health.check import run_checks
    from gardener.server.app_state import ask_app

    path = args.output or default_name()
    refuse_existing(path)
    with open_gardener(console) as gardener:
        console.progress("Making every check")
        findings = run_checks(all_checks(gardener, lambda: ask_app(gardener.paths)))
        console.progress("Putting together what may be shown")
        contents = files(collect(gardener, lambda: ask_app(gardener.paths), findings))
    data = packed(contents)
    rows = [{"name": name, "bytes": len(text)} for name, text in contents.items()]
    if not console.as_json:
        for name, text in contents.items():
            if args.show:
                console.line(f"==> {name}")
                console.line(inert(text.decode()))
            else:
                console.line(f"{size(len(text)):>8}  {name}")
    shown = {name: text.decode() for name, text in contents.items()} if args.show else None
    if not (args.yes or console.confirm(f"Write these {len(contents)} files to {path}? Nothing is sent.")):
        if not (args.show or console.interactive):
            raise UsageError(f"{path} was not written: say --yes.", next_step="gardener diagnostics --yes")
        if console.as_json:
            console.json({"file": None, "bytes": 0, "files": rows, "contents": shown})
        console.note("Nothing was written.")
        return 0
    write(path, data)
    if console.as_json:
        console.json({"file": path, "bytes": len(data), "files": rows} | ({"contents": shown} if shown else {}))
        return 0
    console.line(f"{path}  {size(len(data))}")
    console.note("It was sent to nobody. Look at it once more, and give it to whom you like.")
    return 0
