"""Lines of a project's file as they are on the disk now, for people to look at."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from gardener.errors import InvalidPath
from gardener.index.classify import classify, decode, is_binary
from gardener.index.file_names import name_verdict
from gardener.index.languages import language_of
from gardener.index.redact import redact
from gardener.index.walk import FileEntry, SkippedFile, read_file

REDACTED_AROUND = 2_000
"""Lines on either side of those wanted that are searched for secrets with them."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """`lines[0]` is line `start_line`. `sha256` is of these lines, newline-joined, as citations are hashed."""

    path: str
    start_line: int
    lines: tuple[str, ...]
    total_lines: int
    language: str
    sha256: str
    exists: bool
    reason: str = ""
    """Why there are no lines, when there are none."""


def view_source(root: str, path: str, start_line: int, end_line: int, max_file_bytes: int) -> SourceView:
    """The lines `start_line` to `end_line` (1-based, inclusive, cut to the file) with secrets left out.

    Raises InvalidPath when `path` is not a plain relative path. A file that is gone, outside the root, a link or not
    text gives a view without lines that says why.
    """
    parts = path.split("/")
    if not path or os.path.isabs(path) or ".." in parts or "\0" in path:
        raise InvalidPath(f"{path!r} is not a path inside the project.", next_step="gardener search QUERY")
    if name_verdict(parts[-1])[0] == "secret-file" or ".git" in parts:
        return _because(SourceView(path, start_line, (), 0, "", "", False), "secret-file")
    missing = SourceView(path, start_line, (), 0, "", "", False)
    try:
        status = os.stat(os.path.join(root, path), follow_symlinks=False)
        data = read_file(root, FileEntry(path, status.st_size, status.st_mtime_ns), max_file_bytes)
    except OSError as error:
        return _because(missing, error.strerror or str(error))
    except SkippedFile as error:
        return _because(missing, error.reason)
    reason = classify(path, data)
    if reason == "secret-file":
        return _because(missing, reason)
    if is_binary(data):  # whatever its name is: a picture is "binary-extension"
        return _because(missing, "binary")
    lines = decode(data).split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    first = max(1, start_line)
    last = max(first, end_line)
    # Only what is shown, among enough of its neighbours that a key of many lines is known for one: a million lines
    # would take many seconds.
    begin = max(0, first - 1 - REDACTED_AROUND)
    redacted = redact("\n".join(lines[begin : last + REDACTED_AROUND]), path).text.split("\n")
    chosen = redacted[first - 1 - begin : last - begin] if first <= len(lines) else []
    return SourceView(
        path=path,
        start_line=first,
        lines=tuple(chosen),
        total_lines=len(lines),
        language=language_of(path, lines[0] if lines else ""),
        sha256=hashlib.sha256("\n".join(chosen).encode("utf-8", "surrogatepass")).hexdigest(),
        exists=True,
    )


def _because(view: SourceView, reason: str) -> SourceView:
    from dataclasses import replace

    return replace(view, reason=reason)
