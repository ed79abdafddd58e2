"""Upgrades that go wrong: python -m scripts.upgrade_faults [--kills] [--broken NAME …]. Both without an option.

Broken versions are tried with a real app and everything else that is real; kills happen at every point that is
named, of an upgrade, of one whose new version does not hold, and of a rollback. After each the state has to be the old
one or the new one, whole, the next command has to work, and the next upgrade has to finish or undo. Prints one line
each, and what was lost.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

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
            begun = time.monotonic()
            problem = after_a_kill(home, program, action, stand_in, wheel)
            print(f"  {action} {' '.join(options)} killed at {said[-1][:60]!r}: {problem or 'whole'}"
                  f" ({time.monotonic() - begun:.1f} s)", flush=True)  # fmt: skip
            lost += [f"{said[-1]}: {problem}"] if problem else []


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--broken", nargs="*", metavar="NAME", help=", ".join(BROKEN))
    given = parser.parse_args()
    broken = given.broken or list(BROKEN)
    everything = not given.kills and given.broken is None
    os.environ["GARDENER_OLLAMA_URL"] = ""
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        made = Path(place)
        make(made)
        if given.broken is not None or everything:
            for name in broken:
                begun = time.monotonic()
                said = broken_version(made, name)
                lost += [f"{name}: {said}"] if "LOST" in said or "IN FORCE" in said else []
                print(f"broken: {name} ({time.monotonic() - begun:.0f} s): {said}", flush=True)
        count = 0
        if given.kills or everything:
            for action, *options in (["upgrade"], ["upgrade", "--broken"], ["rollback"]):
                number, found = kills(made, action, *options)
                count += number
                lost += found
        shutil.rmtree(made / "program", ignore_errors=True)
    tried = len(broken) if given.broken is not None or everything else 0
    print(f"{tried} broken versions, {count} kills; lost: {'; '.join(lost) or 'nothing'}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
