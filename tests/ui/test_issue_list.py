"""A finding's runbook stands on the page Health, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from gardener import runbooks
from gardener.health.kinds import KINDS
from ui.issue_list import step_by_step


def test_each_kind_shows_its_runbook_as_text() -> None:
    for kind in KINDS:
        shown = step_by_step(kind)
        assert f"gardener runbook {kind}" in shown and "## Check again" in shown
        assert "<" not in shown.split('<pre class="runbook">', 1)[1].removesuffix("</pre></details>")
    assert step_by_step("") == ""


def test_without_runbooks_only_the_name_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runbooks, "FOLDERS", (str(tmp_path / "nowhere"),))
    assert step_by_step("disk-full") == '<p class="fix quiet">Step by step: gardener runbook disk-full</p>'
