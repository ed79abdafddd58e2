"""Reads a settings file: bytes, TOML, flat keys with line numbers, checked values and problems.

A project's file is hostile input: it is opened without following a link or waiting for a pipe, its size is
bounded, and nothing from it reaches an error message unescaped. No file means no import of tomllib.
"""

from __future__ import annotations

import errno
import os
import stat

from gardener.errors import ConfigError
from gardener.settings_kind import InvalidValue
from gardener.settings_schema import BY_KEY, CONFIG_VERSION, SECTIONS, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gardener.settings_kind import Value

MAX_FILE_BYTES = 262_144
"""A settings file is a few hundred bytes; anything above this is refused unread."""

VERSION_KEY = "config_version"
PROJECT_FILE = ".gardener.toml"
_SHOWN_PROBLEMS = 20


class Problem:
    """One thing wrong in one place. `path` is empty for an environment variable or a flag."""

    __slots__ = ("key", "line", "message", "next_step", "path")

    def __init__(self, message: str, *, path: str = "", line: int = 0, key: str = "", next_step: str = "") -> None:
        self.message = message
        self.path = path
        self.line = line
        self.key = key
        self.next_step = next_step

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}: " if self.line else f"{self.path}: " if self.path else ""
        return where + self.message

    def as_json(self) -> dict[str, object]:
        return {"file": self.path, "line": self.line, "key": self.key, "message": self.message}


class UnusableFile(Exception):
    """A file of which nothing can be used; never leaves this module and settings.py."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def config_error(problems: list[Problem]) -> ConfigError:
    """All problems as one error, with the command that helps against the first."""
    lines = [str(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"... and {len(problems) - _SHOWN_PROBLEMS} more.")
    return ConfigError("\n".join(lines), next_step=problems[0].next_step)


class TomlFile:
    """A parsed settings file: `values` by dotted key, `lines` (1-based) by dotted key."""

    __slots__ = ("lines", "path", "values", "version")

    def __init__(self, path: str, document: dict[str, object], lines: dict[str, int]) -> None:
        self.path = path
        self.lines = lines
        self.version = document.get(VERSION_KEY, CONFIG_VERSION)
        self.values: dict[str, object] = {}
        for name, content in document.items():
            if isinstance(content, dict) and name in SECTIONS:
                for inner, value in content.items():
                    self.values[f"{name}.{inner}"] = value
            elif name != VERSION_KEY:
                self.values[name] = content

    def line(self, key: str) -> int:
        """Line of a key; of the enclosing table when the key itself has none; 0 when unknown."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 0)


def read_toml(path: str, *, follow_links: bool) -> TomlFile | None:
    """The parsed file, or None when there is none. Raises UnusableFile."""
    data = read_bytes(path, follow_links=follow_links)
    return None if data is None else parse_toml(path, data)


