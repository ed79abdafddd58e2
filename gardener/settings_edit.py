"""Changes a settings file: one key at a time, comments kept, checked as a whole before it is replaced."""

from __future__ import annotations

import os

from gardener.audit import record
from gardener.errors import ConfigError
from gardener.locks import ProcessLock
from gardener.paths import Paths, ensure_directory, write_private
from gardener.settings_file import (
    VERSION_KEY,
    Problem,
    TomlFile,
    UnusableFile,
    check_file,
    config_error,
    parse_toml,
    quoted,
    read_bytes,
)
from gardener.settings_schema import CONFIG_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gardener.settings import Sources
    from gardener.settings_kind import Setting, Value

_NEW_FILE = f"# Settings of Gardener; `gardener config show` lists all.\n{VERSION_KEY} = {CONFIG_VERSION}\n"
_LOCK_TIMEOUT_S = 5.0


def file_for(sources: Sources, setting: Setting, shown: str = "VALUE") -> str:
    """The file in which a setting is changed: a project's own if there is one. Raises ConfigError when the setting is
    not a project's to set; `shown` is the value as one types it."""
    if sources.project_file is None:
        return sources.paths.config
    if setting.scope == "user":
        raise ConfigError(
            f"{setting.key} cannot be set by a project, only in your own settings.",
            next_step=f"gardener config set {setting.key} {shown}",
        )
    return sources.project_file


def set_value(paths: Paths, path: str, key: str, value: Value) -> list[Problem]:
    """Writes one checked value into a file (made if there is none); returns what else is wrong in it.

    Raises ConfigError when the file cannot be parsed or comes from a newer version, LockedError, DiskFull,
    PermissionProblem. The old file is whole in each case.
    """
    _, problems = _change(paths, path, key, value)
    return problems


def unset_value(paths: Paths, path: str, key: str) -> tuple[bool, list[Problem]]:
    """Removes a key, known or not; tells whether it was there. Raises as `set_value` does."""
    return _change(paths, path, key, None)


def _change(paths: Paths, path: str, key: str, value: Value | None) -> tuple[bool, list[Problem]]:
    own = path == paths.config
    # A user may keep the file elsewhere and link to it; the link stays. A link in a repository is refused.
    target = os.path.realpath(path) if own else path
    if own:
        ensure_directory(paths.home)
    ensure_directory(paths.run)
    lock = ProcessLock(os.path.join(paths.run, "config.lock"), "gardener config", subject="the settings")
    lock.acquire(_LOCK_TIMEOUT_S)
    try:
        before = read_bytes(target, follow_links=own)
        if before is None and value is None:
            return False, []
        old = parse_toml(path, _NEW_FILE.encode() if before is None else before)
        _, known = check_file(old)
        if any(problem.key == VERSION_KEY for problem in known):
            raise config_error(known)
        if value is None and key not in old.values:
            return False, known
        data = _edited(path, before, key, value)
        new = parse_toml(path, data)
        remaining = _check_change(new, key, value, known)
        write_private(target, data)
        if value is None:
            record(paths.logs, "setting.unset", setting=key, file=path)
        else:
            record(paths.logs, "setting.set", setting=f"{key}={value}", file=path)
        return True, remaining
    except UnusableFile as error:
        raise config_error([error.problem]) from error
    finally:
        lock.release()


def _edited(path: str, before: bytes | None, key: str, value: Value | None) -> bytes:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    section, _, name = key.partition(".")
    try:
        document: Any = tomlkit.parse(_NEW_FILE if before is None else before.decode("utf-8-sig"))
        if value is None:
            holder = document[section] if name else document
            del holder[name or section]
            # A section that was only there for this key goes with it, unless the user wrote comments in it.
            if name and not holder and not holder.as_string().strip():
                del document[section]
        else:
            if section not in document:
                document[section] = tomlkit.table()
            document[section][name] = list(value) if isinstance(value, tuple) else value
        return tomlkit.dumps(document).encode("utf-8")
    except (TOMLKitError, TypeError, AttributeError) as error:
        # [section] is no table, or a form of TOML that tomlkit reads but cannot change.
        raise ConfigError(
            f"{path} is written in a way that cannot be changed automatically ({type(error).__name__}); "
            f"please change {key} by hand.",
            next_step=f"${{EDITOR:-vi}} {quoted(path)}",
        ) from error


def _check_change(new: TomlFile, key: str, value: Value | None, known: list[Problem]) -> list[Problem]:
    """What is still wrong after the change. Raises ConfigError when the change itself did harm."""
    values, problems = check_file(new)
    before = {(problem.key, problem.message) for problem in known}
    fresh = [problem for problem in problems if (problem.key, problem.message) not in before]
    if fresh or values.get(key) != value or (value is None and key in new.values):
        raise ConfigError(
            f"{new.path} was left as it is: changing {key} in it would not have had the wanted effect.",
            next_step=f"${{EDITOR:-vi}} {quoted(new.path)}",
        )
    return problems
