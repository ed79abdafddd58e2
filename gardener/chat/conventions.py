"""What a project says about itself to people who work on it: its README's beginning and its rules for contributors.

Files of these names in the project's root, read as the disk has them, without secrets, markup and pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

NAMES: Final = (
    "AGENTS.md",
    "CONTRIBUTING.md",
    "README.md",
    "README.rst",
    "README.txt",
    "README",
    "STYLE.md",
    "CLAUDE.md",
)
"""Most telling first. Compared without case."""
MOST_FILES: Final = 3
MOST_BYTES: Final = 40_000
"""Of one file; what people should know comes first."""
_PICTURES: Final = re.compile(r"\[?!\[[^\]\n]{0,300}+\]\([^)\n]{0,500}+\)(?:\]\([^)\n]{0,500}+\))?|<img[^>]{0,2000}+>")
_MARKUP: Final = re.compile(r"<[^>\n]{1,300}+>|^\.\. image::[^\n]*+$|^\[[^\]\n]{1,80}+\]:[^\n]*+$", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^\]\n]{1,200}+)\]\([^)\n]{1,500}+\)")
_BLANK_LINES: Final = re.compile(r"\n[ \t\r\f\v]*+\n\s*+")


def conventions_files(root: str) -> list[str]:
    """Absolute paths of the files that speak for the project, most telling first. Never links that leave the root."""
    try:
        found = {name.lower(): name for name in os.listdir(root)}
    except OSError:
        return []
    real_root = os.path.realpath(root)
    files = []
    readme = False
    for name in NAMES:
        actual = found.get(name.lower())
        if actual is None or (readme and name.startswith("README")):
            continue
        path = os.path.join(root, actual)
        real = os.path.realpath(path)
        if os.path.isfile(path) and os.path.commonpath([real, real_root]) == real_root:
            files.append(path)
            readme = readme or name.startswith("README")
    return files[:MOST_FILES]


def conventions_state(root: str) -> str:
    """Changes when one of the files does."""
    marks = []
    for path in conventions_files(root):
        try:
            status = os.stat(path)
        except OSError:
            continue
        marks.append(f"{path}:{status.st_size}:{status.st_mtime_ns}")
    return "|".join(marks)


def conventions(root: str, redact: Callable[[str], str], most_characters: int) -> str:
    """The beginnings of the files, in shares of `most_characters`; "" when there is nothing to say."""
    files = conventions_files(root)
    if not files or most_characters < 200:
        return ""
    parts = []
    room = most_characters
    for position, path in enumerate(files):
        share = room // (len(files) - position)
        text = _plain(redact(_read(path)))
        if not text:
            continue
        said = _cut(text, share - len(os.path.basename(path)) - 3)
        if said:
            parts.append(f"{os.path.basename(path)}:\n{said}")
            room -= len(parts[-1])
    return "\n".join(parts)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as opened:
            return opened.read(MOST_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""  # gone or unreadable since it was listed: it does not speak then


def _plain(text: str) -> str:
    text = _LINK.sub(r"\1", _MARKUP.sub("", _PICTURES.sub("", text)))
    return _BLANK_LINES.sub("\n", text).strip()


def _cut(text: str, most: int) -> str:
    """Whole lines of at most so many characters."""
    if len(text) <= most:
        return text
    return text[: max(0, most)].rpartition("\n")[0].rstrip()
