"""What indexing a folder would take in, what it would leave out and why, before anything is registered or written.

The same walk, classification and secret patterns as the index (walk.py, prepare.py), so that the preview cannot promise
what the index does not do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gardener.errors import Interrupted, PermissionProblem, UsageError

EXAMPLES = 8
"""Paths that are named for each reason, and files that are named for their secrets."""
PROGRESS_FILES = 64
"""Files between two words on how far it is."""
SUGGESTIONS = 40
RULES_FILE = ".gardenerignore"
MAX_PATTERNS = 200
MAX_PATTERN = 500


@dataclass(slots=True)
class LeftOut:
    """What is left out for one reason."""

    reason: str
    detail: str
    """For people, of the first path."""
    entries: int = 0
    """Files and folders; a folder counts once, whatever it holds."""
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LanguageShare:
    """What one language brings to the index."""

    language: str
    files: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Preview:
    """What would be indexed of one folder."""

    root: str
    files: int = 0
    bytes: int = 0
    languages: list[LanguageShare] = field(default_factory=list)
    """Most bytes first."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Most entries first."""
    secrets: int = 0
    secret_files: list[tuple[str, str]] = field(default_factory=list)
    """Path and "LINE:KIND …" of the first files that hold secrets; these are kept out of the index."""
    notes: tuple[str, ...] = ()
    listed_by: str = "folder"


def preview(
    path: str,
    *,
    max_file_bytes: int,
    exclude: tuple[str, ...] = (),
    include_vendored: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancel: threading.Event | None = None,
) -> Preview:
    """Looks at every file of a folder as indexing would. `progress` gets files done and in all.

    Raises PathNotFound, PermissionProblem, UsageError for patterns that are none, and Interrupted.
    """
    from gardener.index.classify import classify, decode
    from gardener.index.languages import language_of
    from gardener.index.redact import redact
    from gardener.index.walk import SkippedFile, read_file, walk

    if "\0" in path:
        raise UsageError("A path cannot hold a NUL character.", next_step="~/code/PROJECT")
    root = os.path.realpath(os.path.expanduser(path))
    found = walk(root, max_file_bytes=max_file_bytes, exclude=exclude, include_vendored=include_vendored)
    result = Preview(root, notes=found.notes, listed_by=found.listed_by)
    languages: dict[str, LanguageShare] = {}
    reasons: dict[str, LeftOut] = {}
    for skipped in found.skipped:
        _leave_out(reasons, skipped.reason, skipped.detail, skipped.path)
    for number, entry in enumerate(found.files):
        if number % PROGRESS_FILES == 0:
            if cancel is not None and cancel.is_set():
                raise Interrupted("The preview was stopped.", next_step=f'gardener add "{root}"')
            progress(number, len(found.files))
        try:
            data = read_file(root, entry, max_file_bytes)
        except SkippedFile as error:
            _leave_out(reasons, error.reason, "could not be read as it was listed", entry.path)
            continue
        reason = classify(entry.path, data)
        if reason is not None:
            _leave_out(reasons, reason, _CONTENT_DETAILS.get(reason, "by its content"), entry.path)
            continue
        redaction = redact(decode(data), entry.path)
        if redaction.findings:
            result.secrets += len(redaction.findings)
            if len(result.secret_files) < EXAMPLES:
                places = " ".join(f"{finding.line}:{finding.kind}" for finding in redaction.findings[:EXAMPLES])
                result.secret_files.append((entry.path, places))
        language = language_of(entry.path, redaction.text[:200].split("\n", 1)[0])
        share = languages.setdefault(language, LanguageShare(language))
        share.files += 1
        share.bytes += entry.size
        result.files += 1
        result.bytes += entry.size
    progress(len(found.files), len(found.files))
    result.languages = sorted(languages.values(), key=lambda share: (-share.bytes, share.language))
    result.left_out = sorted(reasons.values(), key=lambda left: (-left.entries, left.reason))
    return result


def folders_like(typed: str, most: int = SUGGESTIONS) -> list[str]:
    """Folders that begin as `typed` does, for completing a path; only below the user's home folder.

    Hidden folders only when the typed name begins with a dot. Links are not followed. Names that cannot be typed or
    shown as they are (no UTF-8, line breaks, what turns the reading direction) are left out.
    """
    home = os.path.realpath(os.path.expanduser("~"))
    wanted = os.path.expanduser(typed.strip() or "~/")
    if not os.path.isabs(wanted):
        wanted = os.path.join(home, wanted)
    parent, _, begun = wanted.rpartition("/")
    parent = os.path.realpath(parent or "/")
    if parent != home and not parent.startswith(home.rstrip("/") + "/"):
        return []
    try:
        with os.scandir(parent) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.isprintable()
                and entry.name.casefold().startswith(begun.casefold())
                and (begun.startswith(".") or not entry.name.startswith("."))
                and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []  # no such folder, or not ours to list: nothing to suggest, and adding it says why
    return [os.path.join(parent, name) for name in names[:most]]


def patterns_in(typed: str) -> tuple[str, ...]:
    """The gitignore patterns in a text, one a line. Raises UsageError when there are too many to be patterns."""
    found = tuple(line.strip() for line in typed.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if len(found) > MAX_PATTERNS or any(len(pattern) > MAX_PATTERN for pattern in found):
        raise UsageError(
            f"At most {MAX_PATTERNS} patterns of {MAX_PATTERN} characters can be given here.",
            next_step="edit .gardenerignore in the project's folder",
        )
    return found


def keep_patterns(root: str, patterns: tuple[str, ...]) -> None:
    """Appends patterns to the folder's .gardenerignore, those that are not in it. Never follows a link.

    Raises PermissionProblem when the file is a link or cannot be written.
    """
    path = os.path.join(root, RULES_FILE)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "r+", encoding="utf-8", errors="surrogateescape") as opened:
            before = opened.read()
            known = {line.strip() for line in before.splitlines()}
            fresh = [pattern for pattern in patterns if pattern not in known]
            if fresh:
                opened.write(("" if not before or before.endswith("\n") else "\n") + "\n".join(fresh) + "\n")
    except OSError as error:
        raise PermissionProblem(
            f"The patterns could not be written to {path}: {error.strerror or error}.", next_step=f'ls -l "{path}"'
        ) from error


def _leave_out(reasons: dict[str, LeftOut], reason: str, detail: str, path: str) -> None:
    left = reasons.setdefault(reason, LeftOut(reason, detail))
    left.entries += 1
    if len(left.examples) < EXAMPLES:
        left.examples.append(path)


_CONTENT_DETAILS = {
    "binary": "not text",
    "generated": "written by a program, says its head",
    "minified": "minified",
    "empty": "empty",
}
