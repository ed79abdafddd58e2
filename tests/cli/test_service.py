"""`gardener service` with the real app under the stand-in for launchd: installed, killed, stopped, removed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from gardener.paths import Paths
from gardener.server.client import AppClient, find_app
from gardener.service import manager
from gardener.service.launchd import Launchd
from tests.cli.conftest import Gardener as Run
from tests.service.test_launchd import stand_in, until


def test_the_app_as_a_service(gardener: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launchd = Launchd(stand_in(tmp_path / "launchd"), str(tmp_path / "agents"))
    monkeypatch.setattr(manager, "manager", lambda: launchd)
    paths = Paths(str(home))
    shown = gardener("service", "install", "--dry-run")
    assert shown.code == 0 and "<key>ProgramArguments</key>" in shown.out and not (tmp_path / "agents").exists()
    assert gardener("service", "status").code == 1

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert gardener("config", "set", "server.port", str(port)).code == 0
    installed = gardener("service", "install", "--json")
    try:
        app = find_app(paths)
        assert installed.code == 0 and app is not None and installed.json["pid"] == app.pid
        assert AppClient(app).request("GET", "/api/status")["jobs"] == []
        state = gardener("service", "status")
        assert (
            state.code == 0
            and state.out.startswith(f"app: running, process {app.pid}\nmonitor: running")
            and app.url in state.out
        )

        os.kill(app.pid, signal.SIGKILL)
        until(lambda: (again := find_app(paths)) is not None and again.pid != app.pid)
        assert gardener("stop").code == 0  # ends well, so it is left alone
        until(lambda: gardener("service", "status").code == 1)
        state = gardener("service", "status", "--json")
        assert (state.code, state.json["services"][0]["pid"], state.json["services"][0]["last_end"]) == (1, None, "0")
        assert "Stopped." in "\n".join(gardener("service", "logs", "--json").json["logs"][0]["lines"])
        assert gardener("service", "start").code == 0 and find_app(paths) is not None
    finally:
        removed = gardener("service", "uninstall")
    assert removed.code == 0 and find_app(paths) is None and list((tmp_path / "agents").iterdir()) == []


def test_an_app_that_does_not_start_is_no_success(
    gardener: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchd = Launchd(stand_in(tmp_path / "launchd"), str(tmp_path / "agents"))
    monkeypatch.setattr(manager, "manager", lambda: launchd)
    monkeypatch.setattr("gardener.cli.service.START_TIMEOUT_S", 6.0)
    home.mkdir()
    (home / "config.toml").write_text('[server]\nhost = "192.0.2.1"\n')
    try:
        failed = gardener("service", "install")
    finally:
        gardener("service", "uninstall")
    assert failed.code == 1 and "can be reached from other machines" in failed.err


def test_what_was_never_there_is_not_removed(
    gardener: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchd = Launchd(stand_in(tmp_path / "launchd"), str(tmp_path / "agents"))
    monkeypatch.setattr(manager, "manager", lambda: launchd)
    assert "nothing was removed" in gardener("service", "uninstall").out
    assert gardener("service", "stop", "--json").json["services"] == []
    never = gardener("service", "logs")
    assert never.code == 1 and f"{home}/logs/app.out" in never.err and "try: gardener logs" in never.err


def test_wrong_words(gardener: Run) -> None:
    assert gardener("service", "stop", "--dry-run").code == 2
    assert gardener("service", "logs", "--lines", "0").code == 2
    assert gardener("service", "fly").code == 2
