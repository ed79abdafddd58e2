"""`gardener monitor` as a real process, and `gardener health` beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup_service import BackupService
from gardener.errors import GardenerError
from gardener.health.check import Check
from gardener.health.database import HealthDatabase
from gardener.health.ledger import last_round, running_monitor
from gardener.inspection import Inspections
from gardener.monitor import Monitor
from gardener.paths import Paths
from gardener.server.app_state import ask_app

TOP = Path(__file__).resolve().parent.parent


def command(home: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gardener.cli.main", *words, "--home", str(home)],
        cwd=TOP, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(home: Path, *words: str) -> tuple[int, str, str]:
    process = command(home, *words)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    """A registered folder with an index, which then goes."""
    folder = tmp_path / 'a "quoted" $(folder)'
    folder.mkdir()
    (folder / "lamp.py").write_text("def light(): return 1\n")
    with Gardener(str(home)) as gardener:
        context = gardener.registry.add(str(folder), name="lamp")
        gardener.update_index(context)
    return folder


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]], threading.Semaphore]]:
    """A receiver of alerts: its address, what came, and one permit for each."""
    from tests.health.test_sinks import Hook, HTTPServer

    came = threading.Semaphore(0)

    class Got(list[dict[str, object]]):
        def append(self, item: dict[str, object]) -> None:
            super().append(item)
            came.release()

    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.statuses, server.waits = Got(), [], None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", server.got, came  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_finds_tells_once_and_ends_when_it_is_told(
    home: Path, project: Path, hook: tuple[str, list[dict[str, object]], threading.Semaphore]
) -> None:
    url, got, came = hook
    project.rename(project.with_name("elsewhere"))
    watching = command(home, "monitor", GARDENER_HEALTH_EVERY_SECONDS="10", GARDENER_WEBHOOK_URL=url)
    try:
        assert came.acquire(timeout=60)
        told = [json.loads(body) for _, _, body in got]  # type: ignore[str-unpack]
        gone = next((one for one in told if one["kind"] == "project-folder-gone"), None)
        while gone is None:  # sqlite-old may be the first, where it is
            assert came.acquire(timeout=60)
            gone = next((one for _, _, b in got if (one := json.loads(b))["kind"] == "project-folder-gone"), None)  # type: ignore[str-unpack]
        assert (gone["change"], gone["subject"], gone["severity"]) == ("opened", "lamp", "error")
        assert running_monitor(Paths(str(home))) == watching.pid

        second = said(home, "monitor", "--rounds", "1")
        assert second[0] == 7 and str(watching.pid) in second[2]

        code, out, err = said(home, "health")
        assert code == 1 and "A project's folder is gone: lamp" in out and "gardener move lamp NEW_PATH" in out
        assert f"The monitor is process {watching.pid}" in err
    finally:
        watching.send_signal(signal.SIGTERM)
        out, err = watching.communicate(timeout=20)
    assert watching.returncode == 0 and "Stopped." in err
    assert running_monitor(Paths(str(home))) == 0
    assert sum(json.loads(body)["kind"] == "project-folder-gone" for _, _, body in got) == 1  # type: ignore[str-unpack]


def test_indexes_are_looked_at_by_a_process_that_ends(home: Path, project: Path) -> None:
    with Gardener(str(home)) as gardener:
        monitor = Monitor(gardener, lambda: ask_app(gardener.paths))
        found = {(one.check, one.subject): one for one in monitor._inspections.indexes()}
        assert found["index", "lamp"].severity == "ok" and found["freshness", "lamp"].severity == "ok"
        data = next((Path(gardener.registry.get("lamp").home) / "index").rglob("*.lance/data/*"))
        content = data.read_bytes()
        data.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        damaged = {one.id for one in monitor._inspections.indexes() if one.id}
        assert damaged == {"index-damaged"}
        monitor._inspections.close()


def test_a_look_that_cannot_even_begin_is_told_and_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when an upgrade has deleted the version that this monitor was started from."""
    looks = Inspections(Paths(str(home)))
    monkeypatch.setattr(sys, "executable", str(home / "gone" / "python"))
    with pytest.raises(GardenerError, match="could not be started: No such file"):
        looks.indexes()
    with pytest.raises(GardenerError, match="could not be started"):
        looks.backups()


def test_what_it_has_started_ends_with_it_even_by_a_kill(home: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    child = tmp_path / "child"
    child.write_text(
        f"""#!{sys.executable}
import sys, threading
from gardener.lifeline import end_with_parent
assert sys.argv[1:5] == ["-m", "gardener.cli.inspection", "backups", {str(home)!r}]
end_with_parent(int(sys.argv[5]))
said = open({str(told)!r}, "w")
said.write("alive")
said.flush()
threading.Event().wait()
"""
    )
    child.chmod(0o700)
    started = f"""
import sys
from gardener.inspection import Inspections
from gardener.paths import Paths
sys.executable = {str(child)!r}
Inspections(Paths({str(home)!r})).backups()
"""
    monitor = subprocess.Popen([sys.executable, "-c", started])
    try:
        heard = os.open(told, os.O_RDONLY | os.O_NONBLOCK)
        assert select.select([heard], [], [], 60)[0] and os.read(heard, 10) == b"alive"
        monitor.kill()
        assert select.select([heard], [], [], 60)[0] and os.read(heard, 10) == b""  # its end is that of the child
        os.close(heard)
    finally:
        monitor.kill()
        monitor.wait()


def test_it_makes_the_backups_while_nobody_else_keeps_the_schedule(home: Path, project: Path) -> None:
    with Gardener(str(home)) as gardener:
        service = BackupService(gardener)
        assert service.is_due() == (True, False, False)
        monitor = Monitor(gardener, lambda: ask_app(gardener.paths))
        monitor._inspections.backups()
        assert service.is_due()[0] is False and len(service.store.entries()) == 1
        schedule = service.schedule()  # as an app does
        schedule.look()
        assert not schedule.kept_elsewhere and BackupService(gardener).schedule().kept_elsewhere
        schedule.stop()
        assert not BackupService(gardener).schedule().kept_elsewhere


def test_a_state_that_cannot_be_read_stops_no_round(home: Path, project: Path) -> None:
    (home / "state.db").write_bytes(b"rubbish" * 2000)
    for end in ("-wal", "-shm"):
        (home / f"state.db{end}").unlink(missing_ok=True)
    with closing(sqlite3.connect(home / "health.db")) as database:
        database.execute("PRAGMA user_version = 65537")
    with Gardener(str(home)) as gardener:
        monitor = Monitor(gardener, lambda: ask_app(gardener.paths))
        monitor.look()
        kinds = {issue.kind for issue in monitor.database.open_issues()}
    assert kinds >= {"state-damaged", "health-damaged"} and "state-newer" not in kinds
    assert last_round(HealthDatabase(str(home / "health.db"))) is not None


def test_it_ends_at_once_while_a_check_hangs(home: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, never = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        never.wait()

    with Gardener(str(home)) as gardener:
        monitor = Monitor(gardener, lambda: ask_app(gardener.paths))
        monkeypatch.setattr(monitor, "_checks", lambda: [Check("hangs", hang, limit_s=600)])
        monkeypatch.setattr("gardener.monitor.GRACE_S", 0.1)
        thread = threading.Thread(target=monitor.run)
        thread.start()
        assert begun.wait(20)
        monitor.stop()
        thread.join(20)
        ended = not thread.is_alive()
        never.set()
        assert ended and running_monitor(gardener.paths) == 0