def read_bytes(path: str, *, follow_links: bool) -> bytes | None:
    """The file's bytes, or None when there is none. Raises UnusableFile."""
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    look = f"ls -ld {quoted(path)}"
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = "this is a symbolic link that is not followed; settings must be a file."
            raise UnusableFile(Problem(message, path=path, next_step=look)) from error
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFile(Problem("this is not a regular file.", path=path, next_step=look))
        if found.st_size > MAX_FILE_BYTES:
            message = f"the file has {found.st_size} bytes; a settings file may have {MAX_FILE_BYTES}."
            raise UnusableFile(Problem(message, path=path, next_step=look))
        with open(descriptor, "rb", closefd=False) as handle:
            return handle.read(MAX_FILE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _unreadable(path: str, error: OSError) -> UnusableFile:
    message = f"the file cannot be read: {error.strerror}."
    return UnusableFile(Problem(message, path=path, next_step=f"chmod u+rw {quoted(path)}"))


def parse_toml(path: str, data: bytes) -> TomlFile:
    """Parses the bytes of a settings file. Raises UnusableFile with the line."""
    import tomllib

    step = edit_command(path)
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"the file is not UTF-8 text (byte 0x{data[error.start]:02x})."
        raise UnusableFile(Problem(message, path=path, line=line, next_step=step)) from error
    try:
        document = tomllib.loads(text)
    except RecursionError as error:
        message = "tables or lists are nested too deeply."
        raise UnusableFile(Problem(message, path=path, next_step=step)) from error
    except ValueError as error:  # TOMLDecodeError, and a plain ValueError for a number of 5,000 digits
        raise UnusableFile(_syntax_problem(path, text, str(error))) from error
    return TomlFile(path, document, key_lines(text))


def _syntax_problem(path: str, text: str, reason: str) -> Problem:
    import re

    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", reason)
    line = 0
    if place is not None:
        reason = reason[: place.start()]
        line = int(place[1]) if place[1] else text.count("\n") + 1
        if place[2]:
            reason += f" (column {place[2]})"
    printable = "".join(sign if sign.isprintable() else "?" for sign in reason[:200])
    message = f"this is not valid TOML: {printable}."
    return Problem(message, path=path, line=line, next_step=edit_command(path))


def key_lines(text: str) -> dict[str, int]:
    """Line numbers (1-based) of every key and table header of a valid TOML text, by dotted key.

    A tokenizer that knows only what can hide a newline or an equals sign: strings, comments and brackets.
    """
    import re

    token = re.compile(
        r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})'
        r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|\n|[\[\]{}=]|[A-Za-z0-9_-]+|.',
        re.DOTALL,
    )
    found: dict[str, int] = {}
    table: list[str] = []
    parts: list[str] = []
    in_header = in_value = False
    depth = 0
    line = 1
    for match in token.finditer(text):
        word = match[0]
        if in_value:
            if word in "[{":
                depth += 1
            elif word in "]}":
                depth -= 1
            elif word == "\n" and depth == 0:
                in_value = False
        elif word == "\n":
            if in_header:
                table = parts
                found.setdefault(".".join(table), line)
            in_header, parts = False, []
        elif word == "[" and not parts:
            in_header = True
        elif word == "=" and not in_header:
            found.setdefault(".".join(table + parts), line)
            in_value, depth, parts = True, 0, []
        elif word[0] in "\"'":
            parts = [*parts, word[1:-1]]
        elif word[0].isalnum() or word[0] in "_-":
            parts = [*parts, word]
        line += word.count("\n")
    if in_header:
        found.setdefault(".".join(parts), line)
    return found


def check_file(file: TomlFile) -> tuple[dict[str, Value], list[Problem]]:
    """The values of a file that are right, and what is wrong with the others. Does not look at scopes."""
    version = file.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        message = f"{VERSION_KEY} must be a whole number from 1 to {CONFIG_VERSION}, not {version!r:.60}."
        return {}, [_at(file, VERSION_KEY, message)]
    if version > CONFIG_VERSION:
        message = (
            f"{VERSION_KEY} is {version}, so a newer Gardener wrote this file; this one understands "
            f"{VERSION_KEY} {CONFIG_VERSION}. Use the newer Gardener, or put the file aside."
        )
        step = f"mv {quoted(file.path)} {quoted(file.path + '.newer')}"
        return {}, [_at(file, VERSION_KEY, message, step)]
    values: dict[str, Value] = {}
    problems: list[Problem] = []
    for key, value in file.values.items():
        setting = BY_KEY.get(key)
        if setting is None:
            problems.append(_unknown(file, key, value))
            continue
        try:
            values[key] = setting.check(value)
        except InvalidValue as error:
            problems.append(_at(file, key, f"{key} {error}."))
    return values, sorted(problems, key=lambda problem: problem.line)


def _unknown(file: TomlFile, key: str, value: object) -> Problem:
    shown = key if key.replace(".", "").replace("_", "").isalnum() and len(key) < 80 else ascii(key[:80])
    if isinstance(value, dict) and "." not in key:
        suggestion = nearest(key, SECTIONS)
        hint = f" Did you mean [{suggestion}]?" if suggestion else " Sections: " + ", ".join(SECTIONS) + "."
        return _at(file, key, f"there is no section [{shown}].{hint}")
    suggestion = nearest(key)
    hint = f" Did you mean {suggestion}?" if suggestion else f" Settings: {', '.join(BY_KEY)}."
    return _at(file, key, f"there is no setting {shown}.{hint}")


def _at(file: TomlFile, key: str, message: str, next_step: str = "") -> Problem:
    step = next_step or edit_command(file.path)
    return Problem(message, path=file.path, line=file.line(key), key=key, next_step=step)


def edit_command(path: str) -> str:
    return f"${{EDITOR:-vi}} {quoted(path)}"


def quoted(path: str) -> str:
    """A path as a shell word."""
    import shlex

    return shlex.quote(path)
