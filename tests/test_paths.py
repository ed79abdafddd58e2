from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import platformdirs
import pytest

from gardener.errors import ConfigError, DiskFull, PermissionProblem
from gardener.paths import (
    Paths,
    default_home,
    ensure_directory,
    model_path,
    open_private,
    translate_os_error,
    write_private,
)


def test_the_home_is_where_platformdirs_would_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GARDENER_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_home() == platformdirs.user_data_dir("gardener", appauthor=False)
    if sys.platform != "darwin":
        monkeypatch.setenv("XDG_DATA_HOME", "/somewhere/else")
        assert default_home() == platformdirs.user_data_dir("gardener", appauthor=False)


def test_on_a_mac_it_is_application_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GARDENER_HOME")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_home().endswith("/Library/Application Support/gardener")


def test_a_relative_home_is_refused_with_the_absolute_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARDENER_HOME", "somewhere")
    with pytest.raises(ConfigError) as caught:
        default_home()
    assert os.path.abspath("somewhere") in caught.value.next_step


def test_a_models_name_leads_to_the_models_folder_and_a_path_to_itself() -> None:
    assert model_path("small", "/home/models") == "/home/models/small"
    assert model_path("../../etc", "/home/models") == "/home/models/etc"
    assert model_path("deep/er/", "/home/models") == "/home/models/er"
    assert model_path("/else/where/", "/home/models") == "/else/where"
    assert model_path("~/small", "/home/models") == os.path.expanduser("~/small")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = tmp_path / "a" / "b"
        if umask != 0o277:
            ensure_directory(str(folder))
            assert [p.stat().st_mode & 0o777 for p in (folder, folder.parent)] == [0o700, 0o700]
        write_private(str(tmp_path / "file"), b"x")
        assert (tmp_path / "file").stat().st_mode & 0o077 == 0
        with open(tmp_path / "other", "w", opener=open_private) as handle:
            handle.write("x")
        assert (tmp_path / "other").stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)


def test_an_open_folder_is_tightened(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    ensure_directory(str(tmp_path / "open"))
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_private(str(target), b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gardener.paths.sync_file", full)
    with pytest.raises(DiskFull):
        write_private(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if p.name != "gardener-home"] == ["file"]


def test_os_errors_become_ours() -> None:
    assert isinstance(translate_os_error(OSError(errno.ENOSPC, "full"), "/x/y"), DiskFull)
    problem = translate_os_error(OSError(errno.EACCES, "Permission denied"), "/x/y")
    assert isinstance(problem, PermissionProblem)
    assert "/x/y" in problem.message


def test_every_location_is_below_the_home(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    places = [value for name in dir(Paths) if not name.startswith("_")
              and isinstance(value := getattr(paths, name), str)]  # fmt: skip
    assert len(places) > 8
    assert all(place.startswith(str(tmp_path)) for place in places)
