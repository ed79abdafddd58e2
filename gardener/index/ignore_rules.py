"""The gitignore language: for `.gardenerignore`, `index.exclude`, and folders where git cannot be asked.

Follows gitignore(5) and git's wildmatch. pathspec is not used because it turns `*a*a*a*a*b` into a pattern
that backtracks for seconds on one 120-character name, and ignore files come from the repository. Here each
`*` is an atomic group that takes the shortest match, so a match takes pattern x name x name steps at most.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

MAX_RULES_BYTES = 256 * 1024
MAX_RULES_IN_FORCE = 2_000
"""Patterns that may apply to one file, over all folders above it. Large monorepos have a few hundred."""


class RulesTooLarge(Exception):
    """An ignore file is larger than is sensible; its rules were not read."""


class IgnoreRules:
    """The patterns of one ignore file. They apply to paths below `base` ("" or "folder/sub/").

    `below` is for a file that lies above the origin of the paths: the way from its folder to the origin.
    """

    __slots__ = ("_above", "_by_name", "_by_path", "_skipped_length", "count")

    def __init__(self, lines: Iterable[str], base: str = "", below: str = "") -> None:
        self._skipped_length = len(base)
        self._above = below + "/" if below else ""
        rules = [rule for line in lines if (rule := _parse(line)) is not None]
        self.count = len(rules)
        # Later lines win, so they are tried first; position settles between the two lists.
        numbered = list(enumerate(rules))[::-1]
        self._by_name = [(n, r.exclude, r.only_folders, r.regex) for n, r in numbered if not r.anchored]
        self._by_path = [(n, r.exclude, r.only_folders, r.regex) for n, r in numbered if r.anchored]

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """True: `path` (POSIX, same origin as `base`) is excluded; False: re-included; None: neither."""
        best = -1
        decision: bool | None = None
        name = path.rpartition("/")[2]
        for number, exclude, only_folders, regex in self._by_name:
            if (is_folder or not only_folders) and regex.match(name):
                best, decision = number, exclude
                break
        if self._by_path:
            below = self._above + path[self._skipped_length :]
            for number, exclude, only_folders, regex in self._by_path:
                if number < best:
                    break
                if (is_folder or not only_folders) and regex.match(below):
                    return exclude
        return decision


def excluded(chain: tuple[IgnoreRules, ...], path: str, is_folder: bool) -> bool:
    """Whether `path` is excluded; the ignore files of `chain` go from the outermost to the innermost.

    Only for a path whose folders are not excluded themselves: nothing below an excluded folder comes back.
    """
    for rules in reversed(chain):
        decision = rules.decide(path, is_folder)
        if decision is not None:
            return decision
    return False


def read_rules(file: str, base: str = "", *, below: str = "", in_force: int = 0) -> IgnoreRules | None:
    """The rules of an ignore file; None when there is none that may be read: a link, a device, no permission.

    `base` and `below` are those of IgnoreRules, `in_force` the number of patterns that apply already. Raises
    RulesTooLarge.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > MAX_RULES_BYTES:
            raise RulesTooLarge(file)
        data = os.read(descriptor, MAX_RULES_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    rules = IgnoreRules(text.split("\n"), base, below)
    if rules.count + in_force > MAX_RULES_IN_FORCE:
        raise RulesTooLarge(file)
    return rules if rules.count else None


# ---- From a line to a regular expression ------------------------------------------------------------------


class _Rule:
    __slots__ = ("anchored", "exclude", "only_folders", "regex")

    def __init__(self, regex: re.Pattern[str], exclude: bool, only_folders: bool, anchored: bool) -> None:
        self.regex = regex
        self.exclude = exclude
        self.only_folders = only_folders
        self.anchored = anchored


def _parse(line: str) -> _Rule | None:
    line = line.removesuffix("\r")
    if line.startswith("#"):
        return None
    line = _without_trailing_spaces(line)
    exclude = not line.startswith("!")
    if not exclude:
        line = line[1:]
    only_folders = line.endswith("/")
    if only_folders:
        line = line[:-1]
    anchored = "/" in line
    line = line.removeprefix("/")
    if not line:
        return None
    segments = _segments(line)
    if segments is None:
        return None
    expression = _path_expression(segments) if anchored else _segment_expression(line)
    if expression is None:
        return None
    return _Rule(re.compile(expression + r"\Z", re.DOTALL), exclude, only_folders, anchored)


def _without_trailing_spaces(line: str) -> str:
    end = len(line)
    while end and line[end - 1] == " ":
        backslashes = len(line[: end - 1]) - len(line[: end - 1].rstrip("\\"))
        if backslashes % 2:
            break
        end -= 1
    return line[:end]


def _segments(line: str) -> list[str] | None:
    """The parts between slashes; a slash inside brackets does not count."""
    segments: list[str] = []
    start = position = 0
    while position < len(line):
        char = line[position]
        position += 1
        if char == "/":
            segments.append(line[start : position - 1])
            start = position
        elif char == "\\" and line[position : position + 1] == "/":
            segments.append(line[start : position - 1])
            start = position = position + 1
        elif char == "\\":
            position += 1
        elif char == "[":
            found = _bracket_expression(line, position)
            if found is None:
                return None
            position = found[1]
    segments.append(line[start:])
    return segments


def _path_expression(segments: list[str]) -> str | None:
    """Runs of plain segments, separated by `**`, which stands for any number of folders.

    A run has a fixed number of segments, so its leftmost place is as good as any: the search may be atomic.
    """
    runs: list[list[str]] = [[]]
    for segment in segments:
        if len(segment) < 2 or segment.strip("*"):
            expression = _segment_expression(segment)
            if expression is None:
                return None
            runs[-1].append(expression)
        elif runs[-1] or len(runs) == 1:
            runs.append([])
    parts: list[str] = []
    for position, run in enumerate(runs):
        first, last = position == 0, position == len(runs) - 1
        body = "/".join(run)
        if last and not run:
            parts.append(".+")
        elif last:
            parts.append(body if first else f"(?:[^/]+/)*{body}")
        elif run:
            parts.append(f"{body}/" if first else f"(?>(?:[^/]+/)*?{body}/)")
    return "".join(parts)


def _segment_expression(segment: str) -> str | None:
    """One path segment with `*`, `?`, `[...]` and backslashes; None when it can never match, as in git."""
    pieces: list[str] = [""]
    position = 0
    while position < len(segment):
        char = segment[position]
        position += 1
        if char == "*":
            if pieces[-1] or len(pieces) == 1:
                pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[":
            found = _bracket_expression(segment, position)
            if found is None:
                return None
            expression, position = found
            pieces[-1] += expression
        elif char == "\\":
            if position == len(segment):
                return None
            pieces[-1] += re.escape(segment[position])
            position += 1
        else:
            pieces[-1] += re.escape(char)
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1])
    return f"{pieces[0]}{middle}[^/]*{pieces[-1]}"


