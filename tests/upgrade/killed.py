"""Runs one upgrade or rollback and kills itself at the n-th point: python -m tests.upgrade.killed ACTION N HOME PROGRAM
WHEEL [--real]. Points are what gardener.upgrade and gardener.backup log on the way. Without --real no app runs, and the
trial on a copy is left out: the version in force opens the data as its app would.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import Any

from gardener.backup.store import Store
from gardener.errors import AppUnreachable
from gardener.paths import Paths
from gardener.server.control import AppControl
from gardener.upgrade.program import Program
from gardener.upgrade.result import Control
from gardener.upgrade.trial import Patience
from gardener.upgrade_service import UpgradeService
from tests.upgrade.versions import NEW, linked_install


class OpensTheData:
    """Stands in for the live app: starting it opens the data with the version in force, which migrates it."""

    def __init__(self, paths: Paths, program: Program, *, broken: str = "") -> None:
        """`broken` is the version whose app never becomes ready."""
        self._paths = paths
        self._program = program
        self._broken = broken
        self.running = True

    def how_it_runs(self) -> dict[str, Any] | None:
        return {"services": [], "app": True, "options": [], "host": "", "port": 0} if self.running else None

    def stop(self, *, force: bool = False) -> None:
        self.running = False

    def start(self, how: dict[str, Any] | None) -> str:
        self.running = True
        script = (
            "import sys\nfrom gardener.state import State\nfrom gardener.paths import Paths\n"
            "with State(Paths(sys.argv[1]).state_db): pass"
        )
        subprocess.run(
            [self._program.current_python, "-P", "-c", script, self._paths.home], check=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )  # fmt: skip
        if self._program.current() == self._broken:
            raise AppUnreachable("The app does not say that it is ready.")
        return "http://127.0.0.1:1"

    def say_upgrading(self, say: bool) -> None: ...


class WithoutTrial(UpgradeService):
    def _try(self, *_: Any) -> Any:
        return (), 0


class Killer(logging.Handler):
    def __init__(self, at: int) -> None:
        super().__init__(logging.DEBUG)
        self._left = at

    def emit(self, record: logging.LogRecord) -> None:
        self._left -= 1
        sys.stdout.write(record.getMessage() + "\n")
        sys.stdout.flush()
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def upgrades(home: str, program: str, control: Control | None = None) -> UpgradeService:
    """With an app (`control` None) all of it, else without the trial."""
    paths, where = Paths(home), Program(program)
    kind = UpgradeService if control is None else WithoutTrial
    return kind(
        paths, where, control or AppControl(paths, where.current_python), Store(paths.backups), install=linked_install,
        patience=Patience(60, 60, 30),
    )  # fmt: skip


def main(action: str, point: str, home: str, program: str, wheel: str, *options: str) -> None:
    control = None if "--real" in options else OpensTheData(
        Paths(home), Program(program), broken=NEW if "--broken" in options else ""
    )  # fmt: skip
    for name in ("gardener.upgrade", "gardener.backup"):
        log = logging.getLogger(name)
        log.setLevel(logging.DEBUG)
        log.addHandler(KILLER)
    service = upgrades(home, program, control)
    if action == "upgrade":
        service.upgrade(wheel)
    else:
        service.roll_back()


if __name__ == "__main__":
    KILLER = Killer(int(sys.argv[2]))
    main(*sys.argv[1:])
