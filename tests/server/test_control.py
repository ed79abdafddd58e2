"""The live app seen from outside: its services, the options it was given, ending and starting it the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gardener.errors import AppUnreachable
from gardener.paths import Paths
from gardener.server.control import AppControl
from gardener.server.runfile import RunFile, RunningApp, upgrading_file
from gardener.service.description import ServiceDescription
from gardener.service.manager import ServiceState


class Services:
    """Answers as a service manager: those in `running` run, and all are installed."""

    name = "stand-in"

    def __init__(self, folder: Path, *running: str) -> None:
        self.folder = folder
        self.running = set(running)
        self.asked: list[str] = []

    def file(self, service: ServiceDescription) -> str:
        path = self.folder / service.name
        path.touch()
        return str(path)

    def state(self, service: ServiceDescription) -> ServiceState:
        return ServiceState(self.file(service), True, False, True, pid=4711 if service.name in self.running else 0)

    def start(self, service: ServiceDescription) -> None:
        self.asked.append(f"start {service.name}")
        self.running.add(service.name)

    def stop(self, service: ServiceDescription) -> None:
        self.asked.append(f"stop {service.name}")
        self.running.discard(service.name)

    def text(self, service: ServiceDescription) -> str:
        raise NotImplementedError

    install = uninstall = restart = start


def test_nothing_runs(home: Path, tmp_path: Path) -> None:
    control = AppControl(Paths(str(home)), sys.executable, Services(tmp_path))
    assert control.how_it_runs() is None
    control.stop()


def test_a_monitor_without_an_app_is_stopped_and_started_alone(home: Path, tmp_path: Path) -> None:
    services = Services(tmp_path, "monitor")
    control = AppControl(Paths(str(home)), sys.executable, services)
    how = control.how_it_runs()
    assert how == {"services": ["monitor"], "app": False, "options": [], "host": "", "port": 0}
    control.stop()
    assert control.how_it_runs() is None
    assert control.start(how) == ""
    assert services.asked == ["stop monitor", "start monitor"]


def test_an_app_started_by_hand_is_started_with_the_same_options(home: Path, tmp_path: Path) -> None:
    paths = Paths(str(home)).ensure()
    words = ["serve", "--allow-host", "mini.local", "--port", "0", "--beyond-loopback", "--allow-host=other.local"]
    app = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", *words], stdin=subprocess.PIPE, env={"GARDENER_X": "1"}
    )
    run_file = RunFile(paths)
    run_file.claim()
    try:
        # The lock's holder is this process: only what the file says of the app's process is looked at.
        run_file.publish(RunningApp(app.pid, "0.0.0.0", 7469, 1.0, "0.1.0", "t"))
        control = AppControl(paths, sys.executable, Services(tmp_path))
        assert control._options_of(app.pid) == [
            "--allow-host", "mini.local", "--beyond-loopback", "--allow-host=other.local",
        ]  # fmt: skip
        assert control._environment["GARDENER_X"] == "1"
    finally:
        run_file.withdraw()
        app.communicate()


def test_an_app_that_does_not_start_says_how_it_ended(home: Path, tmp_path: Path) -> None:
    paths = Paths(str(home)).ensure()
    control = AppControl(paths, sys.executable, Services(tmp_path))
    with pytest.raises(AppUnreachable, match="ended with exit code 2"):
        control.start({"services": [], "app": True, "options": ["--no-such-option"], "host": "127.0.0.1", "port": 0})
    control.stop()


def test_an_app_that_starts_is_no_longer_waited_for(home: Path, tmp_path: Path) -> None:
    paths = Paths(str(home))
    control = AppControl(paths, sys.executable, Services(tmp_path))
    control.say_upgrading(True)
    control.say_upgrading(True)
    assert Path(upgrading_file(paths)).exists()
    run_file = RunFile(paths)
    run_file.claim()
    run_file.withdraw()
    assert not Path(upgrading_file(paths)).exists()
    control.say_upgrading(False)


def test_a_version_that_hangs_before_it_listens_is_ended_by_force(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gardener.server.control.STOP_SECONDS", 0.3)
    control = AppControl(Paths(str(home)), sys.executable, Services(tmp_path))
    hung = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()",
        ],
        stdout=subprocess.PIPE,
    )
    assert hung.stdout and hung.stdout.readline()
    control._started.append(hung)
    with pytest.raises(AppUnreachable, match="did not end"):
        control.stop()
    assert hung.poll() is None
    control.stop(force=True)
    assert hung.poll() == -9
    hung.stdout.close()
