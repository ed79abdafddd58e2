"""Each kind of trouble made for real in a small home, mended, and looked at again by the checks that found it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup_service import BackupService
from gardener.cli.commands import COMMANDS
from gardener.health import indexes as health_indexes
from gardener.health.app import AppState
from gardener.health.kinds import KINDS
from gardener.repair import work
from gardener.repair.plan import NotHere, Plan
from gardener.repair.table import REPAIRS
from gardener.repair.work import Outcome, Trouble
from tests.conftest import made_once
from tests.tiny_projects import make_tiny_project

MESSAGES = 40


@pytest.fixture(scope="module")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one indexed project, a conversation and a good backup."""

    def make(place: Path) -> None:
        make_tiny_project(place / "amber", "amber", files=3)
        with Gardener(str(place / "home")) as gardener:
            context = gardener.registry.add(str(place / "amber"), "amber")
            gardener.update_index(context)
            conversation = gardener.history.start(context.id, "first")
            for number in range(MESSAGES):
                gardener.history.append(context.id, conversation.id, "user", f"question {number} " + "word " * 300)

    return made_once(tmp_path_factory, "repair", make)


@pytest.fixture
def place(small_home: Path, home: Path, tmp_path: Path) -> Path:
    """A copy of it, which may be broken: the home; its project's folder is its neighbour."""
    shutil.copytree(small_home / "home", home, dirs_exist_ok=True)
    shutil.copytree(small_home / "amber", tmp_path / "amber")
    for folder, _, _ in os.walk(home):
        Path(folder).chmod(0o700)
    with Gardener(str(home)) as gardener:
        gardener.registry.move("amber", str(tmp_path / "amber"))
    return home


def nobody(_: Gardener) -> AppState:
    return AppState()


class Bench:
    def __init__(self, home: Path, ask: Callable[[Gardener], AppState] = nobody) -> None:
        self.home = home
        self.ask = ask

    def open(self) -> Gardener:
        return Gardener(str(self.home))

    def find(self, kind: str, check: str, *, deep: bool = False) -> Trouble:
        with self.open() as gardener:
            (found,) = [one for one in work.find(gardener, self.ask, deep=deep, only={check}) if one.finding.id == kind]
        return found

    def plan(self, trouble: Trouble) -> Plan | NotHere:
        with self.open() as gardener:
            return work.plan(gardener, trouble)

    def mend(self, kind: str, check: str, *, deep: bool = False) -> Outcome:
        trouble = self.find(kind, check, deep=deep)
        plan = self.plan(trouble)
        assert isinstance(plan, Plan), plan
        return work.mend(self.open, self.ask, trouble, plan, deep=deep)

    def mended(self, kind: str, check: str, *, deep: bool = False) -> Outcome:
        outcome = self.mend(kind, check, deep=deep)
        assert outcome.mended and not outcome.problem, outcome
        return outcome


@pytest.fixture
def bench(place: Path) -> Bench:
    return Bench(place)


def folder_of(home: Path) -> Path:
    (found,) = (home / "projects").iterdir()
    return found


def messages(home: Path) -> int:
    with closing(sqlite3.connect(home / "state.db")) as database:
        return int(database.execute("SELECT count(*) FROM messages").fetchone()[0])


def test_every_kind_is_mended_or_says_why_not() -> None:
    assert REPAIRS.keys() == KINDS.keys()
    for entry in REPAIRS.values():
        if isinstance(entry, NotHere):
            assert entry.why.endswith(".") and entry.command
            words = entry.command.split()
            assert words[0] != "gardener" or words[1].startswith("-") or words[1] in COMMANDS, entry


# ---- the home ----------------------------------------------------------------------------------------


def test_what_others_can_read_is_closed(bench: Bench) -> None:
    home = bench.home
    (home / "run").mkdir(exist_ok=True)
    token = home / "run" / "app.json"
    token.write_text("{}")
    manifest, projects = folder_of(home) / "index" / "manifest.db", home / "projects"
    for path, mode in ((token, 0o644), (manifest, 0o664), (projects, 0o755)):
        path.chmod(mode)
    outcome = bench.mended("token-exposed", "tokens")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and "token revoke" in " ".join(outcome.done)
    outcome = bench.mended("modes-open", "home")
    assert stat.S_IMODE(projects.stat().st_mode) == 0o700 and stat.S_IMODE(manifest.stat().st_mode) == 0o600
    before = json.loads((Path(outcome.kept) / "modes.json").read_text())
    assert before[str(projects)] == "0755" and before[str(manifest)] == "0664"
    assert stat.S_IMODE(os.stat(outcome.kept).st_mode) == 0o700


