"""The `gardener` command: finds the module of the command that was asked for, and imports only that one.

Start-up is on the path of every shell prompt and editor hook, so nothing here imports what it does not need:
`gardener switch` as a whole process must stay within four times `python -c pass`.
"""

from __future__ import annotations

import argparse
import os
import sys

from gardener.cli.commands import COMMANDS, GROUPS, Command
from gardener.errors import GardenerError, Interrupted, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

EXAMPLES = """examples:
  gardener add ~/code/shop                  register a project and index it
  gardener ask "where are orders priced?"   an answer with file:line citations
  gardener search "retry with backoff"      the places themselves
  gardener switch shop                      another project, at once
  gardener ui                               the same in the browser
"""


# argparse looks for translations of its few words, which imports locale and searches folders: 2 ms for nothing.
setattr(argparse, "_", lambda text: text)  # noqa: B010


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """argparse makes a formatter for every option; without a width each would import shutil, which costs 2 ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS", "")) if "COLUMNS" in os.environ else os.get_terminal_size().columns
        except (ValueError, OSError):
            columns = 80
        super().__init__(prog, width=max(columns - 2, 40))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from gardener.cli.help_text import fitted

        return fitted(super()._fill_text(text, width, indent), self._width)


class Parser(argparse.ArgumentParser):
    """argparse that reports usage errors the way all other errors are reported, with the nearest word."""

    def error(self, message: str) -> NoReturn:
        from gardener.cli.usage_text import told

        said = told(self, message)
        if said is not None:
            raise UsageError(said[0], next_step=said[1])
        raise UsageError(message[:1].upper() + message[1:] + ".", next_step=f"{self.prog} --help")


def _global_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print data as JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="no messages or progress, errors only")
    parser.add_argument("--home", metavar="DIR", help="use this data folder instead of GARDENER_HOME")


def _help() -> str:
    lines = ["usage: gardener COMMAND [options]", "", EXAMPLES]
    for group in GROUPS:
        lines.append(f"{group}:")
        lines += [f"  {c.name:<14}{c.help}" for c in COMMANDS.values() if c.group == group]
        lines.append("")
    lines += [
        "every command: --help, --json, --quiet, --home DIR; most take --project NAME",
        "gardener help exit-codes | environment | files",
    ]
    from gardener.cli.help_text import fitted

    return fitted("\n".join(lines), HelpFormatter("gardener")._width)


def _find(name: str) -> Command:
    command = COMMANDS.get(name)
    if command is None:
        import difflib

        begun = [known for known in COMMANDS if known.startswith(name)]
        near = begun[:1] or difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UsageError(
            f"There is no command '{name}'.{hint}", next_step=f"gardener {near[0]}" if near else "gardener --help"
        )
    return command


def build_parser(command: Command) -> argparse.ArgumentParser:
    """The parser of one command, from its module."""
    import importlib

    parser = Parser(
        prog=f"gardener {command.name}",
        description=command.help[:1].upper() + command.help[1:] + ".",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    module = importlib.import_module(command.module)
    getattr(module, "configure_" + command.name.replace("-", "_"))(parser)
    _global_options(parser)
    if parser.epilog:  # examples first: they answer most questions
        parser.description = f"{parser.description}\n\n{parser.epilog.rstrip()}"
        parser.epilog = None
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code. Raises GardenerError for what the user should read."""
    words = list(arguments)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_help() + "\n")
        return 0
    if words[0] in ("-V", "--version", "version"):
        from gardener import __version__

        sys.stdout.write(f"gardener {__version__}\n")
        return 0
    # `gardener --home DIR add ...`: global options may also stand first.
    leading: list[str] = []
    while words and words[0].startswith("-"):
        leading.append(words.pop(0))
        if leading[-1] == "--home" and words:
            leading.append(words.pop(0))
    if not words:
        raise UsageError(f"No command after {leading[-1]}.", next_step="gardener --help")
    command = _find(words[0])
    parser = build_parser(command)
    options = parser.parse_args([*words[1:], *leading])
    if not hasattr(options, "run"):
        parser.print_help()
        return 2
    from gardener.cli.console import Console

    console = Console(as_json=options.json, home=options.home, quiet=options.quiet)
    try:
        return int(options.run(options, console) or 0)
    except GardenerError as error:
        error.next_step = _for_project(error.next_step, command.name, getattr(options, "project", None))
        raise
    finally:
        console.end_progress()


def _for_project(next_step: str, command: str, project: str | None) -> str:
    """The command to try, about the project that this one was about: without it another may be the active one.

    Not for `config`, whose --project says in which file a setting goes, which may be what was wrong.
    """
    first, comma, rest = next_step.partition(", ")
    words = first.split()
    if (
        not project
        or command == "config"
        or words[:2] != ["gardener", command]
        or {"--project", "-p", "--help"} & set(words)
    ):
        return next_step
    import shlex

    return f"{first} --project {shlex.quote(project)}{comma}{rest}"


def main() -> None:
    """The console script. Every way out has a documented exit code; none is a bare traceback."""
    os.umask(0o077)  # whatever a library creates below the home folder is the user's alone
    arguments = sys.argv[1:]
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _report(Interrupted("Interrupted. What was committed before stays."), arguments)
    except GardenerError as error:
        code = _report(error, arguments)
    except BrokenPipeError:
        # The reader (head, less) has what it wanted. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as error:  # argparse's --help
        code = error.code if isinstance(error.code, int) else 0
    except Exception as error:  # the last line of defence: say it, keep the trace in the log
        code = _report(_unexpected(error), arguments)
    sys.exit(code)


def _report(error: GardenerError, arguments: Sequence[str]) -> int:
    from gardener.cli.console import Console

    Console(as_json="--json" in arguments).error(error)
    return error.exit_code


def _unexpected(error: Exception) -> GardenerError:
    from gardener.paths import Paths, translate_os_error

    if isinstance(error, OSError) and error.errno is not None:
        known: GardenerError = translate_os_error(error, str(error.filename or "a file"))
        return known
    where = "the log"
    try:
        from gardener.telemetry import log_unexpected

        where = log_unexpected(Paths(), error)
    except Exception as second:  # the log itself may be what fails
        where = f"nowhere ({type(second).__name__}: {second})"
    return GardenerError(
        f"This is a fault in Gardener: {type(error).__name__}: {error}. The details are in {where}.",
        next_step="gardener doctor",
    )


if __name__ == "__main__":
    main()
