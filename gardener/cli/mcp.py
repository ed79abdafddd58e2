"""`gardener mcp`: the MCP server for an editor, on standard input and output; `gardener mcp install` sets one up."""

from __future__ import annotations

from gardener.cli.console import Console
from gardener.cli.target import add_project_option, open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_mcp(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener mcp                               serve on standard input and output; an editor starts this
  gardener mcp --project shop                the same, for one project unless a call names another
"""
    add_project_option(parser)
    parser.set_defaults(run=mcp)


def mcp(args: argparse.Namespace, console: Console) -> int:
    return _serve(args.project, console)


def _serve(project: str | None, console: Console) -> int:
    import os
    import sys

    from gardener.cli.index import resume_vectors
    from gardener.telemetry import configure_logging

    if sys.stdin is not None and sys.stdin.isatty():
        console.note("Waiting for an MCP client on standard input; Ctrl-C ends it. To set up an editor:")
        console.note("gardener mcp install claude-code|cursor|vscode|zed")
    with open_gardener(console) as gardener:
        configure_logging(gardener.paths, gardener.settings, "mcp")
        if project:
            gardener.context(project)  # a wrong name is said now and not at every call
        from gardener.mcp.server import build_server
        from gardener.mcp.stdio import serve_stdio
        from gardener.server.mcp_engines import AppOrSelf

        engine = AppOrSelf(gardener, resume_vectors)
        serve_stdio(build_server(gardener, engine, project=project, folder=os.getcwd()))
    return 0
