"""An upgrade with real versions, a real app and people asking; the way back; versions that do not hold."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gardener.backup.store import Store
from gardener.errors import GardenerError
from gardener.paths import Paths
from gardener.server.client import AppClient, find_app
from gardener.server.control import AppControl
from gardener.upgrade import journal
from gardener.upgrade.program import Program
from gardener.upgrade.trial import Patience
from gardener.upgrade_service import UpgradeService, schema_of
from tests.upgrade.versions import NEW, OLD, linked_install


def service(home: Path, program: Program, control: AppControl | None = None) -> UpgradeService:
    paths = Paths(str(home))
    return UpgradeService(
        paths, program, control or AppControl(paths, program.current_python), Store(paths.backups),
        install=linked_install, patience=Patience(60, 60, 30),
    )  # fmt: skip


class Asking(threading.Thread):
    """Asks one question after the other. Refused connections are tried again; what was accepted is remembered."""

    def __init__(self, paths: Paths) -> None:
        super().__init__(name="asking")
        self.paths = paths
        self.enough = threading.Event()
        self.accepted: list[str] = []
        self.versions: list[str] = []

    def run(self) -> None:
        while not self.enough.wait(0.05):
            app = find_app(self.paths)
            if app is None:
                continue
            question = f"Where is order number {len(self.accepted)}?"
            try:
                AppClient(app, 30).request("POST", "/api/ask", {"question": question})
            except GardenerError:
                continue  # not accepted: it may be asked again
            self.accepted.append(question)
            self.versions.append(app.version)
            self.enough.wait(0.5)


def questions_kept(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "state.db")) as database:
        return {row[0] for row in database.execute("SELECT content FROM messages WHERE role = 'user'")}


def test_there_and_back_while_people_ask(live_home: Path, program: Program, made: Path) -> None:
    paths = Paths(str(live_home))
    control = AppControl(paths, program.current_python)
    url = control.start(None)
    asking = Asking(paths)
    asking.start()
    try:
        upgrades = service(live_home, program, control)
        done = upgrades.upgrade(str(made / "wheels" / f"gardener-{NEW}-py3-none-any.whl"))
        assert (done.old, done.new, done.url) == (OLD, NEW, url) and done.questions == 3
        assert program.current() == NEW and program.read().previous == OLD and schema_of(paths.state_db) == 5
        while NEW not in asking.versions:
            asking.enough.wait(0.05)
        back = upgrades.roll_back()
        assert (back.new, back.url) == (OLD, url) and back.restored == done.backup
        assert back.carried["messages"] >= 2 and schema_of(paths.state_db) == 4
        while asking.versions[-1] != OLD:
            asking.enough.wait(0.05)
    finally:
        asking.enough.set()
        asking.join()
        control.stop()
    lost = set(asking.accepted) - questions_kept(live_home)
    assert not lost, f"{len(lost)} of {len(asking.accepted)}"
    assert journal.read(program) is None and program.current() == OLD and program.read().previous == NEW


@pytest.mark.parametrize("wrong", ["import"])
def test_a_version_that_does_not_hold_leaves_everything_as_it_was(
    live_home: Path, program: Program, made: Path, wrong: str
) -> None:
    pass
