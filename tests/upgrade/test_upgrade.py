"""An upgrade with real versions, a real app and people asking; the way back; versions that do not hold."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from gardener.errors import GardenerError, UpgradeFailed
from gardener.paths import Paths
from gardener.server.client import AppClient, find_app
from gardener.server.control import AppControl
from gardener.upgrade import journal
from gardener.upgrade.older_state import schema_of
from gardener.upgrade.program import Program
from tests.upgrade.homes import killed, tables
from tests.upgrade.killed import OpensTheData, upgrades
from tests.upgrade.versions import BROKEN, NEW, OLD, newer


class Asking(threading.Thread):
    """Asks one question after the other. Refused connections are tried again; what was accepted is remembered."""

    def __init__(self, paths: Paths, program: Program) -> None:
        super().__init__(name="asking")
        self.paths = paths
        self.program = program
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
            while not self.enough.wait(0.25) and self.calm():
                pass

    def calm(self) -> bool:
        """Nothing live is touched while a copy is tried: a few questions until then, and many afterwards."""
        found = journal.read(self.program)
        return len(self.accepted) > 3 and found is not None and found.phase == "trying"


def questions_kept(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "state.db")) as database:
        return {row[0] for row in database.execute("SELECT content FROM messages WHERE role = 'user'")}


def test_nothing_that_was_accepted_is_lost_by_an_upgrade(live_home: Path, program: Program, made: Path) -> None:
    paths = Paths(str(live_home))
    control = AppControl(paths, program.current_python)
    url = control.start(None)
    service = upgrades(str(live_home), program.folder)
    asking = Asking(paths, program)
    asking.start()
    try:
        done = service.upgrade(wheel_of(made))
        assert (done.old, done.new, done.url) == (OLD, NEW, url) and done.questions == 3
        while NEW not in asking.versions:
            asking.enough.wait(0.05)
    finally:
        asking.enough.set()
        asking.join()
        service._control.stop()
        control.stop()
    lost = set(asking.accepted) - questions_kept(live_home)
    assert not lost, f"{len(lost)} of {len(asking.accepted)}"
    assert program.current() == NEW and program.read().previous == OLD and schema_of(paths.state_db) == 5
    assert journal.read(program) is None


def test_the_way_back_keeps_what_was_made_since(live_home: Path, program: Program, made: Path) -> None:
    control = OpensTheData(Paths(str(live_home)), program)
    service = upgrades(str(live_home), program.folder, control)
    done = service.upgrade(wheel_of(made))
    with closing(sqlite3.connect(live_home / "state.db")) as database, database:
        database.execute(
            "INSERT INTO messages (conversation_id, project_id, role, content, created_at)"
            " SELECT id, project_id, 'user', 'asked since', 1 FROM conversations"
        )
        database.execute("UPDATE conversations SET mood = 'merry'")
    assert service.plan_rollback() == (NEW, OLD, done.backup)
    told: list[str] = []
    service._tell = told.append
    back = service.roll_back()
    assert any(done.backup in sentence and "since, conversations too" in sentence for sentence in told), told
    assert (back.old, back.new, back.restored) == (NEW, OLD, done.backup) and back.carried == {"messages": 1}
    assert back.left == ["the column mood of conversations, which this version does not know"]
    assert questions_kept(live_home) == {"Where are orders loaded?", "asked since"}
    assert schema_of(str(live_home / "state.db")) == 4 and schema_of(f"{back.kept}/state.db") == 5
    assert control.running and program.current() == OLD and program.read().previous == NEW
    again = service.upgrade(wheel_of(made))
    assert again.new == NEW and schema_of(str(live_home / "state.db")) == 5
    assert audited(live_home) == ["program.upgraded", "program.rolled_back", "program.upgraded"]


def audited(home: Path) -> list[str]:
    lines = [json.loads(line) for line in (home / "logs" / "audit.log").read_text().splitlines()]
    return [line["event"] for line in lines if line["event"].startswith("program.")]


def wheel_of(made: Path, version: str = NEW) -> str:
    return str(made / "wheels" / f"gardener-{version}-py3-none-any.whl")


def test_a_version_that_does_not_start_is_not_put_in_force(live_home: Path, program: Program, made: Path) -> None:
    broken = newer(Path(wheel_of(made, OLD)), "0.3.0", BROKEN["import"])
    before = tables(live_home)
    with pytest.raises(
        UpgradeFailed, match=r"Upgrading to 0\.3\.0 failed: .*no_such_module.*Version 0\.1\.0 is in force"
    ):
        upgrades(str(live_home), program.folder).upgrade(str(broken))
    assert program.current() == OLD and program.installed() == [OLD] and journal.read(program) is None
    assert tables(live_home) == before and audited(live_home) == ["program.upgrade_undone"]


def test_a_live_app_that_is_not_ready_brings_the_version_and_the_state_back(
    live_home: Path, program: Program, made: Path
) -> None:
    before = tables(live_home)
    control = OpensTheData(Paths(str(live_home)), program, broken=NEW)
    with pytest.raises(UpgradeFailed, match="not say that it is ready"):
        upgrades(str(live_home), program.folder, control).upgrade(wheel_of(made))
    assert list(live_home.glob("before-restore-*/state.db.before-4")), "it had been migrated"
    assert program.current() == OLD and program.installed() == [OLD] and journal.read(program) is None
    assert control.running and tables(live_home) == before
    assert audited(live_home) == ["program.upgrade_undone"]


@pytest.mark.parametrize(("point", "in_force"), [("journal: trying", OLD), ("flipped", NEW)])
def test_after_a_kill_the_next_command_works_and_upgrade_finishes_or_undoes(
    live_home: Path, program: Program, made: Path, point: str, in_force: str
) -> None:
    at = 2 if in_force == OLD else 11
    said = killed("upgrade", at, live_home, program, wheel_of(made))
    assert said and said[-1].startswith(point), said
    assert journal.read(program) is not None and program.current() == in_force
    listed = subprocess.run(
        [program.current_python, "-P", "-m", "gardener.cli.main", "list", "--json", "--home", str(live_home)],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, cwd=live_home,
    )  # fmt: skip
    assert listed.returncode == 0 and "amber" in listed.stdout, listed.stderr
    told: list[str] = []
    control = OpensTheData(Paths(str(live_home)), program)
    again = upgrades(str(live_home), program.folder, control)
    again._tell = told.append
    done = again.upgrade(wheel_of(made))
    assert any(("finished" if in_force == NEW else "undone") in line for line in told)
    assert done.new == NEW and done.changed == (in_force == OLD)
    assert audited(live_home) == [*(["program.upgrade_undone"] if in_force == OLD else []), "program.upgraded"]
    assert program.current() == NEW and journal.read(program) is None and schema_of(str(live_home / "state.db")) == 5
