"""Credentials: the stored form is of no use, the revoked and the old do not work, damage lets nobody in."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gardener.errors import NameTaken, NotFoundError
from gardener.server import access as access_module
from gardener.server.access import MAX_LINKS, MAX_SESSIONS, Access


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(str(tmp_path / "run"), "launch-token")


def stored(tmp_path: Path) -> Path:
    return tmp_path / "run" / "access.json"


def test_only_the_launch_token_is_a_client_at_first(access: Access) -> None:
    assert access.client("launch-token")
    for wrong in ("", "launch", "launch-token ", "LAUNCH-TOKEN", "\udcff"):
        assert not access.client(wrong)
    assert not access.browser("launch-token")


def test_the_file_holds_hashes_and_is_private(access: Access, tmp_path: Path) -> None:
    token = access.create_client("editor")
    session = access.enter(access.issue_link())
    assert session is not None
    text = stored(tmp_path).read_text()
    assert token not in text and session not in text
    assert stat.S_IMODE(stored(tmp_path).stat().st_mode) == 0o600


def test_a_session_outlives_the_process_and_is_no_client_token(access: Access, tmp_path: Path) -> None:
    session = access.enter(access.issue_link())
    token = access.create_client("editor")
    assert session is not None
    later = Access(str(tmp_path / "run"), "another-launch")
    assert later.browser(session) and later.client(token)
    assert not later.client(session) and not later.browser(token)
    assert not later.client("launch-token")


def test_a_link_is_good_for_one_entry(access: Access) -> None:
    code = access.issue_link()
    assert access.enter(code) is not None
    assert access.enter(code) is None
    assert access.enter("made-up") is None


def test_an_old_link_is_void(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "LINK_SECONDS", -1.0)
    assert access.enter(access.issue_link()) is None


def test_links_and_sessions_are_bounded(access: Access) -> None:
    codes = [access.issue_link() for _ in range(MAX_LINKS + 1)]
    assert access.enter(codes[0]) is None
    assert access.enter(codes[-1]) is not None
    first = access.enter(access.issue_link())
    sessions = [access.enter(access.issue_link()) for _ in range(MAX_SESSIONS)]
    assert first is not None and not access.browser(first)
    assert all(access.browser(session) for session in sessions if session)


def test_an_expired_session_is_void(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "SESSION_SECONDS", -1.0)
    session = access.enter(access.issue_link())
    assert session is not None and not access.browser(session)


def test_a_token_created_by_another_process_works_at_once_and_revoking_ends_it(access: Access, tmp_path: Path) -> None:
    other = Access(str(tmp_path / "run"), "other")
    token = other.create_client("editor")
    assert access.client(token)
    with pytest.raises(NameTaken, match="editor"):
        access.create_client("editor")
    access.revoke("editor")
    assert not other.client(token)
    with pytest.raises(NotFoundError, match="editor"):
        access.revoke("editor")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"credentials": [{"id": "x"}]}', '{"credentials": 5}'])
def test_a_damaged_file_lets_nobody_in_and_the_owner_can_go_on(
    access: Access, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = access.create_client("editor")
    stored(tmp_path).write_text(damage)
    assert not access.client(token)
    assert access.client("launch-token")
    assert "access.json is damaged" in caplog.text
    assert access.enter(access.issue_link()) is not None
    assert json.loads(stored(tmp_path).read_text())["version"] == 1
