"""Settings resolved from five layers: defaults < user file < project file < environment < flags.

Every value knows where it came from (Origin). "Not set" is not "empty": `index.exclude = []` in a file is a
value with that file as its origin; a key that no layer mentions has its default.

    settings = load_settings(Paths())
    settings.integer("search.limit"), str(settings.origin("search.limit"))

A wrong value anywhere is a ConfigError that lists every problem with file, line, key and what is allowed. A
running app keeps its last good settings: see `reload` and `SettingsWatcher`. Commands that must work in spite
of a wrong file (config, doctor) take `load_good_parts`.
"""

from __future__ import annotations

import os

from gardener.errors import ConfigError
from gardener.settings_file import (
    PROJECT_FILE,
    Problem,
    TomlFile,
    UnusableFile,
    check_file,
    config_error,
    read_toml,
)
from gardener.settings_kind import InvalidValue
from gardener.settings_schema import BY_KEY, SECTIONS, SETTINGS, find_setting, nearest

TYPE_CHECKING = False  # typing costs more to import than all of this
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal, TypeVar

    from gardener.paths import Paths
    from gardener.settings_kind import Value

    Layer = Literal["default", "user file", "project file", "environment", "flag"]
    Stamp = tuple[tuple[int, int, int, int] | None, ...]
    _T = TypeVar("_T")

OTHER_VARIABLES = frozenset({"GARDENER_HOME", "GARDENER_PROGRAM", "GARDENER_REQUIRE_ALL"})
"""Environment variables of ours that are not settings."""


class Origin:
    """Where a value came from: the layer, and the file with its line, or the environment variable."""

    __slots__ = ("layer", "line", "path", "variable")

    def __init__(self, layer: Layer, *, path: str = "", line: int = 0, variable: str = "") -> None:
        self.layer = layer
        self.path = path
        self.line = line
        self.variable = variable

    def __str__(self) -> str:
        if self.path:
            return f"{self.path}:{self.line}" if self.line else self.path
        return f"environment variable {self.variable}" if self.variable else self.layer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and self.as_json() == other.as_json()

    def __hash__(self) -> int:
        return hash((self.layer, self.path, self.line, self.variable))

    def as_json(self) -> dict[str, object]:
        return {"layer": self.layer, "file": self.path, "line": self.line, "variable": self.variable}


_DEFAULT = Origin("default")


class Sources:
    """What a Settings was made from, so that it can be made again after a file has changed."""

    __slots__ = ("environment", "flags", "paths", "project_root", "trusted")

    def __init__(
        self,
        paths: Paths,
        project_root: str | None = None,
        trusted: bool = False,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> None:
        self.paths = paths
        self.project_root = project_root
        self.trusted = trusted
        self.environment = environment
        self.flags = flags

    @property
    def project_file(self) -> str | None:
        return None if self.project_root is None else os.path.join(self.project_root, PROJECT_FILE)

    def files(self) -> tuple[str, ...]:
        """The files that are read, whether they exist or not."""
        project = self.project_file
        return (self.paths.config,) if project is None else (self.paths.config, project)


class Settings:
    """Resolved settings; no method changes them. Getters raise NotFoundError for an unknown key."""

    __slots__ = ("_resolved", "sources", "warnings")

    def __init__(
        self, resolved: Mapping[str, tuple[Value, Origin]], warnings: tuple[str, ...], sources: Sources
    ) -> None:
        self._resolved = resolved
        self.sources = sources
        self.warnings = warnings
        """What was ignored and why, in sentences to show to the user."""

    def value(self, key: str) -> Value:
        setting = find_setting(key)
        found = self._resolved.get(key)
        return setting.default if found is None else found[0]

    def text(self, key: str) -> str:
        return _typed(key, self.value(key), str)

    def integer(self, key: str) -> int:
        return _typed(key, self.value(key), int)

    def number(self, key: str) -> float:
        return _typed(key, self.value(key), float)

    def flag(self, key: str) -> bool:
        return _typed(key, self.value(key), bool)

    def texts(self, key: str) -> tuple[str, ...]:
        return _typed(key, self.value(key), tuple)

    def origin(self, key: str) -> Origin:
        find_setting(key)
        found = self._resolved.get(key)
        return _DEFAULT if found is None else found[1]

    def is_set(self, key: str) -> bool:
        """Whether any layer above the defaults mentions the key, be it with the default or an empty value."""
        return find_setting(key).key in self._resolved

    def items(self) -> Iterator[tuple[str, Value, Origin]]:
        """Every setting in the order of the table."""
        for setting in SETTINGS:
            yield setting.key, self.value(setting.key), self.origin(setting.key)

    def entry(self, key: str) -> dict[str, object]:
        """One setting as `gardener config show --json` prints it. Raises ConfigError for an unknown key."""
        value, default = self.value(key), find_setting(key).default
        return {
            "key": key,
            "value": list(value) if isinstance(value, tuple) else value,
            "default": list(default) if isinstance(default, tuple) else default,
            "set": self.is_set(key),
            "origin": self.origin(key).as_json(),
        }

    def changed_keys(self, other: Settings) -> tuple[str, ...]:
        """Keys whose values differ between two Settings, in the order of the table."""
        keys = (setting.key for setting in SETTINGS)
        return tuple(key for key in keys if self.value(key) != other.value(key))

    def stamp(self) -> Stamp:
        """What tells whether the files that these settings come from were changed: made anew, it is compared."""
        stamps: list[tuple[int, int, int, int] | None] = []
        for path in self.sources.files():
            try:
                found = os.stat(path)
            except OSError:
                stamps.append(None)
            else:
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode))
        return tuple(stamps)

    def for_project(self, root: str, trusted: bool) -> Settings:
        """These settings with ROOT/.gardener.toml between the user's file and the environment.

        Raises ConfigError when a file is wrong. What an untrusted project may not set is left out and named
        in `warnings`.
        """
        of = self.sources
        return _strict(Sources(of.paths, root, trusted, of.environment, of.flags))


