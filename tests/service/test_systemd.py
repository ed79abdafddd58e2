"""systemd's user units: read by systemd itself where it is there, and every command that is given."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gardener.errors import ServiceFailed
from gardener.paths import Paths
from gardener.service.description import ServiceDescription, descriptions
from gardener.service.manager import Said, has_manager
from gardener.service.systemd import Systemd


@pytest.fixture
def service(tmp_path: Path) -> ServiceDescription:
    home = tmp_path / 'a 100% "quoted" $home'
    (home / "logs").mkdir(parents=True)
    return descriptions(Paths(str(home)))[0]


class Systemctl:
    """Answers as systemctl does and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails: dict[str, Said] = {}
        self.facts = "LoadState=loaded\nUnitFileState=enabled\nMainPID=4711\nResult=success\nExecMainStatus=0\n"

    def __call__(self, command: Sequence[str]) -> Said:
        assert tuple(command[:2]) == ("systemctl", "--user")
        self.asked.append(" ".join(command[2:]))
        return self.fails.get(command[2], Said(0, self.facts if command[2] == "show" else "", ""))


KNOWN = {
    "Unit": ["Description", "StartLimitIntervalSec", "StartLimitBurst"],
    "Service": [
        "Type",
        "ExecStart",
        "WorkingDirectory",
        "Environment",
        "UMask",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "TimeoutStopSec",
        "KillMode",
        "NoNewPrivileges",
        "StandardOutput",
        "StandardError",
        "Nice",
        "IOSchedulingClass",
        "MemoryMax",
    ],
    "Install": ["WantedBy"],
}
"""Keys of systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.resource-control(5) that may be used."""


def verified(file: str, folder: Path) -> str | None:
    """What systemd itself says of a unit, "" when it has nothing to say; None when it is not installed here.

    Unknown keys are only warnings for it, and its exit code is 0 for them.
    """
    if shutil.which("systemd-analyze") is None:
        return None
    folder.chmod(0o700)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", file],
        capture_output=True, text=True, check=False, env=os.environ | {"XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    return f"{done.stderr.strip()}{done.returncode or ''}"


@pytest.mark.parametrize("background", [False, True])
def test_every_key_is_known_also_to_systemd_where_it_is_there(
    service: ServiceDescription, tmp_path: Path, background: bool
) -> None:
    systemd = Systemd(Systemctl(), str(tmp_path / "units"))
    one = replace(service, background=background)
    systemd.install(one)
    section = ""
    for line in filter(None, Path(systemd.file(one)).read_text().splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        else:
            assert line.split("=", 1)[0] in KNOWN[section]
    assert verified(systemd.file(one), tmp_path) in ("", None)
    Path(systemd.file(one)).write_text(systemd.text(one).replace("UMask=", "Umasque="))
    assert "Umasque" in (verified(systemd.file(one), tmp_path) or "Umasque"), "it would have been seen"


def test_paths_of_any_kind_are_quoted(service: ServiceDescription) -> None:
    text = Systemd(Systemctl(), "/x").text(service)
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert 'a 100%% \\"quoted\\" $$home"' in command
    assert (
        f'Environment="GARDENER_HOME={service.folder}"'.replace("%", "%%").replace('"quoted"', '\\"quoted\\"') in text
    )


def test_commands_in_their_order(service: ServiceDescription, tmp_path: Path) -> None:
    systemctl = Systemctl()
    systemd = Systemd(systemctl, str(tmp_path))
    unit = service.label + ".service"
    systemd.install(service)
    assert systemctl.asked == ["daemon-reload", f"enable {unit}", f"restart {unit}"]
    systemctl.asked.clear()
    systemd.install(service)
    assert systemctl.asked[-1] == f"start {unit}", "what has not changed goes on running"
    state = systemd.state(service)
    assert (state.pid, state.loaded, state.installed, state.outdated, state.last_end) == (4711, True, True, False, "")
    systemctl.facts = "UnitFileState=enabled\nMainPID=0\nResult=exit-code\nExecMainStatus=3\n"
    assert systemd.state(service).last_end == "exit-code, status 3"
    systemctl.asked.clear()
    systemd.uninstall(service)
    systemd.uninstall(service)
    systemd.stop(service)
    assert systemctl.asked == [f"disable --now {unit}", "daemon-reload", f"reset-failed {unit}"]
    with pytest.raises(ServiceFailed, match="not installed"):
        systemd.start(service)


def test_a_service_is_offered_only_where_there_is_a_user_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not has_manager("linux") and has_manager("darwin")
    (tmp_path / "bus").touch()
    assert has_manager("linux")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert not has_manager("linux")


def test_without_a_user_manager_nothing_is_left_behind(service: ServiceDescription, tmp_path: Path) -> None:
    systemctl = Systemctl()
    systemctl.fails["daemon-reload"] = Said(1, "", "Failed to connect to bus: No medium found\n")
    systemd = Systemd(systemctl, str(tmp_path / "units"))
    with pytest.raises(ServiceFailed, match=r"does not answer \(Failed to connect to bus: No medium found\)"):
        systemd.install(service)
    assert list((tmp_path / "units").iterdir()) == []


def test_an_earlier_file_comes_back_when_the_new_one_is_refused(service: ServiceDescription, tmp_path: Path) -> None:
    systemctl = Systemctl()
    systemd = Systemd(systemctl, str(tmp_path))
    systemd.install(service)
    before = Path(systemd.file(service)).read_text()
    systemctl.fails["enable"] = Said(1, "", "Unit file is masked.")
    with pytest.raises(ServiceFailed, match=r"could not be enabled: systemctl says 'Unit file is masked\.'"):
        systemd.install(replace(service, summary="another"))
    assert Path(systemd.file(service)).read_text() == before
