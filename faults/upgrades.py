"""Upgrades that go wrong: versions that are broken in each way, and kill -9 at every named point.

Broken versions are tried with a real app and everything else that is real; kills happen at every point of an upgrade,
of one whose new version does not hold, and of a rollback. After each the state has to be the old one or the new one,
whole, the next command has to work, and the next upgrade has to finish or undo.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from faults.garden import Outcome, show
from gardener.errors import UpgradeFailed
from gardener.models.embeddings import load_embedder
from gardener.paths import Paths
from gardener.server.control import AppControl
from gardener.upgrade import journal
from gardener.upgrade.older_state import schema_of
from gardener.upgrade.program import Program
from gardener.upgrade.trial import Patience, ready
from tests.upgrade.homes import copy_home, killed, make_home, tables
from tests.upgrade.killed import OpensTheData, upgrades
from tests.upgrade.versions import BROKEN, NEW, OLD, build_wheel, copy_program, make_program, newer

SAID = "Where are orders loaded?"


@contextmanager
def fresh(made: Path) -> Iterator[tuple[Path, Program]]:
    """A home and a program folder of its own."""
    with tempfile.TemporaryDirectory() as place:
        home = copy_home(made / "home", Path(place) / "home", made / "amber")
        yield home, copy_program(made / "program", Path(place) / "program")


def _progress(*what: str) -> None:
    """It takes half an hour: who waits sees that it goes on, and who stops it has what there was."""
    print(*(part for part in what if part), sep="  ", file=sys.stderr, flush=True)


def make(made: Path) -> None:
    (made / "wheels").mkdir()
    wheel = build_wheel(made / "wheels")
    newer(wheel)
    make_program(made / "program", wheel)
    load_embedder(str(made / "models")).close()
    make_home(made / "home", made / "amber", made / "models")


def broken_version(made: Path, name: str) -> str:
    """What happened, and "" or what was lost."""
    wheel = made / "wheels" / f"gardener-{OLD}-py3-none-any.whl"
    number = f"0.3.{list(BROKEN).index(name)}"
    bad = newer(wheel, number, BROKEN[name])
    with fresh(made) as (home, program):
        control = AppControl(Paths(str(home)), program.current_python)
        url = control.start(None)
        before = tables(home)
        service = upgrades(str(home), program.folder)
        service._patience = Patience(180, 20 if name in ("ready", "hangs") else 180, 60)
        service._control._ready_s = 60.0  # type: ignore[attr-defined]
        try:
            service.upgrade(str(bad))
            said = "IT WAS PUT IN FORCE"
        except UpgradeFailed as error:
            said = error.message
        now, after = service._control.how_it_runs(), tables(home)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        lost = [
            text
            for wrong, text in (
                (program.current() != OLD, "the version"),
                (journal.read(program) is not None, "an end"),
                (not now or f"http://{now['host']}:{now['port']}" != url or not ready(url), "the app"),
                (changed, f"data: {changed}"),
                (program.installed() != [OLD], "room"),
            )
            if wrong
        ]
        service._control.stop()
        control.stop()
        return f"{said[:150]}" + (f"  LOST: {', '.join(lost)}" if lost else "")


def kills(made: Path, action: str, *options: str) -> tuple[int, list[str]]:
    """Kills at every point. Returns how many, and what was lost."""
    wheel = str(made / "wheels" / f"gardener-{NEW}-py3-none-any.whl")
    lost: list[str] = []
    point = 0
    while True:
        point += 1
        with fresh(made) as (home, program):
            stand_in = OpensTheData(Paths(str(home)), program)
            if action == "rollback":
                upgrades(str(home), program.folder, stand_in).upgrade(wheel)
            said = killed(action, point, home, program, wheel, *options)
            if said is None:
                return point - 1, lost
            problem = after_a_kill(home, program, action, stand_in, wheel)
            lost += [f"{said[-1]}: {problem}"] if problem else []
            _progress(" ".join([action, *options]), f"killed after: {said[-1]}", problem)


def after_a_kill(home: Path, program: Program, action: str, control: OpensTheData, wheel: str) -> str:
    """ "" when nothing is lost."""
    listed = subprocess.run(
        [program.current_python, "-P", "-m", "gardener.cli.main", "history", "list", "--json"],
        capture_output=True, text=True, cwd=home,
        env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, "GARDENER_HOME": str(home)},
    )  # fmt: skip
    if listed.returncode or SAID not in listed.stdout:
        return f"the next command: {listed.stderr[:200]}"
    with closing(sqlite3.connect(home / "state.db")) as database, database:  # as a command of that version would
        database.execute("UPDATE messages SET feedback = 1 WHERE role = 'assistant'")
    service = upgrades(str(home), program.folder, control)
    if action == "rollback":
        if program.current() == NEW or service.unfinished():
            service.roll_back()
        wanted, schema = OLD, 4
    else:
        service.upgrade(wheel)
        wanted, schema = NEW, 5
    if program.current() != wanted or schema_of(str(home / "state.db")) != schema:
        return f"{program.current()} is in force with schema {schema_of(str(home / 'state.db'))}"
    if journal.read(program) is not None:
        return "it is still unfinished"
    with closing(sqlite3.connect(home / "state.db")) as database:
        rows = database.execute("SELECT content, feedback FROM messages ORDER BY id").fetchall()
        whole = database.execute("PRAGMA integrity_check").fetchone()[0]
    if [row[0] for row in rows] != [SAID, "In order.py."] or whole != "ok":
        return f"messages: {rows}, {whole}"
    return "" if rows[1][1] == 1 else "what was done after the kill"


def main(work: Path, seed: int, tries: int) -> int:
    """Every broken version and every point, whatever `seed` and `tries` say: there is nothing random in it."""
    os.environ["GARDENER_OLLAMA_URL"] = ""
    began = time.time()
    make(work)
    versions = Outcome("versions that do not work")
    for name in BROKEN:
        said = broken_version(work, name)
        versions.tried += 1
        _progress("a version that does not work", f"{name}: {said}")
        if "LOST" in said or "IN FORCE" in said:
            versions.broken.append(f"{name}: {said}")
    outcomes = [versions]
    for action, *options in (["upgrade"], ["upgrade", "--broken"], ["rollback"]):
        outcome = Outcome(" ".join(["kill -9 in", action, *options]))
        outcome.tried, outcome.broken = kills(work, action, *options)
        outcomes.append(outcome)
    return show("Upgrades and rollbacks", outcomes, began)
