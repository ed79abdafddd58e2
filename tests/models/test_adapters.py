from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.errors import AdapterUnfit, NameTaken, NotFoundError, UsageError
from gardener.models import adapters
from gardener.models.adapters import ABOUT, CONFIG, WEIGHTS, AdapterStore
from tests.models.conftest import fill


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    made = AdapterStore(str(tmp_path / "project"))
    fill(made, "one")
    return made


def test_what_was_published(store: AdapterStore) -> None:
    ref = store.ref("one")
    assert (ref.name, ref.base) == ("one", "b" * 32)
    assert [entry["name"] for entry in store.list()] == ["one"]
    assert store.list()[0]["problem"] == ""
    store.check("one")
    folder = Path(ref.folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())
    assert AdapterStore(str(folder)).list() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "a b", "x" * 65, "é", "a\n"])
def test_names_that_are_none(store: AdapterStore, name: str) -> None:
    for ask in (store.ref, store.check, store.stage, store.remove):
        with pytest.raises(UsageError):
            ask(name)


def test_one_that_is_not_there_is_named_with_those_that_are(store: AdapterStore) -> None:
    with pytest.raises(NotFoundError, match="It has: one"):
        store.ref("two")


def test_another_of_the_same_name(store: AdapterStore) -> None:
    with pytest.raises(NameTaken):
        fill(store, "one", b"other")
    before = store.ref("one").fingerprint
    store.publish("one", "b" * 32, {}, replace=True)
    assert store.ref("one").fingerprint != before
    assert os.listdir(store.folder) == ["one"]


def test_half_of_one_is_none(store: AdapterStore) -> None:
    Path(store.stage("two"), WEIGHTS).write_bytes(b"x")
    with pytest.raises(AdapterUnfit, match="not complete"):
        store.publish("two", "b" * 32, {})
    assert [entry["name"] for entry in store.list()] == ["one"]


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, ABOUT])
@pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
def test_damage_is_noticed(store: AdapterStore, file: str, damage: str) -> None:
    path = Path(store.ref("one").folder, file)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "shorter" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(AdapterUnfit, match="one"):
        store.ref("one")
    if damage != "changed" or file == ABOUT:
        with pytest.raises(AdapterUnfit):
            store.check("one")


def test_a_switch_to_a_project_with_a_damaged_adapter_changes_nothing(gardener: Gardener, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        gardener.registry.add(str(tmp_path / name), name)
    context = gardener.registry.configure("second", adapter="own")
    fill(AdapterStore(context.home), "own")
    assert gardener.switch("second").name == "second"
    gardener.switch("first")
    os.truncate(Path(context.home, "adapters", "own", WEIGHTS), 1)
    with pytest.raises(AdapterUnfit, match="own"):
        gardener.switch("second")
    assert gardener.context().name == "first"


def test_removing(store: AdapterStore) -> None:
    store.remove("one")
    assert store.list() == []
    with pytest.raises(NotFoundError, match="It has none"):
        store.remove("one")


def test_removed_by_two_at_once(store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other, found = AdapterStore(os.path.dirname(store.folder)), store._place

    def place(name: str) -> str:
        there = found(name)
        other.remove(name)
        return there

    monkeypatch.setattr(store, "_place", place)
    with pytest.raises(NotFoundError):
        store.remove("one")
    assert os.listdir(store.folder) == []


def test_one_that_is_removed_while_all_are_listed(store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, "two")
    about = store.about

    def late(name: str) -> dict[str, object]:
        if name == "one":
            store.remove("one")
        return about(name)

    monkeypatch.setattr(store, "about", late)
    assert [entry["name"] for entry in store.list()] == ["two"]


def test_one_that_is_replaced_while_it_is_read(store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before, remembered = store.ref("one").fingerprint, adapters._remembered
    replaced: list[bool] = []

    def late(folder: str) -> str:
        if not replaced:
            replaced.append(True)
            fill(store, "one", b"other", replace=True)
        return remembered(folder)

    monkeypatch.setattr(adapters, "_remembered", late)
    assert store.ref("one").fingerprint not in ("", before)


def test_killed_while_one_is_replaced(store: AdapterStore) -> None:
    """Between the two renames the former one is still what there is."""
    before = store.ref("one").fingerprint
    os.rename(os.path.join(store.folder, "one"), f"{store.stage('one')}.old")
    assert store.ref("one").fingerprint == before
    store.check("one")
    assert [entry["name"] for entry in store.list()] == ["one"]
    fill(store, "one", b"other", replace=True)
    assert store.ref("one").fingerprint != before
    assert os.listdir(store.folder) == ["one"]
    os.rename(os.path.join(store.folder, "one"), f"{store.stage('one')}.old")
    store.remove("one")
    assert store.list() == []


def test_a_file_of_another_version(store: AdapterStore) -> None:
    path = Path(store.ref("one").folder, ABOUT)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    assert "another version" in store.list()[0]["problem"]


def test_the_list_reads_every_byte(store: AdapterStore) -> None:
    file = Path(store.ref("one").folder) / WEIGHTS
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (entry,) = store.list()
    assert "not what was written" in entry["problem"]
