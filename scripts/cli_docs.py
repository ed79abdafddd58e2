"""Writes docs/cli.md from the parsers of the commands themselves: python scripts/cli_docs.py [--check]"""

from __future__ import annotations

import argparse
import os
import re
import sys

from gardener.cli.commands import COMMANDS, GROUPS, Command
from gardener.cli.main import build_parser
from gardener.errors import EXIT_CODES
from gardener.settings_schema import SECTIONS, SETTINGS

TARGET = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "cli.md")
GLOBAL = ("--json", "--quiet", "--home", "--help")
"""What every command takes, and is therefore said once."""

INTRODUCTION = """\
<!-- Made by scripts/cli_docs.py from the commands' own parsers; change those and run it. -->
# Command line

Every command of `gardener`, from the same tables that make `gardener COMMAND --help`.

Data goes to standard output, messages and progress to standard error. Every command takes

- `--json`: print data as JSON;
- `--quiet`, `-q`: no messages or progress, errors only;
- `--home DIR`: use this data folder instead of `GARDENER_HOME`;
- `--help`, `-h`.
"""


def cli_page() -> str:
    """The whole page, as docs/cli.md must be."""
    parts = [INTRODUCTION]
    for group in GROUPS:
        parts.append(f"\n## {group.capitalize()}\n")
        parts += [_command(command) for command in COMMANDS.values() if command.group == group]
    parts.append("\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n")
    parts += [f"| {code} | {_cell(text)} |\n" for code, text in EXIT_CODES.items()]
    parts.append(
        "\nErrors go to standard error: what happened, and the next command to type. With `--json` they are\n"
        '`{"error": {"code", "message", "next_step", "exit_code"}}`.\n'
    )
    parts.append("\n## Environment\n\n| Variable | What it is |\n|---|---|\n")
    parts.append("| `GARDENER_HOME` | the data folder, an absolute path |\n")
    parts.append("| `NO_COLOR` | no colour, whatever the terminal |\n")
    parts += [_variables(section) for section in SECTIONS]
    return "".join(parts)


def _command(command: Command) -> str:
    parser = build_parser(command)
    text = f"\n### gardener {command.name}\n\n{command.help[:1].upper() + command.help[1:]}.\n"
    below = _below(parser)
    text += _table(parser, f"gardener {command.name}" + (" ACTION" if below else ""))
    for name, action in below.items():
        about = _help_of(parser, name)
        text += f"\n**`gardener {command.name} {name}`**" + (f": {_cell(about)}.\n" if about else "\n")
        text += _table(action, f"gardener {command.name} {name}")
    prose, examples = _epilog(parser)
    if prose:
        text += f"\n{prose}\n"
    if examples:
        text += f"\n```console\n{_typed(examples)}\n```\n"
    return text


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _help_of(parser: argparse.ArgumentParser, name: str) -> str:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return next((str(one.help or "") for one in action._choices_actions if one.dest == name), "")
    return ""


def _table(parser: argparse.ArgumentParser, begin: str) -> str:
    shown = [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        and not isinstance(action, argparse._SubParsersAction)
        and not set(action.option_strings) & set(GLOBAL)
    ]
    words = [_usage(action) for action in shown if not action.option_strings]
    options = " [options]" if any(action.option_strings for action in shown) else ""
    text = f"\n`{' '.join([begin, *words])}{options}`\n"
    if shown:
        text += "\n| | |\n|---|---|\n"
        text += "".join(f"| {_spelling(action)} | {_explained(action)} |\n" for action in shown)
    return text


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())


def _usage(action: argparse.Action) -> str:
    word = _metavar(action)
    return {"?": f"[{word}]", "*": f"[{word} …]", "+": f"{word} …"}.get(str(action.nargs), word)


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_cell(_metavar(action))}`"
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    return ", ".join(f"`{_cell(option + value)}`" for option in action.option_strings)


def _explained(action: argparse.Action) -> str:
    known = {"default": action.default, "prog": "gardener"}
    return _cell(
        re.sub(r"%\((default|prog)\)s", lambda found: str(known[found[1]]), action.help or "").replace("%%", "%")
    )


def _epilog(parser: argparse.ArgumentParser) -> tuple[str, str]:
    """What stands behind the first sentence of the help: prose in Markdown, and the examples as they are."""
    rest = (parser.description or "").split("\n\n", 1)[1] if "\n\n" in (parser.description or "") else ""
    prose, examples = [], []
    for part in rest.split("\n\n"):
        into = examples if part.startswith("examples:") or (examples and part.startswith(" ")) else prose
        into.append(part)
    return "\n\n".join(_prose(part) for part in prose if part.strip()), "\n\n".join(examples).removeprefix(
        "examples:\n"
    )


def _typed(examples: str) -> str:
    """Examples as they stand in the help, `  command   what it does`, as they stand on a terminal."""
    lines = []
    for line in examples.splitlines():
        command, _, comment = line.strip().partition("  ")
        if line.startswith("   ") and lines:  # what it does, gone on with
            lines[-1] += f" {line.strip()}"
        elif command:
            lines.append(f"$ {command}" + (f"    # {comment.strip()}" if comment.strip() else ""))
    return "\n".join(lines)


def _prose(text: str) -> str:
    return text.strip() if not text.startswith(" ") else f"```text\n{text.rstrip()}\n```"


def _variables(section: str) -> str:
    return "".join(f"| `{one.variable}` | the setting `{one.key}` |\n" for one in SETTINGS if one.section == section)


def _cell(text: str) -> str:
    """Text that stays within its cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    from generated_page import main

    sys.exit(main(TARGET, cli_page, __doc__))