def _typed(key: str, value: Value, kind: type[_T]) -> _T:
    if type(value) is not kind:
        raise TypeError(f"{key} is {type(value).__name__}, not {kind.__name__}")
    return value


def load_settings(
    paths: Paths,
    *,
    project_root: str | None = None,
    trusted: bool = False,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Resolves all layers. `environment` defaults to the process's own; a flag that is None is not set.

    Raises ConfigError that lists every problem of every layer; NotFoundError for a flag with an unknown key.
    """
    return _strict(Sources(paths, project_root, trusted, environment, flags))


def load_good_parts(sources: Sources) -> tuple[Settings, list[Problem]]:
    """Everything that is right in every layer, and what is wrong. For commands that must work regardless."""
    resolved: dict[str, tuple[Value, Origin]] = {}
    problems: list[Problem] = []
    warnings: list[str] = []
    user_file = _read(sources.paths.config, True, problems)
    if user_file is not None:
        values, found = check_file(user_file)
        problems += found
        for key, value in values.items():
            resolved[key] = (value, Origin("user file", path=user_file.path, line=user_file.line(key)))
    project_path = sources.project_file
    project_file = None if project_path is None else _read(project_path, False, problems)
    if project_file is not None:
        problems += _apply_project_file(resolved, project_file, sources.trusted, warnings)
    environment = os.environ if sources.environment is None else sources.environment
    problems += _apply_environment(resolved, environment, warnings)
    problems += _apply_flags(resolved, sources.flags or {})
    return Settings(resolved, tuple(warnings), sources), problems


def _strict(sources: Sources) -> Settings:
    settings, problems = load_good_parts(sources)
    if problems:
        raise config_error(problems)
    return settings


def _read(path: str, follow_links: bool, problems: list[Problem]) -> TomlFile | None:
    try:
        return read_toml(path, follow_links=follow_links)
    except UnusableFile as error:
        problems.append(error.problem)
        return None


def _apply_project_file(
    resolved: dict[str, tuple[Value, Origin]], file: TomlFile, trusted: bool, warnings: list[str]
) -> list[Problem]:
    values, problems = check_file(file)
    refused = [key for key in file.values if key in BY_KEY and not _may_set(BY_KEY[key].scope, trusted)]
    for key in refused:
        values.pop(key, None)
        own = BY_KEY[key].scope == "user"
        reason = "only your own settings may set it" if own else "you have not trusted this project"
        warnings.append(f"{file.path}, line {file.line(key)}: {key} is ignored: {reason}.")
    for key, value in values.items():
        setting = BY_KEY[key]
        base = resolved[key][0] if key in resolved else setting.default
        if setting.tighter == "add" and isinstance(base, tuple) and isinstance(value, tuple):
            # Never a replacement: a repository must not bring back what the user keeps out of the index.
            value = tuple(dict.fromkeys(base + value))
        elif not trusted and not setting.tightens(base, value):
            allowed = "lower" if setting.tighter == "lower" else "switch off"
            warnings.append(
                f"{file.path}, line {file.line(key)}: {key} is ignored: "
                f"a project that you have not trusted may only {allowed} it."
            )
            continue
        resolved[key] = (value, Origin("project file", path=file.path, line=file.line(key)))
    # A value that would be ignored anyway is no reason to refuse the file.
    return [problem for problem in problems if problem.key not in refused]


def _may_set(scope: str, trusted: bool) -> bool:
    return scope == "anywhere" or (scope == "trusted" and trusted)


def _apply_environment(
    resolved: dict[str, tuple[Value, Origin]], environment: Mapping[str, str], warnings: list[str]
) -> list[Problem]:
    problems = []
    for variable, text in environment.items():
        if not variable.startswith("GARDENER_") or variable in OTHER_VARIABLES:
            continue
        section, _, name = variable[len("GARDENER_") :].lower().partition("_")
        setting = BY_KEY.get(f"{section}.{name}")
        if setting is None:
            suggestion = nearest(f"{section}.{name}")
            hint = f" Did you mean {BY_KEY[suggestion].variable}?" if suggestion else ""
            sentence = f"{variable} in the environment is not a setting.{hint}"
            if section in SECTIONS and name:
                problems.append(Problem(sentence, key=variable, next_step=f"unset {variable}"))
            else:  # the prefix may be somebody else's: a program of that name, or a newer Gardener
                warnings.append(sentence)
            continue
        try:
            resolved[setting.key] = (setting.parse(text), Origin("environment", variable=variable))
        except InvalidValue as error:
            sentence = f"{variable} in the environment {error}."
            problems.append(Problem(sentence, key=setting.key, next_step=f"unset {variable}"))
    return problems


def _apply_flags(resolved: dict[str, tuple[Value, Origin]], flags: Mapping[str, object]) -> list[Problem]:
    problems = []
    for key, given in flags.items():
        if given is None:
            continue
        setting = find_setting(key)
        try:
            value = setting.parse(given) if isinstance(given, str) else setting.check(given)
            resolved[key] = (value, Origin("flag"))
        except InvalidValue as error:
            sentence = f"{key} on the command line {error}."
            problems.append(Problem(sentence, key=key, next_step=f"gardener config get {key}"))
    return problems


def reload(previous: Settings) -> tuple[Settings, ConfigError | None]:
    """Reads everything again. When something is wrong the previous settings stay in force."""
    try:
        return _strict(previous.sources), None
    except ConfigError as error:
        return previous, error


class SettingsWatcher:
    """The settings of a running app: `poll` now and then; `current` is always the last good version.

    It has no thread of its own: one thread polls, any thread may read. `error` says what is wrong with the
    files as they are now, None when nothing is. `restart_needed` names the changed keys that only a restart
    applies.
    """

    __slots__ = ("_seen", "_started_with", "current", "error", "restart_needed")

    def __init__(self, settings: Settings) -> None:
        self.current = settings
        self.error: ConfigError | None = None
        self.restart_needed: tuple[str, ...] = ()
        self._started_with = settings
        self._seen = settings.stamp()

    def poll(self) -> bool:
        """Reads the files again when their stamps have changed. True when `current` has new values."""
        signature = self.current.stamp()
        if signature == self._seen:
            return False
        # Remembered before reading: a write during the read makes the next poll look again.
        self._seen = signature
        settings, self.error = reload(self.current)
        changed = settings.changed_keys(self.current)
        self.current = settings
        differing = settings.changed_keys(self._started_with)
        self.restart_needed = tuple(key for key in differing if not BY_KEY[key].live)
        return bool(changed)
