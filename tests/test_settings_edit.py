"""Changing a settings file: comments kept, privately, atomically, and never into something wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from gardener.errors import ConfigError
from gardener.paths import Paths
from gardener.settings import Settings, load_settings
from gardener.settings_edit import set_value, unset_value
from gardener.settings_kind import Setting
from gardener.settings_schema import SETTINGS
from tests.settings_documents import documents, in_one_folder, value_of

ROOT = Path(__file__).parent.parent


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "home")).ensure()


def write_user(paths: Paths, text: str) -> None:
    Path(paths.config).write_text(text, encoding="utf-8")


def load(paths: Paths, **layers: object) -> Settings:
    layers.setdefault("environment", {})
    return load_settings(paths, **layers)  # type: ignore[arg-type]


def test_a_change_keeps_comments_order_and_other_values(paths: Paths) -> None:
    write_user(paths, "# top\n\n[search] # about search\nlimit = 5 # few\n\n# last\n[log]\nlevel = 'debug'\n")
    assert set_value(paths, paths.config, "search.limit", 7) == []
    assert set_value(paths, paths.config, "index.exclude", ("a", "b's")) == []
    text = Path(paths.config).read_text()
    for kept in (
        "# top\n",
        "[search] # about search\n",
        "limit = 7 # few\n",
        "# last\n",
        "level = 'debug'\n",
    ):
        assert kept in text
    loaded = load(paths)
    assert loaded.integer("search.limit") == 7
    assert loaded.texts("index.exclude") == ("a", "b's")
    assert unset_value(paths, paths.config, "search.limit") == (True, [])
    text = Path(paths.config).read_text()
    assert "# top" in text
    assert "# last" in text
    assert not load(paths).is_set("search.limit")
    assert unset_value(paths, paths.config, "search.limit") == (False, [])


def test_a_new_file_is_private_whatever_the_umask(paths: Paths) -> None:
    before = os.umask(0)
    try:
        set_value(paths, paths.config, "search.limit", 7)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(paths.config).st_mode) == 0o600
    assert Path(paths.config).read_text().startswith("#")
    assert load(paths).integer("search.limit") == 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[search]\nlimit = \n", "line 2: this is not valid TOML"),
        ("config_version = 9\n", "newer Gardener"),
        ("search = 3\n", "cannot be changed automatically"),
    ],
)
def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(paths: Paths, text: str, reason: str) -> None:
    write_user(paths, text)
    with pytest.raises(ConfigError) as caught:
        set_value(paths, paths.config, "search.limit", 7)
    assert paths.config in caught.value.message
    assert reason in caught.value.message
    assert Path(paths.config).read_text() == text
    assert sorted(os.listdir(paths.home)) == ["config.toml", "run"], "no half-written copy is left"


def test_one_mistake_can_be_repaired_while_there_are_others(paths: Paths) -> None:
    write_user(paths, "typo = 1\n[search]\nlimit = 0\n")
    remaining = set_value(paths, paths.config, "search.limit", 7)
    assert [problem.key for problem in remaining] == ["typo"]
    assert unset_value(paths, paths.config, "typo") == (True, [])
    assert load(paths).integer("search.limit") == 7


def test_a_link_stays_a_link(paths: Paths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles.toml"
    elsewhere.write_text("# kept\n")
    Path(paths.config).symlink_to(elsewhere)
    set_value(paths, paths.config, "search.limit", 7)
    assert Path(paths.config).is_symlink()
    assert "# kept" in elsewhere.read_text()
    assert "limit = 7" in elsewhere.read_text()


@in_one_folder
@given(document=documents(), setting=st.sampled_from(SETTINGS), data=st.data())
def test_law_setting_then_unsetting_changes_nothing_else(
    paths: Paths, document: dict[str, dict[str, object]], setting: Setting, data: st.DataObject
) -> None:
    write_user(paths, tomlkit.dumps(document))
    before = load(paths)
    value = setting.check(data.draw(value_of(setting)))
    set_value(paths, paths.config, setting.key, value)
    after = load(paths)
    assert after.value(setting.key) == value
    assert set(after.changed_keys(before)) <= {setting.key}
    unset_value(paths, paths.config, setting.key)
    assert set(load(paths).changed_keys(before)) <= {setting.key}
    assert not load(paths).is_set(setting.key)


def test_two_editors_at_once_lose_nothing(paths: Paths) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from gardener.paths import Paths; from gardener.settings_edit import set_value\n"
        "paths = Paths(sys.argv[2])\n"
        "for number in range(10): set_value(paths, paths.config, sys.argv[3], int(sys.argv[4]) + number)\n"
    )
    keys = [("search.limit", "50"), ("answer.hits", "20"), ("log.backups", "30")]
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(ROOT), paths.home, key, first]) for key, first in keys
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    loaded = load(paths)
    assert [loaded.integer(key) for key, _ in keys] == [59, 29, 39]
