"""Puts the Gardener server into a client's file, or takes it out: planned first, shown, and then written whole.

Everything else in the file stays, comments included. A file that does not parse is left alone.
"""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass

from gardener.errors import ConfigError, ConflictError, InvalidPath, PermissionProblem
from gardener.mcp.clients import SERVER_NAME, Client
from gardener.mcp.jsonc import NotJson, parse, remove, set_value
from gardener.paths import ensure_directory, translate_os_error, write_private

MOST_BYTES = 50_000_000
BACKUP_SUFFIX = ".before-gardener"


@dataclass(frozen=True, slots=True)
class Change:
    """What would be written. `before` is None when there is no file yet."""

    file: str
    """The file itself: a symbolic link (dotfiles are often kept so) is followed, and stays."""
    before: str | None
    after: str

    @property
    def needed(self) -> bool:
        return self.after != (self.before or "")

    def diff(self) -> list[str]:
        """A unified diff, line by line, without line ends."""
        before, after = (self.before or "").splitlines(), self.after.splitlines()
        old = self.file if self.before is not None else "/dev/null"
        return list(difflib.unified_diff(before, after, old, self.file, lineterm=""))

    @property
    def backup(self) -> str:
        """Where the old content goes; "" when there is none."""
        return "" if self.before is None else self.file + BACKUP_SUFFIX


def plan(client: Client, path: str, command: list[str], *, inside: str | None = None, take_out: bool = False) -> Change:
    """What has to change in the file at `path` so that the client starts `command`, or no longer does.

    `inside` is a project's folder that the file must not lead out of. Of an entry that is there, everything that is not
    ours (environment, switches, comments) stays. Raises ConfigError, InvalidPath or PermissionProblem.
    """
    file = os.path.realpath(path)
    if inside is not None and not file.startswith(os.path.realpath(inside).rstrip("/") + "/"):
        raise InvalidPath(
            f"{path} leads out of its project, to {file}; nothing was written.", next_step=f'ls -l "{path}"'
        )
    before = _read(file)
    try:
        after = (
            remove(before or "", [client.key, SERVER_NAME]) if take_out else _with_entry(client, before or "", command)
        )
    except ValueError as error:
        what = f"is not valid JSON ({error})" if isinstance(error, NotJson) else f"has another form: {error}"
        raise ConfigError(
            f"{file} {what}; nothing was written. Repair it in {client.title} first.",
            next_step=f"gardener mcp install {client.name} --print",
        ) from error
    change = Change(file, before, after)
    if change.needed:
        _require_writable(file)
    return change


def apply(change: Change) -> None:
    """Writes the file in one step, with its old content beside it. Raises ConflictError when it has changed since."""
    if _read(change.file) != change.before:
        raise ConflictError(
            f"{change.file} was changed meanwhile; nothing was written.", next_step="gardener mcp install CLIENT"
        )
    mode = 0o600
    if change.before is None:
        if not os.path.isdir(folder := os.path.dirname(change.file)):
            ensure_directory(folder)
    else:
        mode = stat.S_IMODE(os.stat(change.file).st_mode)
        _write(change.backup, change.before, mode)
    _write(change.file, change.after, mode)


def _with_entry(client: Client, text: str, command: list[str]) -> str:
    entry = client.entry(command)
    node = parse(text)
    known = node.data if node is not None and isinstance(node.data, dict) else {}
    servers = known.get(client.key)
    there = servers.get(SERVER_NAME) if isinstance(servers, dict) else None
    if not isinstance(there, dict) or "command" not in there or not isinstance(there["command"], str):
        return set_value(text, [client.key, SERVER_NAME], entry)  # none yet, or one of another kind (an address)
    for key, value in entry.items():
        if key == "args" and isinstance(there.get("args"), list) and there["args"][: len(command) - 1] == value:
            continue  # options that somebody added after ours
        text = set_value(text, [client.key, SERVER_NAME, key], value)
    return text


def _read(file: str) -> str | None:
    """The file's text, line ends as they are; None when there is none."""
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file} is not a regular file; nothing was written.", next_step=f'ls -ld "{file}"')
        if status.st_size > MOST_BYTES:
            raise ConfigError(f"{file} is larger than {MOST_BYTES:,} bytes; nothing was written.", next_step="")
        with open(file, encoding="utf-8", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text; nothing was written.", next_step=f'file "{file}"') from error
    except OSError as error:
        raise translate_os_error(error, file) from error


def _require_writable(file: str) -> None:
    """A file that its owner has made read-only is meant to stay as it is, though its folder would let us replace it."""
    if os.path.exists(file) and not (os.access(file, os.W_OK) and os.stat(file).st_mode & stat.S_IWUSR):
        raise PermissionProblem(
            f"{file} is read-only; nothing was written.", next_step="gardener mcp install CLIENT --print"
        )


def _write(file: str, text: str, mode: int) -> None:
    write_private(file, text.encode("utf-8"))
    if mode != 0o600:
        os.chmod(file, mode)