_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def _bracket_expression(segment: str, position: int) -> tuple[str, int] | None:
    """The `[...]` whose content starts at `position`: (expression, position after it); None if unclosed."""
    negated = segment[position : position + 1] in ("!", "^")
    if negated:
        position += 1
    members: list[str] = []
    first = True
    while True:
        if position >= len(segment):
            return None
        if segment[position] == "]" and not first:
            break
        first = False
        if segment.startswith("[:", position):
            end = segment.find(":]", position + 2)
            if end != -1:
                name = segment[position + 2 : end]
                if name not in _CLASSES:
                    return None
                members.append(_CLASSES[name])
                position = end + 2
                continue
        low, position = _bracket_member(segment, position)
        if low is None:
            return None
        is_range = segment[position : position + 1] == "-" and segment[position + 1 : position + 2] not in (
            "",
            "]",
        )
        if not is_range:
            members.append(re.escape(low))
            continue
        high, position = _bracket_member(segment, position + 1)
        if high is None:
            return None
        if low <= high:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
    content = "".join(members)
    if negated:
        return f"[^/{content}]", position + 1
    # "/" is never matched by a bracket; an empty one (an inverted range) matches nothing.
    return (f"(?!/)[{content}]" if content else "(?!)"), position + 1


def _bracket_member(segment: str, position: int) -> tuple[str | None, int]:
    if segment[position] == "\\":
        position += 1
        if position >= len(segment):
            return None, position
    return segment[position], position + 1
