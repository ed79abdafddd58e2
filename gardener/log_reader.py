"""Reading the logs of gardener.telemetry, gardener.audit and gardener.performance: the last lines, and what follows."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from gardener.line_log import AUDIT_LOG, PERFORMANCE_LOG, locked
from gardener.paths import Paths, translate_os_error
from gardener.telemetry import ERROR_LOG, MAIN_LOG

LOGS = {"main": MAIN_LOG, "error": ERROR_LOG, "audit": AUDIT_LOG, "performance": PERFORMANCE_LOG}
LONGEST_LINE = 200_000
"""Bytes; a longer one is no line of ours, and is shown cut."""
LOOK_S = 0.25
"""Between two looks at a log that is followed."""
_BLOCK = 65_536


def log_file(paths: Paths, name: str) -> str:
    """`name` is one of LOGS."""
    return os.path.join(paths.logs, LOGS[name])


def last_lines(path: str, count: int) -> tuple[list[bytes], int, int]:
    """The last lines of a log, those put aside included, oldest first.

    Also where the file that is written now was read to, and its inode, for `follow`. Reads from the end and no more
    than it needs. Raises PermissionProblem.
    """
    found: list[bytes] = []
    end = inode = 0
    for number, part in enumerate(_files(path)):
        with suppress(FileNotFoundError):  # put aside a moment ago: its lines come with the next file
            try:
                with open(part, "rb") as handle:
                    size = os.fstat(handle.fileno())
                    if number == 0:
                        end, inode = size.st_size, size.st_ino
                    found = _tail(handle, size.st_size, count - len(found)) + found
            except PermissionError as error:
                raise translate_os_error(error, part) from error
        if len(found) >= count:
            break
    return found, end, inode


def _files(path: str) -> list[str]:
    """The log, then path.1, path.2 …: newest first."""
    folder, name = os.path.split(path)
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return []
    aside = (entry.removeprefix(name + ".") for entry in entries if entry.startswith(name + "."))
    numbers = sorted(int(number) for number in aside if number.isdecimal())
    return [path, *(f"{path}.{number}" for number in numbers)]


def _tail(handle: Any, size: int, count: int) -> list[bytes]:
    data, at = b"", size
    while at > 0 and data.count(b"\n") <= count and len(data) < count * LONGEST_LINE:
        step = min(_BLOCK, at)
        at -= step
        handle.seek(at)
        data = handle.read(step) + data
    lines = data.splitlines()
    return lines[max(0, len(lines) - count) :] if count > 0 else []


def follow(path: str, end: int, inode: int, stop: threading.Event) -> Iterator[bytes]:
    """The lines that are written from `end` on, as they come, through rotations; until `stop` is set."""
    pending = b""
    while not stop.is_set():
        try:
            there = os.stat(path)
            if there.st_ino != inode or there.st_size < end:
                with locked(path):  # put aside: what was still written to the old file comes first
                    pending += _rest(path, inode, end)
                    end, inode = 0, os.stat(path).st_ino
            with open(path, "rb") as handle:
                if os.fstat(handle.fileno()).st_ino != inode:
                    continue  # put aside just now
                handle.seek(end)
                fresh = handle.read(1_000_000)
                end += len(fresh)
        except FileNotFoundError:
            fresh = b""
        *whole, pending = (pending + fresh).split(b"\n")
        yield from whole
        if len(pending) > LONGEST_LINE:
            yield pending
            pending = b""
        if not fresh:
            stop.wait(LOOK_S)


def _rest(path: str, inode: int, end: int) -> bytes:
    """What was written since to the file of that inode, which was put aside, and to those put aside after it."""
    newer = b""
    for part in _files(path)[1:]:
        with suppress(OSError), open(part, "rb") as handle:
            if os.fstat(handle.fileno()).st_ino == inode:
                handle.seek(end)
                return handle.read() + newer
            newer = handle.read() + newer
    return b""  # deleted, not put aside


def parsed(line: bytes) -> dict[str, Any]:
    """A line as the object that it holds; one that is torn or foreign as {"unreadable": its text}."""
    text = line[:LONGEST_LINE].decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}
