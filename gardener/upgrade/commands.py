"""Runs commands of one version or another, each with a deadline, and writes down what they said."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gardener.errors import UpgradeFailed
from gardener.paths import open_private

_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables that would lend one version's modules to another."""


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """The last of what it said, in one line of at most 400 characters."""
        return " ".join((self.err or self.out).split())[-400:]


class Commands:
    """Runs commands and keeps their words in the file `log` (0600)."""

    def __init__(self, log: str) -> None:
        self.log = log

    def note(self, text: str) -> None:
        """A line of our own in the log."""
        with open(self.log, "a", encoding="utf-8", errors="replace", opener=open_private) as handle:
            handle.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def run(
        self,
        arguments: Sequence[str],
        *,
        seconds: float,
        folder: str,
        environment: Mapping[str, str] | None = None,
        text: str = "",
        write_down: bool = True,
    ) -> Said:
        """Runs a command to its end, in a session of its own that is killed as a whole after `seconds`.

        `text` is its standard input; `write_down` False keeps what it prints, code perhaps, out of the log.

        Raises UpgradeFailed when it does not end or cannot be started.
        """
        self.note("run: " + " ".join(arguments))
        try:
            process = subprocess.Popen(
                list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
                env=clean_environment(environment), start_new_session=True, text=True, errors="replace",
            )  # fmt: skip
        except OSError as error:
            raise UpgradeFailed(f"{arguments[0]} could not be started: {error.strerror}.") from error
        try:
            out, err = process.communicate(text, seconds)
        except BaseException as error:
            kill_group(process)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                self.note(f"it did not end within {seconds:.0f} s and was killed")
                raise UpgradeFailed(f"`{_short(arguments)}` did not end within {seconds:.0f} s.") from error
            raise
        self.note(f"exit code {process.returncode}\n{out[-20_000:] if write_down else ''}{err[-20_000:]}".rstrip())
        return Said(process.returncode, out, err)

    def need(
        self, arguments: Sequence[str], *, seconds: float, folder: str, environment: Mapping[str, str] | None = None
    ) -> Said:
        """As `run`. Raises UpgradeFailed also for an exit code other than 0."""
        said = self.run(arguments, seconds=seconds, folder=folder, environment=environment)
        if said.code:
            raise UpgradeFailed(f"`{_short(arguments)}` failed: {said.text}")
        return said


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would mix versions, and with `more`."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN} | dict(more or {})


def gardener(python: str, *words: str) -> list[str]:
    """A command line of the version that `python` belongs to; -P keeps the working directory out of its path."""
    return [python, "-P", "-m", "gardener.cli.main", *words]


def kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Kills a process that leads a session of its own, and what it started."""
    with suppress(ProcessLookupError):  # it has ended, and everything with it
        os.killpg(process.pid, signal.SIGKILL)


def _short(arguments: Sequence[str]) -> str:
    words = list(arguments)
    if "gardener.cli.main" in words:
        words = ["gardener", *words[words.index("gardener.cli.main") + 1 :]]
    elif "pip" in words:
        words = words[words.index("pip") :]
    return " ".join(words[:4])
