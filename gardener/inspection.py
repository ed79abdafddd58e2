"""What the monitor has done by a process that ends: checks that load an index, and backups that are due.

An index and what reads it take some 200 MB, which a process that lives for months would keep. A process can also be
killed when it hangs, which a thread cannot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Literal

from gardener.errors import GardenerError
from gardener.health.check import Finding

if TYPE_CHECKING:
    from gardener.paths import Paths

EVERY_S = 1_200.0
FIRST_AFTER_S = 30.0
LIMIT_S = 600.0
BACKUP_LIMIT_S = 6 * 3_600.0
Task = Literal["indexes", "backups"]


class Inspections:
    """Starts such processes, each with an end. `close`, from any thread, ends what is running."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = threading.Event()
        self._newest: list[Finding] | GardenerError | None = None

    def start(self) -> None:
        """Has the indexes looked at every EVERY_S seconds, on a thread that no round waits for."""
        threading.Thread(target=self._keep_looking, name="inspections", daemon=True).start()

    def newest(self) -> list[Finding] | None:
        """As a check: findings of the last look, once; None until the next one has ended. Raises as `indexes`."""
        with self._lock:
            found, self._newest = self._newest, None
        if isinstance(found, GardenerError):
            raise found
        return found

    def _keep_looking(self) -> None:
        wait_s = FIRST_AFTER_S
        while not self._closed.wait(wait_s):
            wait_s = EVERY_S
            try:
                found: list[Finding] | GardenerError = self.indexes()
            except GardenerError as error:
                found = error
            with self._lock:
                self._newest = found

    def indexes(self) -> list[Finding]:
        """Findings of the heavy checks. Raises GardenerError when the process fails or does not end."""
        try:
            listed = json.loads(self._run("indexes", LIMIT_S))
            return [
                Finding(
                    item["id"] or "", item["severity"], item["detail"], item["fix"], item["subject"], item["check"],
                    item["took_ms"],
                )
                for item in listed
            ]  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise GardenerError(
                f"The process that looks at the indexes said nothing of use: {error}.", next_step="gardener doctor"
            ) from error

    def backups(self) -> None:
        """Does what the schedule of backups has due. Raises GardenerError when the process does not end well."""
        self._run("backups", BACKUP_LIMIT_S)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            for process in self._running:
                process.kill()

    def _run(self, task: Task, limit_s: float) -> bytes:
        command = [sys.executable, "-m", "gardener.cli.inspection", task, self._paths.home]
        with self._lock:
            if self._closed.is_set():
                raise GardenerError("The monitor is ending.")
            try:
                process, lifeline = _start(command)
            except OSError as error:  # no memory or no process to be had: tried again at the next time
                raise GardenerError(
                    f"The process that looks at the {task} could not be started: {error.strerror}.",
                    next_step="gardener doctor",
                ) from error
            self._running.add(process)
        try:
            said, wrong = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise GardenerError(
                f"The process that looks at the {task} did not end within {limit_s:.0f} s and was killed.",
                next_step="gardener doctor",
            ) from error
        finally:
            process.kill()
            process.communicate()
            os.close(lifeline)
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            words = wrong.decode("utf-8", "replace").strip()[-300:]
            raise GardenerError(
                f"The process that looks at the {task} ended with {process.returncode}: {words}",
                next_step="gardener doctor",
            )
        return said


def _start(command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the end of a pipe to close when it is over: a kill of this one closes it, too."""
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [*command, str(theirs)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(theirs,),
        )  # fmt: skip
        return process, ours
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
