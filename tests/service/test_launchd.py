"""launchd's agents, against a stand-in that runs real processes and refuses as launchctl does."""

from __future__ import annotations

import os
import plistlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gardener.errors import ServiceFailed
from gardener.paths import Paths
from gardener.service.description import ServiceDescription, descriptions
from gardener.service.launchd import Launchd
from gardener.service.manager import Said, run_command

STAND_IN = Path(__file__).with_name("launchd_stand_in.py")
DOCUMENTED = {
    "Label": str, "ProgramArguments": list, "EnvironmentVariables": dict, "WorkingDirectory": str, "RunAtLoad": bool,
    "KeepAlive": dict, "ThrottleInterval": int, "ExitTimeOut": int, "ProcessType": str, "Umask": int,
    "SoftResourceLimits": dict, "StandardOutPath": str, "StandardErrorPath": str, "LowPriorityIO": bool, "Nice": int,
}  # fmt: skip
"""Keys and types of launchd.plist(5) that may be used."""


def stand_in(folder: Path) -> Callable[[Sequence[str]], Said]:
    folder.mkdir(exist_ok=True)

    def run(command: Sequence[str]) -> Said:
        assert command[0] == "/bin/launchctl"
        return run_command([sys.executable, str(STAND_IN), str(folder), *command[1:]])

    return run


@pytest.fixture
def launchd(tmp_path: Path) -> Iterator[Launchd]:
    made = Launchd(stand_in(tmp_path / "launchd"), str(tmp_path / "Library" / "LaunchAgents"))
    yield made
    for file in (tmp_path / "launchd").glob("*.json"):  # what a failed test left running
        made.uninstall(service_of(tmp_path, label=file.stem))


def service_of(
    tmp_path: Path, program: str = "import time; time.sleep(600)", label: str = "dev.test"
) -> ServiceDescription:
    app = descriptions(Paths(str(tmp_path)))[0]
    return replace(app, arguments=(sys.executable, "-c", program), label=label, output=str(tmp_path / "out"))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_property_list_is_documented_and_absolute(home: Path) -> None:
    for service in descriptions(Paths(str(home))):
        for one in (service, replace(service, background=True)):
            entries = plistlib.loads(Launchd().text(one).encode())
            assert {key: type(value) for key, value in entries.items()} == {key: DOCUMENTED[key] for key in entries}
            assert entries["ProcessType"] == ("Background" if one.background else "Standard")
        assert entries["Umask"] == 63 and entries["KeepAlive"] == {"SuccessfulExit": False}
        paths = [entries["ProgramArguments"][0], entries["WorkingDirectory"], entries["StandardOutPath"]]
        assert all(os.path.isabs(path) for path in paths)
        assert entries["EnvironmentVariables"]["GARDENER_HOME"] == str(home)


def test_another_home_is_another_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GARDENER_HOME")
    labels = {descriptions(Paths(home))[0].label for home in (None, str(tmp_path / "a"), str(tmp_path / "b"))}
    assert len(labels) == 3 and "dev.gardener.app" in labels


def test_a_life(launchd: Launchd, tmp_path: Path) -> None:
    service = service_of(tmp_path)
    assert launchd.state(service).as_json() == {
        "file": str(tmp_path / "Library/LaunchAgents/dev.test.plist"),
        "installed": False, "outdated": False, "loaded": False, "pid": None, "last_end": "",
    }  # fmt: skip
    launchd.install(service)
    until(lambda: launchd.state(service).pid)
    first = launchd.state(service)
    assert first.installed and first.loaded and not first.outdated
    assert os.stat(first.file).st_mode & 0o777 == 0o600
    launchd.install(service)  # once more changes nothing
    assert launchd.state(service).pid == first.pid

    os.kill(first.pid, signal.SIGKILL)
    until(lambda: launchd.state(service).pid not in (0, first.pid))
    assert launchd.state(service).last_end == "SIGKILL: 9"

    launchd.restart(service)
    until(lambda: launchd.state(service).pid)
    launchd.uninstall(service)
    gone = launchd.state(service)
    assert (gone.installed, gone.loaded, gone.pid) == (False, False, 0)
    launchd.uninstall(service)
    launchd.stop(service)
    with pytest.raises(ServiceFailed, match="not installed") as refused:
        launchd.start(service)
    assert refused.value.next_step == "gardener service install"


def test_what_ends_well_stays_ended_until_it_is_started(launchd: Launchd, tmp_path: Path) -> None:
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print(1); time.sleep(600)"
    )
    service = service_of(tmp_path, f"import sys; sys.stdout.reconfigure(line_buffering=True); {program}")
    launchd.install(service)
    until(lambda: Path(service.output).read_text() == "1\n")
    launchd.stop(service)
    time.sleep(1.5)  # longer than the stand-in's throttle: only waiting shows that nothing comes
    state = launchd.state(service)
    assert (state.pid, state.loaded, state.last_end) == (0, True, "0")
    launchd.start(service)
    assert launchd.state(service).pid


def test_a_changed_file_replaces_the_running_one(launchd: Launchd, tmp_path: Path) -> None:
    """The stand-in still knows the old one for a while after bootout, and refuses the new one with 37."""
    launchd.install(service_of(tmp_path))
    changed = service_of(tmp_path, "import time; time.sleep(601)")
    assert launchd.state(changed).outdated
    launchd.install(changed)
    state = launchd.state(changed)
    assert state.loaded and not state.outdated
    assert "601" in Path(state.file).read_text()


def test_without_a_session_nothing_is_left_behind(launchd: Launchd, tmp_path: Path) -> None:
    (tmp_path / "launchd" / "no-session").touch()
    with pytest.raises(ServiceFailed, match="Log in at the screen") as refused:
        launchd.install(service_of(tmp_path))
    assert refused.value.next_step == "gardener serve"
    assert not os.listdir(tmp_path / "Library" / "LaunchAgents")
    (tmp_path / "launchd" / "no-session").unlink()


def test_what_launchd_refuses_is_said_with_its_words(tmp_path: Path) -> None:
    commands: list[tuple[str, ...]] = []

    def run(command: Sequence[str]) -> Said:
        commands.append(tuple(command[1:]))
        return Said(113, "", "") if command[1] == "print" else Said(122, "", "Bootstrap failed: 122: bad ownership")

    launchd = Launchd(run, str(tmp_path))
    with pytest.raises(
        ServiceFailed, match=r"launchctl says 'Bootstrap failed: 122: bad ownership' .*dev\.test\.plist"
    ):
        launchd.install(service_of(tmp_path))
    assert [command[0] for command in commands] == ["print", "enable", "bootstrap"], (
        "what does not pass is not repeated"
    )
