"""`gardener config`: show, get, set, unset, validate, path. It works when a file is wrong, to repair it."""

from __future__ import annotations

import argparse
import os

from gardener.cli.target import add_common_options
from gardener.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gardener.cli.console import Console
    from gardener.settings import Settings, Sources
    from gardener.settings_file import Problem
    from gardener.types import ProjectContext

EXAMPLES = """examples:
  gardener config show --origin             every setting and where its value comes from
  gardener config get search.limit
  gardener config set search.limit 20
  gardener config set index.exclude 'docs/old/' '*.min.js'
  gardener config set answer.hits 5 --project shop     in the project's own .gardener.toml
  gardener config unset search.limit
  gardener config validate                  what is wrong, with file, line and allowed values
"""


def configure_config(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(metavar="ACTION", title="actions")

    def action(name: str, help: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help, description=help[:1].upper() + help[1:] + ".")
        add_common_options(added)
        if name != "validate":
            added.add_argument("--project", metavar="NAME", help="with the project's own .gardener.toml")
        return added

    show = action("show", "all settings")
    show.add_argument("--origin", action="store_true", help="also where each value comes from")
    show.set_defaults(run=run_show)
    get = action("get", "the value in force")
    get.add_argument("key", metavar="KEY", help="a setting, as search.limit")
    get.set_defaults(run=run_get)
    change = action("set", "write a value into your settings, or into a project's")
    change.add_argument("key", metavar="KEY", help="a setting, as search.limit")
    change.add_argument("words", metavar="VALUE", nargs="+", help="several for a list")
    change.set_defaults(run=run_set)
    unset = action("unset", "remove a value, so that the default is in force again")
    unset.add_argument("key", metavar="KEY", help="a setting, as search.limit")
    unset.set_defaults(run=run_unset)
    validate = action("validate", "look for mistakes in the settings files and the environment")
    validate.add_argument("file", metavar="FILE", nargs="?", help="only this file")
    validate.add_argument("--project", metavar="NAME", help="also the project's own .gardener.toml")
    validate.set_defaults(run=run_validate)
    path = action("path", "where the settings file is, or would be")
    path.set_defaults(run=run_path)


def run_show(arguments: argparse.Namespace, console: Console) -> int:
    from gardener.settings_kind import toml_value

    settings, problems = _load(arguments, console)
    if console.as_json:
        rows = [settings.entry(key) for key, _, _ in settings.items()]
        found = [problem.as_json() for problem in problems]
        console.json({"settings": rows, "warnings": list(settings.warnings), "problems": found})
        return 0
    columns = ["setting", "value", *(["origin"] if arguments.origin else [])]
    rows_shown = [{"setting": k, "value": toml_value(v), "origin": str(of)} for k, v, of in settings.items()]
    console.table(rows_shown, columns)
    return 0


def run_get(arguments: argparse.Namespace, console: Console) -> int:
    from gardener.settings_kind import toml_value

    settings, _ = _load(arguments, console)
    value = settings.value(arguments.key)
    if console.as_json:
        console.json(settings.entry(arguments.key))
    elif isinstance(value, tuple):
        for text in value:
            console.line(text)
    else:
        console.line(value if isinstance(value, str) else toml_value(value))
    return 0


def run_set(arguments: argparse.Namespace, console: Console) -> int:
    from gardener.errors import ConfigError
    from gardener.settings_edit import file_for, set_value
    from gardener.settings_kind import InvalidValue, toml_value
    from gardener.settings_schema import find_setting

    setting = find_setting(arguments.key)
    words: list[str] = arguments.words
    try:
        if len(words) == 1:
            value = setting.parse(words[0])
        else:
            value = setting.check(words if setting.kind == "texts" else " ".join(words))
    except InvalidValue as error:
        step = f"gardener config get {setting.key}"
        raise ConfigError(f"{setting.key} {error}.", next_step=step) from error
    sources = _sources(arguments, console)
    path = file_for(sources, setting, _shell(words))
    remaining = set_value(sources.paths, path, setting.key, value)
    settings, _ = _load(arguments, console, quiet=True)
    if console.as_json:
        console.json(settings.entry(setting.key))
    console.note(f"{setting.key} = {toml_value(value)} in {path}")
    _note_effect(settings, setting.key, path, console)
    _note_problems(remaining, console)
    return 0


def run_unset(arguments: argparse.Namespace, console: Console) -> int:
    from gardener.settings_edit import unset_value
    from gardener.settings_kind import toml_value
    from gardener.settings_schema import BY_KEY, find_setting

    sources = _sources(arguments, console)
    path = sources.project_file or sources.paths.config
    was_there, remaining = unset_value(sources.paths, path, arguments.key)
    if not was_there:
        find_setting(arguments.key)  # a key that exists nowhere is an error; one that is not set is not
    if arguments.key in BY_KEY:
        settings, _ = _load(arguments, console, quiet=True)
        if console.as_json:
            console.json(settings.entry(arguments.key))
        now = f"{toml_value(settings.value(arguments.key))} ({settings.origin(arguments.key)})"
        state = "removed from" if was_there else "was not set in"
        console.note(f"{arguments.key} {state} {path}; in force: {now}")
    else:
        console.note(f"{arguments.key} removed from {path}")
    _note_problems(remaining, console)
    return 0


def run_validate(arguments: argparse.Namespace, console: Console) -> int:
    from gardener.settings_file import config_error

    if arguments.file is not None:
        checked, problems, warnings = [os.path.abspath(arguments.file)], _file_problems(arguments.file), []
    else:
        sources = _sources(arguments, console)
        settings, problems = _load(arguments, console, quiet=True)
        warnings = list(settings.warnings)
        checked = [path for path in sources.files() if os.path.lexists(path)]
    if console.as_json:
        found = [problem.as_json() for problem in problems]
        console.json({"valid": not problems, "files": checked, "problems": found, "warnings": warnings})
    for sentence in warnings:
        console.note(sentence)
    if problems:
        raise config_error(problems)
    for path in checked:
        console.note(f"{path}: no mistakes")
    if not checked:
        console.note("There is no settings file; everything has its default.")
    return 0


def run_path(arguments: argparse.Namespace, console: Console) -> int:
    sources = _sources(arguments, console)
    path = sources.project_file or sources.paths.config
    if console.as_json:
        console.json({"path": path, "exists": os.path.exists(path)})
    else:
        console.line(path)
    return 0


def _sources(arguments: argparse.Namespace, console: Console) -> Sources:
    from gardener.settings import Sources

    project = _project(arguments, console)
    if project is None:
        return Sources(Paths(console.home))
    return Sources(Paths(console.home), project.root, project.trusted)


def _project(arguments: argparse.Namespace, console: Console) -> ProjectContext | None:
    if arguments.project is None:
        return None
    from gardener.app import Gardener

    gardener = Gardener(home=console.home)
    try:
        return gardener.registry.get(arguments.project)
    finally:
        gardener.close()


def _load(arguments: argparse.Namespace, console: Console, *, quiet: bool = False) -> tuple[Settings, list[Problem]]:
    """What is right in the settings; what is wrong is said on stderr, and is no reason to stop."""
    from gardener.settings import load_good_parts

    settings, problems = load_good_parts(_sources(arguments, console))
    if not quiet:
        for sentence in settings.warnings:
            console.note(sentence)
        _note_problems(problems, console)
    return settings, problems


def _file_problems(path: str) -> list[Problem]:
    from gardener.errors import PathNotFound
    from gardener.settings_file import UnusableFile, check_file, read_toml

    absolute = os.path.abspath(path)
    try:
        file = read_toml(absolute, follow_links=True)
    except UnusableFile as error:
        return [error.problem]
    if file is None:
        raise PathNotFound(f"There is no file {absolute}.", next_step="gardener config path")
    return check_file(file)[1]


def _note_problems(problems: list[Problem], console: Console) -> None:
    for problem in problems:
        console.note(f"wrong: {problem}")


def _note_effect(settings: Settings, key: str, path: str, console: Console) -> None:
    from gardener.settings_kind import toml_value
    from gardener.settings_schema import find_setting

    origin = settings.origin(key)
    if origin.path != path:
        console.note(f"Not in force: {origin} has {toml_value(settings.value(key))}.")
        for sentence in settings.warnings:
            console.note(sentence)
    elif not find_setting(key).live:
        console.note(_when_applied(key, console))


def _when_applied(key: str, console: Console) -> str:
    """Which process has to be started again for a setting that it does not follow, and how."""
    from gardener.service.manager import is_installed

    process = "monitor" if key.startswith("health.") else "app"
    by_hand = {"monitor": "end it, then gardener monitor", "app": "gardener stop && gardener ui"}[process]
    how = "gardener service restart" if is_installed(Paths(console.home), process) else by_hand
    editors = " An editor's MCP server does so when it is connected again." if key.startswith("mcp.") else ""
    return f"A running {process} applies this when it is started again: {how}.{editors}"


def _shell(words: list[str]) -> str:
    import shlex

    return shlex.join(words)
