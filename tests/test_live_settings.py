"""What a running process makes of `gardener config set` in another one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gardener.app import Gardener
from gardener.backup_service import BackupService
from gardener.errors import ConfigError
from gardener.index.search import SearchRequest
from gardener.paths import Paths
from gardener.settings_edit import set_value
from gardener.settings_schema import SETTINGS
from gardener.telemetry import configure_logging
from tests.serving import write_project


def change(gardener: Gardener, key: str, value: str | int | bool | tuple[str, ...]) -> None:
    """As another process does it."""
    assert not set_value(Paths(gardener.paths.home), gardener.paths.config, key, value)


def test_what_is_read_when_it_matters_follows_at_once(home: Path, tmp_path: Path) -> None:
    with Gardener() as gardener:
        context = gardener.registry.add(str(write_project(tmp_path / "lantern")), "lantern")
        gardener.update_index(context)
        assert gardener.usage.today().policy.daily_tokens == 0
        assert BackupService(gardener).store.folder == gardener.paths.backups
        change(gardener, "usage.daily_tokens", 1_000)
        change(gardener, "backup.folder", str(tmp_path / "elsewhere"))
        change(gardener, "answer.hits", 3)
        assert gardener.usage.today().policy.daily_tokens == 1_000
        assert BackupService(gardener).store.folder == str(tmp_path / "elsewhere")
        assert gardener.settings_for(context).integer("answer.hits") == 3


def test_an_open_index_leaves_out_what_it_is_told_to_from_now_on(home: Path, tmp_path: Path) -> None:
    with Gardener() as gardener:
        context = gardener.registry.add(str(write_project(tmp_path / "lantern")), "lantern")
        gardener.update_index(context)
        found = gardener.search(context, SearchRequest("lantern"))
        assert "README.md" in {hit.path for hit in found.hits}
        before = gardener.index(context)
        change(gardener, "answer.hits", 4)
        assert gardener.index(context) is before, "nothing that it was opened with"
        change(gardener, "index.exclude", ("*.md",))
        assert gardener.index(context) is not before
        found = gardener.search(context, SearchRequest("lantern"))
        assert {hit.path for hit in found.hits} == {"src/engine.py"}


def test_the_log_level_follows(home: Path) -> None:
    with Gardener() as gardener:
        logging_now = configure_logging(gardener.paths, gardener.settings, "app")
        log = logging.getLogger("gardener.test")
        try:
            log.debug("before")
            change(gardener, "log.level", "debug")
            assert gardener.settings.text("log.level") == "debug"
            log.debug("after")
            lines = (home / "logs" / "gardener.log").read_text().splitlines()
            assert [json.loads(line)["event"] for line in lines] == ["after"]
        finally:
            from gardener import telemetry

            logging_now = telemetry._active or logging_now
            logging_now.close()


def test_a_file_that_became_wrong_leaves_the_last_good_settings_in_force(home: Path) -> None:
    with Gardener() as gardener:
        change(gardener, "search.limit", 7)
        assert gardener.settings.integer("search.limit") == 7
        good = Path(gardener.paths.config).read_text()
        Path(gardener.paths.config).write_text("[search]\nlimit = 'many'\n")
        assert gardener.settings.integer("search.limit") == 7
        with pytest.raises(ConfigError), Gardener() as other:
            assert other.settings
        Path(gardener.paths.config).write_text(good.replace("7", "9"))
        assert gardener.settings.integer("search.limit") == 9


def test_the_page_says_of_every_setting_when_it_applies() -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    for setting in SETTINGS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{setting.key}` |")]
        assert ("| live |" in row) == setting.live and ("| restart |" in row) != setting.live
