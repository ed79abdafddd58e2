"""How commands speak: data on stdout, messages and progress on stderr, no colour and no motion off a terminal."""

from __future__ import annotations

import os
import sys

from gardener.sizes import known_size as known_size
from gardener.sizes import size as size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TextIO

    from gardener.errors import GardenerError

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))}
_BIDI = {code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_INERT = _CONTROL | _BIDI
_INERT_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *_BIDI)}
"""What json.dumps leaves as it is. Such characters stand inside of strings only, where this is how JSON spells them."""


def inert(text: str) -> str:
    """Text from a repository or a model that cannot drive the terminal: control and bidi characters are spelled out."""
    return text.translate(_INERT)


def one_line(text: str) -> str:
    """The same for a name that stands in a line: it can neither end the line nor move on in it."""
    return inert(text).replace("\n", "\\n").replace("\t", "\\t")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that cannot drive the terminal: the same value, with control and bidi characters spelled out."""
    import json

    # Lone surrogates (undecodable file names) must not end a command that lists files.
    text = json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "replace").decode("utf-8")
    return text.translate(_INERT_JSON)


class Console:
    """One command's way to its user. `as_json` asks for machine-readable output."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        home: str | None = None,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.home = home
        self.quiet = quiet
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self._progress_shown = False

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin is not None and sys.stdin.isatty() and self.stderr.isatty()

    def colour(self, stream: TextIO) -> bool:
        """Whether a stream may carry colour: https://no-color.org, and a terminal that is not dumb."""
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def bold(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self.colour(self.stdout) else text

    def dim(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self.colour(self.stdout) else text

    # ---- data ----------------------------------------------------------------------------------------

    def json(self, value: Any) -> None:
        self.end_progress()
        self.stdout.write(json_text(value, 2 if self.stdout.isatty() else None) + "\n")

    def line(self, text: str = "") -> None:
        self.end_progress()
        self.stdout.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")

    def line_unless_json(self, text: str) -> None:
        """The main result as a sentence; with --json the caller prints the object instead."""
        if not self.as_json:
            self.line(text)

    def write(self, text: str) -> None:
        """Part of a line, shown at once: for answers that stream."""
        self.end_progress()
        self.stdout.write(text.encode("utf-8", "replace").decode("utf-8"))
        self.stdout.flush()

    def table(self, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
        """A plain table that fits the terminal: the last column gives way first; piped output is never cut."""
        self.end_progress()
        cells = [[one_line(str(row.get(column, ""))) for column in columns] for row in rows]
        widths = [max([len(c.upper()), *(len(line[i]) for line in cells)]) for i, c in enumerate(columns)]
        if self.stdout.isatty():
            import shutil

            room = shutil.get_terminal_size().columns
            for i in reversed(range(len(columns))):
                excess = sum(widths) + 2 * (len(widths) - 1) - room
                if excess > 0:
                    widths[i] = max(8, widths[i] - excess)
        head = "  ".join(column.upper().ljust(width) for column, width in zip(columns, widths, strict=True))
        self.line(self.bold(head.rstrip()))
        for line in cells:
            shown = [
                cell if len(cell) <= width else cell[: width - 1] + "…"
                for cell, width in zip(line, widths, strict=True)
            ]
            self.line("  ".join(cell.ljust(width) for cell, width in zip(shown, widths, strict=True)).rstrip())

    # ---- messages ------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """A message for the person, on stderr."""
        if not self.quiet:
            self.end_progress()
            self.stderr.write(inert(text) + "\n")

    def error(self, error: GardenerError) -> None:
        from gardener.health.kinds import kind_of_error

        self.end_progress()
        if self.as_json:
            self.stderr.write(json_text(error.as_json()) + "\n")
            return
        word = "\033[31merror:\033[0m" if self.colour(self.stderr) else "error:"
        self.stderr.write(f"{word} {inert(error.message)}\n")
        if error.next_step:
            self.stderr.write(f"  try: {inert(error.next_step)}\n")
        runbook = kind_of_error(error.code)
        # Not of every ConfigError is a setting that stands in a file the cause.
        if runbook not in ("check-failed", "config-invalid") and runbook not in error.next_step:
            self.stderr.write(f"  more: gardener runbook {runbook}\n")

    def progress(self, text: str) -> None:
        """One line that is written over; nothing when stderr is not a terminal."""
        if self.quiet or not self.stderr.isatty():
            return
        import shutil

        room = shutil.get_terminal_size().columns - 1
        self.stderr.write("\r\033[K" + inert(text)[:room])
        self.stderr.flush()
        self._progress_shown = True

    def end_progress(self) -> None:
        if self._progress_shown:
            self.stderr.write("\r\033[K")
            self.stderr.flush()
            self._progress_shown = False

    def confirm(self, question: str) -> bool:
        """Asks on the terminal; without one the answer is no, so that a script never destroys by default."""
        if not self.interactive:
            return False
        self.end_progress()
        self.stderr.write(f"{inert(question)} [y/N] ")
        self.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def duration(seconds: float) -> str:
    """Seconds as a person says them: "4 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
