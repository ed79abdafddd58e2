"""Settles the [n] markers of an answer and proves each citation against the disk, now.

A marker that refers to nothing that was sent becomes "[?]". A citation whose lines stand where they were
found, or elsewhere in the same file, is current (with the lines where they stand now); lines that differ are
changed; a file or lines that do not exist are missing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gardener.types import Citation, CitationState, SearchHit

UNKNOWN = "[?]"
MAX_FILE_BYTES = 8_000_000
_MAX_CITATIONS = 200

# Code first, so that `items[0]` stays code: a fence (closed or running to the end, as in a cut answer), a
# code span, an escaped bracket; then markers: [3], [3, 5], [3-5], with what would make a link of them.
_TOKEN = re.compile(
    r"(?P<fence>^[ \t>]*(?P<mark>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*"
    r"(?:\n(?![ \t>]*(?P=mark)[`~]*[ \t]*$)[^\n]*)*(?:\n[ \t>]*(?P=mark)[`~]*[ \t]*$)?)"
    r"|(?P<code>(?<!`)(?P<ticks>`+)(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<escaped>\\.)"
    r"|(?P<marker>!?\[(?P<numbers>\^?\d{1,6}(?:\s{0,3}(?:[,;–-]|and)\s{0,3}\^?\d{1,6}){0,20})\]"
    r"(?P<link>[(:]?))",
    re.MULTILINE,
)

ReadLines = Callable[[str], "list[str]"]
"""The lines of a file of the project now, redacted as the index redacts; raises OSError when it cannot be
read.
"""


@dataclass(frozen=True, slots=True)
class Marked:
    """An answer's text with settled markers, and the numbers it cites, in order of first use."""

    text: str
    cited: tuple[int, ...]
    unknown: tuple[int, ...]


def settle_markers(text: str, count: int) -> Marked:
    """Keeps the markers 1..`count`, turns all others into "[?]", and leaves code alone.

    A marker never becomes a link: "[1](address)" and "[1]: address" are taken apart.
    """
    return renumber_markers(text, {n: n for n in range(1, count + 1)})


def renumber_markers(text: str, numbers: Mapping[int, int]) -> Marked:
    """The same for markers that get other numbers: those that `numbers` does not name are unknown."""
    cited: dict[int, None] = {}
    unknown: dict[int, None] = {}

    def settle(match: re.Match[str]) -> str:
        if match.group("marker") is None:
            return match.group()
        known: list[int] = []
        strange = False
        for n in _numbers(match.group("numbers")):
            if n in numbers:
                known.append(numbers[n])
                cited.setdefault(numbers[n])
            else:
                strange = True
                unknown.setdefault(n)
        shown = "".join(f"[{n}]" for n in dict.fromkeys(known)) + (UNKNOWN if strange else "")
        return shown + (f" {match.group('link')}" if match.group("link") else "")

    # Reference-style images and links need a definition; without one the brackets are only brackets.
    return Marked(_TOKEN.sub(settle, text), tuple(cited)[:_MAX_CITATIONS], tuple(unknown)[:_MAX_CITATIONS])


def lines_sha256(text: str) -> str:
    """SHA-256 of whole lines as UTF-8, newline-joined; carriage returns at line ends do not count."""
    return hashlib.sha256("\n".join(_lines(text)).encode("utf-8", "surrogatepass")).hexdigest()


def verify(numbers: Sequence[int], sources: Sequence[SearchHit], read_lines: ReadLines) -> tuple[Citation, ...]:
    """The citations of `numbers` (1-based into `sources`), each checked against the disk. Reads each file
    once.
    """
    files: dict[str, list[str] | None] = {}
    citations = []
    for n in numbers:
        source = sources[n - 1]
        if source.path not in files:
            try:
                files[source.path] = read_lines(source.path)
            except OSError:
                files[source.path] = None
        start, end, state = _compare(source, files[source.path])
        citations.append(Citation(n, source.path, start, end, lines_sha256(source.text), state, symbol=source.symbol))
    return tuple(citations)


def verify_again(citations: Sequence[Citation], read_lines: ReadLines) -> tuple[Citation, ...]:
    """Citations that were verified before, against the disk as it is now. Lines that have moved count as changed."""
    files: dict[str, list[str] | None] = {}
    checked = []
    for citation in citations:
        if citation.path not in files:
            try:
                files[citation.path] = read_lines(citation.path)
            except OSError:
                files[citation.path] = None
        lines = files[citation.path]
        state: CitationState = "missing"
        if lines is not None and citation.start_line <= len(lines):
            now = "\n".join(lines[citation.start_line - 1 : citation.end_line])
            state = "current" if lines_sha256(now) == citation.sha256 else "changed"
        checked.append(replace(citation, state=state))
    return tuple(checked)


def citation_warnings(unknown: Sequence[int], citations: Sequence[Citation]) -> list[str]:
    """What the user should know of an answer's citations."""
    warnings = []
    if unknown:
        numbers = ", ".join(f"[{n}]" for n in unknown[:10])
        warnings.append(f"The answer cited {numbers}, which were never sent; they are shown as [?].")
    for citation in citations:
        place = f"[{citation.n}] {citation.path}:{citation.start_line}-{citation.end_line}"
        if citation.state == "changed":
            warnings.append(f"{place} has changed since it was indexed.")
        elif citation.state == "missing":
            warnings.append(f"{place} does not exist any more.")
    return warnings


def reader(
    root: str, *, redact: Callable[[str, str], str] | None = None, max_file_bytes: int = MAX_FILE_BYTES
) -> ReadLines:
    """Reads files under `root` the way the index did: regular files only, no way out by symlinks, bounded,
    redacted.

    `redact(text, path)` replaces the index's own redaction.
    """

    def read_lines(path: str) -> list[str]:
        from gardener.index.classify import decode
        from gardener.index.walk import FileEntry, SkippedFile, read_file

        status = os.stat(os.path.join(root, path), follow_symlinks=False)
        try:
            data = read_file(root, FileEntry(path, status.st_size, status.st_mtime_ns), max_file_bytes)
        except SkippedFile as skipped:
            raise OSError(str(skipped)) from skipped
        text = decode(data)
        if redact is not None:
            return _lines(redact(text, path))
        from gardener.index.redact import redact as redact_as_indexed

        return _lines(redact_as_indexed(text, path).text)

    return read_lines


def _compare(source: SearchHit, lines: list[str] | None) -> tuple[int, int, CitationState]:
    start, end = source.start_line, source.end_line
    if lines is None:
        return start, end, "missing"
    wanted = _lines(source.text)
    if start >= 1 and lines[start - 1 : start - 1 + len(wanted)] == wanted:
        return start, start + len(wanted) - 1, "current"
    # The nearest other place: after an edit above it, a definition is usually close to where it was.
    places = [
        at
        for at in range(len(lines) - len(wanted) + 1)
        if lines[at] == wanted[0] and lines[at : at + len(wanted)] == wanted
    ]
    if places and any(line.strip() for line in wanted):
        at = min(places, key=lambda place: abs(place + 1 - start))
        return at + 1, at + len(wanted), "current"
    return start, end, "missing" if start > len(lines) else "changed"


def _lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n")]


def _numbers(text: str) -> list[int]:
    """The numbers of "3", "3, 5" and "3-5" (a range of at most twenty)."""
    numbers: list[int] = []
    parts = re.split(r"\s*(?:[,;]|and)\s*", text.replace("^", ""))
    for part in parts:
        ends = [int(end) for end in re.split(r"\s*[–-]\s*", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + 20:
            numbers += range(ends[0], ends[1] + 1)
        else:
            numbers += ends
    return numbers
