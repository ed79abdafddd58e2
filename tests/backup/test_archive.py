"""Archives: there and back on another home, and what a hostile one may not do."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup import archive
from gardener.backup.manifest import FileEntry, Manifest
from gardener.backup.partial import find_project
from gardener.backup.schedule import drill_due
from gardener.backup.store import Store
from gardener.backup.verify import ask_index
from gardener.backup_service import BackupService
from gardener.errors import BackupDamaged, ConflictError, GardenerError, SchemaTooNew
from gardener.health.backups import backup_checks


def test_a_project_moves_to_another_machine(full_home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "amber.tar.gz"
    with Gardener() as gardener:
        gardener.registry.add(str(tmp_path), "other")
        context = gardener.registry.get("amber")
        answers = ask_index(os.path.join(context.home, "index"), "amber")
        BackupService(gardener).export(str(bundle), project="amber")
        with pytest.raises(ConflictError):
            BackupService(gardener).export(str(bundle), project="amber")
    assert bundle.stat().st_mode & 0o777 == 0o600
    with Gardener(str(tmp_path / "second")) as gardener:
        _, done = BackupService(gardener).import_archive(str(bundle))
        assert done and done.conversations == 1 and not done.saved
        assert [project.name for project in gardener.registry.list()] == ["amber"]
        moved = gardener.registry.get("amber")
        assert not moved.trusted and moved.id == context.id
        assert [talk.messages for talk in gardener.history.list(moved.id)] == [2]
        assert ask_index(os.path.join(moved.home, "index"), "amber") == answers
        assert BackupService(gardener).import_archive(str(bundle))[1].conversations == 0  # type: ignore[union-attr]


def test_a_project_that_has_taken_the_folder_meanwhile_is_named(full_home: Path, tmp_path: Path) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
        context = gardener.registry.get("amber")
        gardener.registry.remove("amber")
        gardener.registry.purge("amber")
        gardener.registry.add(context.root, "another")
        with pytest.raises(ConflictError, match="another here") as caught:
            BackupService(gardener).restore_project("amber")
        assert caught.value.next_step == "gardener remove another"
        assert [project.name for project in gardener.registry.list()] == ["another"]


def test_a_whole_home_moves_too(full_home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "all.tar.gz"
    with Gardener() as gardener:
        BackupService(gardener).export(str(bundle))
    with Gardener(str(tmp_path / "second")) as gardener:
        entry, done = BackupService(gardener).import_archive(str(bundle))
        assert done is None and entry.manifest and entry.manifest.sequence == 1
        BackupService(gardener).restore()
        assert [project.name for project in gardener.registry.list()] == ["amber"]


def test_what_was_imported_does_not_count_as_a_backup_of_this_home(full_home: Path, tmp_path: Path) -> None:
    bundle = str(tmp_path / "all.tar.gz")
    (full_home / "config.toml").write_text(
        "config_version = 1\n\n[backup]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n"
    )
    with Gardener() as gardener:
        service = BackupService(gardener)
        own = service.export(bundle)[0].id
        old = service.store.find(own).manifest
        assert old and not old.imported
        (Path(service.store.path(own)) / "manifest.json").write_bytes(old._replace(created_at=1e9).encode())
        imported = service.import_archive(bundle)[0]
        assert imported.imported and imported.as_json()["imported"] and imported.id > own
        assert service.is_due().backup  # the only own one is old
        assert service.drill().id == own and not drill_due(service.store, 3600, time.time())
        assert service.prune() == [] and service.store.find().id == own
        assert service.store.find(imported=True).id == imported.id
        assert find_project(service.store, "", "amber")[0].id == own
        findings = backup_checks(lambda: service.store, lambda: gardener.settings)[0].run()
        assert isinstance(findings, list) and [finding.id for finding in findings] == ["backup-old"]
        shutil.rmtree(service.store.path(own))
        assert not drill_due(service.store, 3600, time.time()) and service.store.find().id == imported.id


def test_restoring_a_project_keeps_later_conversations_and_saves_what_it_replaces(full_home: Path) -> None:
    with Gardener() as gardener:
        BackupService(gardener).create()
        context = gardener.registry.get("amber")
        first = gardener.history.list(context.id)[0]
        gardener.history.delete(context.id, first.id)
        gardener.history.purge_deleted(context.id, older_than_s=-1)
        later = gardener.history.start(context.id, "later")
        gardener.history.append(context.id, later.id, "user", "later")
        other = gardener.registry.add(str(full_home.parent), "other", force=True)
        done = BackupService(gardener).restore_project("amber")
        assert done.conversations == 1 and done.saved
        assert {talk.title for talk in gardener.history.list(context.id)} == {first.title, "later"}
        assert gardener.registry.get("other").id == other.id
        assert ask_index(os.path.join(context.home, "index"), "amber")[0]
        # One conversation, back to what it was.
        gardener.history.append(context.id, first.id, "user", "a mistake")
        BackupService(gardener).restore_conversation(first.id)
        assert [message.content for message in gardener.history.show(context.id, first.id)] == [
            "Where are orders loaded?",
            "In order.py.",
        ]
        assert not gardener.state.check()


@pytest.fixture
def bundle(full_home: Path, tmp_path: Path) -> tuple[Manifest, list[tuple[tarfile.TarInfo, bytes]]]:
    """A good archive, taken apart."""
    path = tmp_path / "good.tar.gz"
    with Gardener() as gardener:
        BackupService(gardener).export(str(path), project="amber")
    with tarfile.open(path) as opened:
        members = [(member, opened.extractfile(member).read()) for member in opened]  # type: ignore[union-attr]
    return archive.inspect(str(path)), members


Members = list[tuple[tarfile.TarInfo, bytes]]


def _member(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    member.size = len(data) if kind == tarfile.REGTYPE else 0
    return member, data if kind == tarfile.REGTYPE else b""


def _at(position: int, *new: tuple[tarfile.TarInfo, bytes], drop: int = 0) -> Callable[[Members], Members]:
    return lambda members: [*members[:position], *new, *members[position + drop :]]


def _renamed(name: str) -> Callable[[Members], Members]:
    def apply(members: Members) -> Members:
        members[2][0].name, members[2][0].pax_headers = name, {}
        return members

    return apply


def _changed(members: Members) -> Members:
    member, data = members[2]
    members[2] = member, bytes([data[0] ^ 1]) + data[1:]
    return members


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "climbs out": _at(1, _member("../../evil")),
    "climbs out inside": _at(1, _member("home/../../evil")),
    "absolute": _at(1, _member("/tmp/evil")),
    "renamed to climb": _renamed("home/../../evil"),
    "symbolic link": _at(1, _member("home/state.db", kind=tarfile.SYMTYPE, link="/etc/passwd"), drop=1),
    "hard link": _at(1, _member("home/state.db", kind=tarfile.LNKTYPE, link="/etc/passwd"), drop=1),
    "device": _at(1, _member("home/state.db", kind=tarfile.CHRTYPE)),
    "fifo": _at(1, _member("home/state.db", kind=tarfile.FIFOTYPE)),
    "folder": _at(1, _member("home", kind=tarfile.DIRTYPE)),
    "sparse": _at(1, _member("home/state.db", kind=tarfile.GNUTYPE_SPARSE)),
    "more at the end": lambda members: [*members, _member("home/more")],
    "twice": lambda members: [*members, members[-1]],
    "missing": lambda members: members[:-1],
    "other order": lambda members: [members[0], *reversed(members[1:])],
    "no manifest": lambda members: members[1:],
    "changed content": _changed,
    "manifest is rubbish": _at(0, _member("manifest.json", b"[" * 100_000), drop=1),
    "empty": lambda members: [],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_before_anything_is_written(
    bundle: tuple[Manifest, Members], tmp_path: Path, what: str
) -> None:
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for member, data in HOSTILE[what](list(bundle[1])):
            opened.addfile(member, io.BytesIO(data))
    _refused(path, tmp_path)


@pytest.mark.parametrize("what", ["rubbish", "cut", "cut late", "flipped", "bomb", "name bomb", "newer", "not gzip"])
def test_a_file_that_is_no_archive_is_refused(bundle: tuple[Manifest, Members], tmp_path: Path, what: str) -> None:
    good = (tmp_path / "good.tar.gz").read_bytes()
    path = tmp_path / "hostile.tar.gz"
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    simple = {"rubbish": os.urandom(9_000), "cut": good[:400], "cut late": good[:-9], "flipped": bytes(flipped)}
    if what in simple:
        path.write_bytes(simple[what])
    elif what == "not gzip":
        path.write_bytes(gzip.decompress(good))
    elif what == "bomb":  # 200 MB of nothing where the first file belongs
        member = tarfile.TarInfo("manifest.json")
        member.size = 200_000_000
        with gzip.open(path, "wb", compresslevel=1) as packed:
            packed.write(member.tobuf())
            for _ in range(200):
                packed.write(bytes(1_000_000))
    elif what == "name bomb":
        with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as opened:
            member = tarfile.TarInfo("manifest.json")
            member.pax_headers = {"comment": "x" * 70_000_000}
            opened.addfile(member)
    else:
        manifest = bundle[0]._replace(state_schema=10_000).encode()
        with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as opened:
            for member, data in [_member("manifest.json", manifest), *bundle[1][1:]]:
                opened.addfile(member, io.BytesIO(data))
    said = _refused(path, tmp_path, SchemaTooNew if what == "newer" else BackupDamaged)
    assert what != "name bomb" or "unpacks to more" in said


def _refused(path: Path, tmp_path: Path, error: type[GardenerError] = BackupDamaged) -> str:
    before = sorted(tmp_path.rglob("*"))
    folder = tmp_path / "elsewhere"
    with pytest.raises(error) as raised:
        archive.read(str(path), Store(str(folder)))
    assert str(path) in raised.value.message or error is SchemaTooNew
    assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists("/tmp/evil")
    return raised.value.message


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_passes_for_an_empty_file_is_refused_too(
    bundle: tuple[Manifest, Members], tmp_path: Path, kind: bytes
) -> None:
    """No size and no hash tells these from the empty file that the manifest announces."""
    empty = FileEntry("home/empty", 0, hashlib.sha256().hexdigest())
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for member, data in (
            _member("manifest.json", bundle[0]._replace(files=(empty,)).encode()),
            _member("home/empty", kind=kind, link="manifest.json"),
        ):
            opened.addfile(member, io.BytesIO(data))
    assert "not a regular file" in _refused(path, tmp_path)


@pytest.mark.parametrize(
    "paths", [("home/Caf\u00e9", "home/cafe\u0301"), ("home/\ufb01", "home/FI"), ("home/" + "x" * 256,)]
)
def test_names_that_some_disk_cannot_hold_side_by_side_are_refused(
    bundle: tuple[Manifest, Members], tmp_path: Path, paths: tuple[str, ...]
) -> None:
    empty = hashlib.sha256().hexdigest()
    made = bundle[0]._replace(files=tuple(FileEntry(path, 0, empty) for path in paths))
    hostile = tmp_path / "hostile.tar.gz"
    with tarfile.open(hostile, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for member, data in (_member("manifest.json", made.encode()), *(_member(name, b"") for name in paths)):
            opened.addfile(member, io.BytesIO(data))
    _refused(hostile, tmp_path)


@pytest.mark.parametrize("when", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_time_that_no_calendar_has_is_refused(bundle: tuple[Manifest, Members], tmp_path: Path, when: float) -> None:
    """It would end up in retention and in lists."""
    hostile = tmp_path / "hostile.tar.gz"
    with tarfile.open(hostile, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        for member, data in (_member("manifest.json", bundle[0]._replace(created_at=when).encode()), *bundle[1][1:]):
            opened.addfile(member, io.BytesIO(data))
    _refused(hostile, tmp_path)


def test_a_bundle_of_one_project_holds_no_word_of_another(full_home: Path, tmp_path: Path) -> None:
    with Gardener() as gardener:
        (tmp_path / "other").mkdir()
        other = gardener.registry.add(str(tmp_path / "other"), "other")
        talk = gardener.history.start(other.id, "confidential")
        gardener.history.append(other.id, talk.id, "user", "the zanzibar affair " * 400)
        made = BackupService(gardener).create("amber")
        assert [project.name for project in made.manifest.projects] == ["amber"]
        assert b"zanzibar" not in (Path(made.path) / "home" / "state.db").read_bytes()
        assert not any(other.id in file.path or "config.toml" in file.path for file in made.manifest.files)


def test_the_good_archive_is_taken(bundle: tuple[Manifest, Members], tmp_path: Path) -> None:
    entry = archive.read(str(tmp_path / "good.tar.gz"), Store(str(tmp_path / "elsewhere")))
    assert entry.manifest and entry.manifest.files == bundle[0].files
