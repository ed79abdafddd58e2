"""The program folder: the pointer, what is recorded, what may be deleted, and where versions come from."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from gardener.errors import ConflictError, IntegrityError, LockedError, NotFoundError, UpgradeFailed, UsageError
from gardener.upgrade import journal
from gardener.upgrade.commands import Commands
from gardener.upgrade.journal import Journal
from gardener.upgrade.prepare import Wanted, choose_folder, fetch, look, source_of
from gardener.upgrade.program import Installation, Program, Source, Version, running_program, this_program
from tests.upgrade.versions import NEW, OLD, REPOSITORY


def with_versions(folder: Path, *versions: str, previous: str = "") -> Program:
    """Empty environments, the last one in force."""
    program = Program(str(folder))
    installation = Installation(Source("folder", "/x"), previous, ())
    for number, version in enumerate(versions):
        os.makedirs(os.path.dirname(program.python(version)))
        Path(program.python(version)).touch()
        installation = installation.with_version(Version(version, float(number), "ready"))
    program.flip(versions[-1])
    program.write(installation)
    return program


def test_the_pointer_is_relative_and_replaced_at_once(tmp_path: Path) -> None:
    program = with_versions(tmp_path / "program", "0.1.0", "0.2.0")
    assert os.readlink(program.pointer) == "versions/0.2.0" and program.current() == "0.2.0"
    os.rename(tmp_path / "program", tmp_path / "moved")
    assert Program(str(tmp_path / "moved")).current() == "0.2.0"
    with pytest.raises(NotFoundError, match=r"0\.9\.0 is not installed"):
        Program(str(tmp_path / "moved")).flip("0.9.0")
    assert not [name for name in os.listdir(tmp_path / "moved") if name.endswith(".tmp")]


def test_a_pointer_that_leads_nowhere_names_what_is_there(tmp_path: Path) -> None:
    program = with_versions(tmp_path, "0.1.0", "0.2.0")
    os.unlink(program.python("0.2.0"))
    with pytest.raises(NotFoundError, match=r"0\.1\.0, 0\.2\.0 are installed"):
        program.current()


@pytest.mark.parametrize("version", ["../evil", "", ".hidden", "1/2", "v1"])
def test_a_version_is_never_a_path(tmp_path: Path, version: str) -> None:
    with pytest.raises(UsageError):
        Program(str(tmp_path)).environment(version)


def test_old_versions_go_but_never_the_one_in_force_or_the_one_before(tmp_path: Path) -> None:
    program = with_versions(tmp_path, "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", previous="0.1.0")
    os.makedirs(program.environment("0.0.9"))  # of an upgrade that was killed
    assert program.prune(3) == ["0.0.9", "0.2.0", "0.3.0"]
    assert program.installed() == ["0.1.0", "0.4.0", "0.5.0"]
    assert program.prune(1) == ["0.4.0"]
    assert [one.version for one in program.read().versions] == ["0.1.0", "0.5.0"]
    with pytest.raises(UsageError, match="in use"):
        program.remove("0.1.0")


def test_what_is_recorded_is_read_again_and_damage_is_named(tmp_path: Path) -> None:
    program = with_versions(tmp_path, "0.1.0")
    kept = Version("0.2.0", 5.0, "ready", "000001-20260101-000000", 4)
    program.write(program.read().with_version(kept))
    assert program.read().find("0.2.0") == kept
    path = tmp_path / "installation.json"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    for damaged in ("", "[]", text[:-30], text.replace('"0.2.0"', '"../.."')):
        path.write_text(damaged)
        with pytest.raises(IntegrityError, match=r"installation\.json") as raised:
            program.read()
        assert raised.value.next_step.startswith("mv ")
    path.write_text(json.dumps({**json.loads(text), "schema": 2}))
    with pytest.raises(IntegrityError, match="newer Gardener"):
        program.read()
    path.unlink()
    assert [one.version for one in program.read().versions] == ["0.1.0"]


def test_two_upgrades_at_once_are_one(tmp_path: Path) -> None:
    program = with_versions(tmp_path, "0.1.0")
    with program.lock("gardener upgrade"), pytest.raises(LockedError, match="gardener upgrade"):
        program.lock("gardener rollback")


def test_an_interrupted_upgrade_is_told_from_one_at_work(tmp_path: Path) -> None:
    program = with_versions(tmp_path, "0.1.0")
    assert journal.interrupted(program) is None
    now = Journal("upgrade", "trying", "0.1.0", "0.2.0", "/home", "/log")
    with program.lock("gardener upgrade"):
        journal.write(program, now)
        assert journal.interrupted(program) is None
    assert journal.interrupted(program) == now
    Path(journal.path(program)).write_text('{"kind": "upgrade", "phase": "unheard of"}')
    with pytest.raises(IntegrityError, match=r"upgrade\.json"):
        journal.read(program)


def test_a_checkout_has_no_versions(tmp_path: Path) -> None:
    assert running_program() is None
    with pytest.raises(UsageError, match="make install"):
        this_program()
    program = with_versions(tmp_path, "0.1.0")
    found = running_program(program.environment("0.1.0"))
    assert found is not None and found.folder == program.folder


def test_where_versions_come_from(tmp_path: Path, made: Path) -> None:
    wheels = made / "wheels"
    old, new = (str(wheels / f"gardener-{version}-py3-none-any.whl") for version in (OLD, NEW))
    commands = Commands(str(tmp_path / "log"))
    assert source_of("gardener>=0.2", Source("", "")) == Source("index", "gardener>=0.2")
    assert source_of(str(REPOSITORY), Source("", "")) == Source("folder", str(REPOSITORY))
    assert source_of(old, Source("", "")) == Source("wheel", old)
    assert source_of("", Source("wheel", old)) == Source("wheel", old), "not a newer one that lies in its folder"
    with pytest.raises(UsageError, match="not recorded"):
        source_of("", Source("", ""))
    assert look(Source("folder", str(REPOSITORY)), "", commands, str(tmp_path)).version == OLD
    assert look(Source("wheel", new), "", commands, str(tmp_path)).version == NEW
    with pytest.raises(NotFoundError, match=rf"has version {NEW}, not 0\.7\.0"):
        look(Source("wheel", new), "0.7.0", commands, str(tmp_path))
    with pytest.raises(NotFoundError, match="not a checkout"):
        look(Source("folder", str(tmp_path)), "", commands, str(tmp_path))
    damaged = tmp_path / Path(new).name
    damaged.write_bytes(Path(new).read_bytes()[:-2_000])
    with pytest.raises(NotFoundError, match="cannot be read"):
        look(Source("wheel", str(damaged)), "", commands, str(tmp_path))


def test_a_checkout_that_changed_without_a_new_number_gets_a_folder_of_its_own(program: Program, made: Path) -> None:
    old = Wanted(OLD, Source("wheel", ""), str(made / "wheels" / f"gardener-{OLD}-py3-none-any.whl"))
    assert choose_folder(program, old) == (old._replace(name=OLD), False)
    new = old._replace(version=NEW, wheel=str(made / "wheels" / f"gardener-{NEW}-py3-none-any.whl"))
    assert choose_folder(program, new) == (new._replace(name=NEW), True)
    (record,) = Path(program.environment(OLD)).glob("lib/*/site-packages/gardener-*.dist-info/RECORD")
    record.write_text(record.read_text().replace("gardener/app.py,sha256=", "gardener/app.py,sha256=0"))
    chosen, to_be_made = choose_folder(program, old)
    assert to_be_made and chosen.name.startswith(f"{OLD}+") and len(chosen.name) == len(OLD) + 9
    assert os.path.basename(program.environment(chosen.name)) == chosen.name


def test_a_folder_that_cannot_be_built_offline_says_how(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "gardener").mkdir(parents=True)
    (broken / "gardener" / "__init__.py").write_text('__version__ = "0.8.0"\n')
    (broken / "pyproject.toml").write_text('[build-system]\nrequires = ["nowhere"]\nbuild-backend = "nowhere"\n')
    commands, scratch = Commands(str(tmp_path / "log")), tmp_path / "scratch"
    scratch.mkdir()
    wanted = look(Source("folder", str(broken)), "", commands, str(scratch))
    with pytest.raises(ConflictError, match="could not be built") as raised:
        fetch(wanted, commands, str(scratch), allow_index=False)
    assert raised.value.next_step == "gardener upgrade --index"


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    commands = Commands(str(tmp_path / "log"))
    with pytest.raises(UpgradeFailed, match="did not end within 0 s"):
        commands.run(["sh", "-c", "sleep 600 & sleep 600"], seconds=0.2, folder=str(tmp_path))
    assert commands.run(["sh", "-c", "cat"], seconds=20, folder=str(tmp_path), text="x").out == "x"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_what_pip_would_take_for_an_option_is_no_source() -> None:
    for given in ("-rfoo", "--index-url=http://elsewhere.example/", "gardener\n-e.", " "):
        with pytest.raises(UsageError, match="names no folder, wheel or package"):
            source_of(given, Source("", ""))


@pytest.mark.parametrize(
    "files",
    [{}, {"other.dist-info/RECORD": b""}, {"gardener-9.9.9.dist-info/RECORD": b"\xff"}],
    ids=["empty", "another's", "binary"],
)
def test_a_file_that_is_only_named_like_a_wheel_is_told(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "gardener-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    wanted = Wanted("9.9.9", Source("wheel", str(path)), str(path))
    with pytest.raises(UpgradeFailed, match="it is no wheel of Gardener"):
        choose_folder(Program(str(tmp_path / "program")), wanted)
