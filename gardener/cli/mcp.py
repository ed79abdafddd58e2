"""`gardener mcp`: the MCP server for an editor, on standard input and output; `gardener mcp install` sets one up."""

from __future__ import annotations

from gardener.cli.console import Console, json_text
from gardener.cli.target import add_project_option, open_gardener
from gardener.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.mcp.clients import Client
    from gardener.mcp.install import Change


def configure_mcp(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener mcp                               serve on standard input and output; an editor starts this
  gardener mcp --project shop                the same, for one project unless a call names another
  gardener mcp install claude-code           show the change to ~/.claude.json, ask, write it
  gardener mcp install vscode --project-scope     in .vscode/mcp.json of the project around you
  gardener mcp install zed --print           only print the entry
  gardener mcp install cursor --remove
"""
    parser.add_argument("action", nargs="?", choices=("install",), metavar="install", help="set a client up")
    parser.add_argument("client", nargs="?", metavar="CLIENT", help="with install: claude-code, cursor, vscode or zed")
    add_project_option(parser)
    parser.add_argument("--project-scope", action="store_true", help="the project's own file, not the user's")
    parser.add_argument("--print", dest="only_print", action="store_true", help="print the entry, write nothing")
    parser.add_argument("--remove", action="store_true", help="take the server out of the client's file")
    parser.add_argument("--yes", "-y", action="store_true", help="write without asking")
    parser.set_defaults(run=mcp)


def mcp(args: argparse.Namespace, console: Console) -> int:
    if args.action == "install":
        return _install(args, console)
    if args.project_scope or args.only_print or args.remove or args.yes:
        raise UsageError("These options belong to `install`.", next_step="gardener mcp install CLIENT")
    return _serve(args.project, console)


def _serve(project: str | None, console: Console) -> int:
    import os
    import sys

    from gardener.audit import process_actor
    from gardener.cli.index import resume_vectors
    from gardener.telemetry import configure_logging

    if sys.stdin is not None and sys.stdin.isatty():
        console.note("Waiting for an MCP client on standard input; Ctrl-C ends it. To set one up:")
        console.note("gardener mcp install CLIENT    (claude-code, cursor, vscode, zed)")
    with open_gardener(console) as gardener:
        configure_logging(gardener.paths, gardener.settings, "mcp")
        process_actor("mcp")
        if project:
            gardener.context(project)  # a wrong name is said now and not at every call
        from gardener.mcp.server import build_server
        from gardener.mcp.stdio import serve_stdio
        from gardener.server.mcp_engines import AppOrSelf

        engine = AppOrSelf(gardener, resume_vectors)
        serve_stdio(build_server(gardener, engine, project=project, folder=os.getcwd()))
    return 0


def _install(args: argparse.Namespace, console: Console) -> int:
    import os

    from gardener.mcp.clients import CLIENTS, SERVER_NAME
    from gardener.mcp.install import apply, plan

    client = CLIENTS.get(args.client or "")
    if client is None:
        raise UsageError(
            f"Which client? {args.client or 'None'} is not one of {', '.join(CLIENTS)}.",
            next_step="gardener mcp install claude-code",
        )
    root = _project_root(args.project, console) if args.project_scope else None
    path = os.path.join(root, client.project_file) if root is not None else client.user_file(os.environ)
    command = _command(console, shared=root is not None, project=args.project)
    if args.only_print:
        console.note(f"For {path}:")
        console.line(json_text({client.key: {SERVER_NAME: client.entry(command)}}, indent=2))
        return 0
    change = plan(client, path, command, inside=root, take_out=args.remove)
    if not change.needed:
        return _done(client, change, "unchanged", console, args.remove)
    _show(change, console)
    if not args.yes and not console.confirm(f"Write {change.file}?"):
        if not console.interactive:
            raise UsageError(
                f"{change.file} was not written: there is nobody to ask.",
                next_step=f"gardener mcp install {client.name} --yes",
            )
        console.note("Nothing was written.")
        return 0
    apply(change)
    return _done(client, change, "removed" if args.remove else "written", console, args.remove)


def _show(change: Change, console: Console) -> None:
    """The diff, on standard error when the result is to be JSON. Lines around may hold other servers' secrets."""
    from gardener.secret_patterns import redact_text

    for line in change.diff():
        (console.note if console.as_json else console.line)(redact_text(line))


def _done(client: Client, change: Change, outcome: str, console: Console, removed: bool) -> int:
    backup = change.backup if outcome != "unchanged" else ""
    if console.as_json:
        console.json({"client": client.name, "file": change.file, "outcome": outcome, "backup": backup or None})
        return 0
    if outcome == "unchanged":
        console.line(f"Nothing to do: {change.file} {'does not have' if removed else 'has'} Gardener already.")
        return 0
    console.line(f"Wrote {change.file}")
    if backup:
        console.note(f"As it was before: {backup}")
    if not removed:
        console.note(client.then)
    return 0


def _project_root(name: str | None, console: Console) -> str:
    import os

    with open_gardener(console) as gardener:
        if name:
            return gardener.context(name).root
        context = gardener.registry.containing(os.getcwd())
    if context is None:
        raise UsageError(
            f"{os.getcwd()} is in no project, so there is no file of one.",
            next_step="gardener mcp install CLIENT --project-scope --project NAME",
        )
    return context.root


def _command(console: Console, *, shared: bool, project: str | None) -> list[str]:
    """How a client starts us. Editors do not have the shell's PATH, so their own file gets the whole path; a file that
    a team shares gets the bare name."""
    import os
    import shutil
    import sys
    import sysconfig

    if shared:
        return ["gardener", "mcp"]
    installed = os.path.join(sysconfig.get_path("scripts"), "gardener")
    found = installed if os.access(installed, os.X_OK) else shutil.which("gardener")
    command = [os.path.abspath(found)] if found else [sys.executable, "-m", "gardener.cli.main"]
    command.append("mcp")
    if project:
        command += ["--project", project]
    home = console.home or os.environ.get("GARDENER_HOME")
    if home:  # an editor does not see the variables of this shell
        command += ["--home", os.path.abspath(home)]
    return command
