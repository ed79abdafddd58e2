"""`gardener help`: a command's help, and the pages that belong to no command."""

from __future__ import annotations

from gardener.cli.console import Console
from gardener.errors import EXIT_CODES, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a command, exit-codes, environment or files")
    parser.set_defaults(run=show_help)


def show_help(args: argparse.Namespace, console: Console) -> int:
    from gardener.cli.commands import COMMANDS
    from gardener.cli.main import build_parser, run

    topic = args.topic
    if topic is None:
        return run(["--help"])
    if topic in COMMANDS:
        console.line(build_parser(COMMANDS[topic]).format_help().rstrip())
        return 0
    if topic == "exit-codes":
        if console.as_json:
            console.json({"exit_codes": {str(code): text for code, text in EXIT_CODES.items()}})
            return 0
        for code, text in EXIT_CODES.items():
            console.line(f"{code:>4}  {text}")
        return 0
    if topic == "environment":
        from gardener.settings_schema import SETTINGS

        console.line("GARDENER_HOME                             the data folder, an absolute path")
        console.line("NO_COLOR                                  no colour, whatever the terminal")
        for setting in SETTINGS:
            console.line(f"{setting.variable:<42}{setting.description}")
        return 0
    if topic == "files":
        from gardener.paths import Paths
        from gardener.settings_file import PROJECT_FILE

        paths = Paths(console.home)
        for path, text in (
            (paths.config, "your settings"),
            (paths.state_db, "projects, the active one, conversations"),
            (paths.health_db, "issues, alerts and the last round of checks"),
            (paths.projects, "an index per project"),
            (paths.embeddings, "vectors by content, shared by all projects"),
            (paths.models, "the embedder, made once from the packaged weights"),
            (paths.trash, "removed projects, until they are purged"),
            (paths.logs, "logs, secrets left out"),
            (paths.run, "what the running app needs others to know"),
            (PROJECT_FILE, "settings of one repository"),
            (".gardenerignore", "what not to index there, written as in .gitignore"),
        ):
            console.line(f"{path}\n    {text}")
        return 0
    raise UsageError(f"There is no help on '{topic}'.", next_step="gardener help")