def test_what_is_wrong_in_the_settings_goes_and_the_rest_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bench.home / "config.toml"
    wrong = '# mine\n[search]\nlimit = "many"\n[server]\nport = 7999\nnope = 1\n'
    config.write_text(wrong)
    config.chmod(0o600)
    outcome = bench.mended("config-invalid", "config")
    assert config.read_text() == "# mine\n[server]\nport = 7999\n"
    assert (Path(outcome.kept) / "config.toml").read_text() == wrong
    config.write_text("[search\n")
    outcome = bench.mended("config-invalid", "config")
    assert not config.exists() and (Path(outcome.kept) / "config.toml").read_text() == "[search\n"
    monkeypatch.setenv("GARDENER_SEARCH_LIMIT", "many")
    plan = bench.plan(bench.find("config-invalid", "config"))
    assert isinstance(plan, NotHere) and plan.command == "unset GARDENER_SEARCH_LIMIT"


def test_issues_from_before_are_put_away(bench: Bench) -> None:
    (bench.home / "health.db.damaged-20260101-000000").write_text("rubbish")
    outcome = bench.mended("health-damaged", "issues")
    assert (Path(outcome.kept) / "health.db.damaged-20260101-000000").read_text() == "rubbish"


def test_folders_of_no_project_go_and_what_cannot_be_made_again_is_kept(bench: Bench) -> None:
    orphan = bench.home / "projects" / "aaaaaaaaaaaa"
    for name in ("index", "adapters"):
        (orphan / name).mkdir(parents=True)
        (orphan / name / "file").write_text(name)
    os.utime(orphan, (1, 1))
    outcome = bench.mended("folders-orphaned", "folders")
    assert not orphan.exists()
    kept = [path for path in Path(outcome.kept).rglob("*") if path.is_file()]
    assert [path.read_text() for path in kept] == ["adapters"]


def test_a_repair_that_does_not_help_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARDENER_HEALTH_DISK_WARNING", "1")
    monkeypatch.setenv("GARDENER_HEALTH_DISK_ERROR", "1")
    trouble = bench.find("disk-full", "disk")
    plan = bench.plan(trouble)
    assert isinstance(plan, NotHere) and plan.command == "gardener disk"
    orphan = bench.home / "projects" / "aaaaaaaaaaaa"
    (orphan / "index").mkdir(parents=True)
    (orphan / "index" / "file").write_text("x" * 5_000)
    os.utime(orphan, (1, 1))
    outcome = bench.mend("disk-full", "disk")
    assert not outcome.mended and outcome.problem.startswith("It is still there: ") and not orphan.exists()


# ---- indexes and vectors -----------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def test_an_index_that_is_missing_stale_or_damaged_is_made_again(bench: Bench) -> None:
    home, index = bench.home, folder_of(bench.home) / "index"
    flip(next((index / "chunks.lance" / "data").iterdir()))
    assert "built anew" in " ".join(bench.mended("index-damaged", "index", deep=True).done)

    with closing(sqlite3.connect(index / "manifest.db")) as database:
        database.execute("UPDATE files SET chunks = chunks + 1")
        database.commit()
    bench.mended("index-damaged", "index")

    (index / "manifest.db").write_bytes(b"SQLite format 3\0" + b"?" * 9_000)
    outcome = bench.mended("index-damaged", "project")
    assert (Path(outcome.kept) / "manifest.db").stat().st_size > 9_000

    shutil.rmtree(index)
    bench.mended("index-missing", "project")

    (home.parent / "amber" / "order.py").write_text("def fresh():\n    return 1\n")
    bench.ask = lambda _: AppState(watching={"amber": "watching"})
    bench.mended("index-stale", "freshness")


def test_an_index_in_pieces_is_written_in_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.open() as gardener:
        for number in range(6):
            (bench.home.parent / "amber" / f"new_{number}.py").write_text(
                f"def fresh_{number}():\n    return {number}\n"
            )
            gardener.update_index(gardener.context("amber"))
        burden = gardener.index(gardener.context("amber")).indexer.table.burden()
    monkeypatch.setattr(health_indexes, "FRAGMENTED", burden)
    bench.mended("index-fragmented", "index")


@pytest.mark.usefixtures("embedder")
def test_damaged_vectors_are_dropped(bench: Bench) -> None:
    import numpy as np

    with bench.open() as gardener:
        store = gardener.embedding.store()
        store.put(["aa" * 32, "bb" * 32], np.eye(2, 384, dtype=np.float16))
        (path,) = Path(store.folder).glob("*.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE rowid = 1")
        database.commit()
    assert "1 damaged vectors were dropped" in " ".join(bench.mended("vectors-damaged", "vectors", deep=True).done)


# ---- state.db ----------------------------------------------------------------------------------------


def damage(home: Path, name: str, *, inner: bool = False) -> None:
    """Overwrites a page of a table or an index: its first one, or one far from it."""
    path = home / "state.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = int(database.execute("PRAGMA page_size").fetchone()[0])
        root = int(database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0])
        if inner:
            pages = database.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (name,)
            )
            root = [int(page) for (page,) in pages][3]
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : (root - 1) * size + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))


