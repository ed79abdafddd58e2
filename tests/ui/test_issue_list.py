"""A finding's runbook stands on the page Health, as text."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from gardener import runbooks
from gardener.health.database import HealthDatabase
from gardener.health.kinds import KINDS
from gardener.health.ledger import LAST_ROUND
from gardener.paths import Paths
from gardener.server.health_view import HealthView
from ui.issue_list import issues_html, step_by_step


def test_each_kind_shows_its_runbook_as_text() -> None:
    for kind in KINDS:
        shown = step_by_step(kind)
        assert f"gardener runbook {kind}" in shown and "## Check again" in shown
        assert "<" not in shown.split('<pre class="runbook">', 1)[1].removesuffix("</pre></details>")
    assert step_by_step("") == ""


def test_without_runbooks_only_the_name_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runbooks, "FOLDERS", (str(tmp_path / "nowhere"),))
    assert step_by_step("disk-full") == '<p class="fix quiet">Step by step: gardener runbook disk-full</p>'


def test_when_the_monitor_looked_is_said(home: Path) -> None:
    home.mkdir(mode=0o700)
    paths = Paths(str(home))
    assert "No round has been made yet." in issues_html(HealthView(paths))
    database = HealthDatabase(paths.health_db)
    with database.write() as connection:
        database.keep(connection, LAST_ROUND, {"at": time.time() - 600, "took_s": 0.1, "pid": 1, "findings": []})
    shown = issues_html(HealthView(paths))
    assert re.search(r"last round was <time title=[^>]*>10 min ago</time>\.", shown)