def test_a_state_whose_rows_are_whole_loses_none(bench: Bench) -> None:
    damage(bench.home, "conversations_by_project")
    damaged = (bench.home / "state.db").read_bytes()
    trouble = bench.find("state-damaged", "state")
    plan = bench.plan(trouble)
    assert isinstance(plan, Plan) and "no row is damaged" in plan.does
    assert (bench.home / "state.db").read_bytes() == damaged, "a plan changes nothing"
    outcome = bench.mended("state-damaged", "state")
    assert messages(bench.home) == MESSAGES and (Path(outcome.kept) / "state.db").read_bytes() == damaged
    with bench.open() as gardener:
        assert gardener.state.check() == [] and gardener.context("amber").name == "amber"
        assert len(gardener.history.search(gardener.context("amber").id, "question")) > 1
    assert stat.S_IMODE((bench.home / "state.db").stat().st_mode) == 0o600
    assert not list(bench.home.glob("restoring*"))


def test_a_state_with_lost_rows_comes_from_the_backup_else_what_is_left_is_saved(bench: Bench) -> None:
    try:
        damage(bench.home, "messages", inner=True)
    except sqlite3.OperationalError:
        pytest.fail("this SQLite has no dbstat")
    outcome = bench.mended("state-damaged", "state")
    left = messages(bench.home)
    assert MESSAGES // 2 < left < MESSAGES and f"{Path(outcome.kept) / ''}".rstrip("/") in " ".join(outcome.done)
    with bench.open() as gardener:
        assert gardener.state.check() == []
        backup = BackupService(gardener).create()
    (bench.home / "state.db").write_bytes(b"SQLite format 3\0" + b"?" * 9_000)
    assert backup.manifest.id in " ".join(bench.mended("state-damaged", "state").done)
    assert messages(bench.home) == left
    shutil.rmtree(bench.home / "backups")
    (bench.home / "state.db").write_bytes(b"no database at all" * 900)
    outcome = bench.mended("state-damaged", "state")
    assert (Path(outcome.kept) / "state.db").read_bytes().startswith(b"no database") and messages(bench.home) == 0


# ---- backups and services ----------------------------------------------------------------------------


def test_backups_are_made_proved_and_damaged_ones_set_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with bench.open() as gardener:
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda: now - 40 * 86_400)
            old = BackupService(gardener).create().manifest.id
        shutil.rmtree(gardener.paths.run, ignore_errors=True)
    bench.mended("backup-unproven", "backups")
    bench.mended("backup-old", "backups")
    store = bench.home / "backups"
    for path in (store / old).rglob("manifest.json"):
        path.write_text("{")
    outcome = bench.mended("backup-damaged", "backups")
    assert (store / "damaged" / old).is_dir() and not (store / old).exists() and not outcome.kept
    with bench.open() as gardener:
        assert all(entry.good for entry in BackupService(gardener).store.entries())


class Services:
    """A service manager that does what it is told; whether that starts anything is up to the test."""

    def __init__(self, file: Path, outdated: bool) -> None:
        self.path, self.outdated, self.told = file, outdated, list[str]()

    def file(self, service: object) -> str:
        return str(self.path)

    def state(self, service: object) -> object:
        from gardener.service.manager import ServiceState

        return ServiceState(str(self.path), True, self.outdated, True)

    def install(self, service: object) -> None:
        self.told.append("install")

    def restart(self, service: object) -> None:
        self.told.append("restart")


@pytest.mark.parametrize(("outdated", "told"), [(True, "install"), (False, "restart")])
def test_the_service_is_started_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outdated: bool, told: str
) -> None:
    unit = tmp_path / "gardener.service"
    plan = bench.plan(Trouble(health_app_down(), frozenset({"app"})))
    assert isinstance(plan, NotHere) and plan.command == "gardener stop"
    unit.write_text("old")
    services = Services(unit, outdated)
    monkeypatch.setattr("gardener.service.manager.manager", lambda: services)
    monkeypatch.setattr(work, "ASK_AGAIN_S", 0.0)
    asked: list[int] = []

    def ask(_: Gardener) -> AppState:
        from gardener import __version__

        asked.append(1)
        return AppState(True, "http://127.0.0.1:1", __version__, answers=len(asked) > 3)

    bench.ask = ask
    outcome = bench.mended("app-down", "app")
    assert services.told == [told] and len(asked) > 3
    assert bool(outcome.kept) is outdated and (not outdated or (Path(outcome.kept) / unit.name).read_text() == "old")


def health_app_down() -> work.Finding:
    from gardener.health.check import Finding

    return Finding("app-down", "error", "It does not answer.", "gardener service start")


def test_copies_are_in_no_backup_and_survive_a_restore(bench: Bench) -> None:
    kept = bench.home / "repairs" / "x" / "secret-copy"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    with bench.open() as gardener:
        made = BackupService(gardener).create()
        assert not [file for file in made.manifest.files if "secret-copy" in str(file)]
        BackupService(gardener).restore()
    assert kept.read_text() == "x" and not re.search("repairs", " ".join(os.listdir(bench.home / "backups")))
