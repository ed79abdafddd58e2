"""Links into editors: a file's name adds nothing to the address but itself."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from gardener.settings_schema import SETTINGS
from ui.editor import NAMES, editor_link

HOSTILE = '/home/me/a b?line=9&x="><img>#7:1%00\n/ü.py'


def test_each_editor_in_its_own_form() -> None:
    assert editor_link("vscode", "/p/a.py", 3) == "vscode://file/p/a.py:3"
    assert editor_link("cursor", "/p/a.py", 3) == "cursor://file/p/a.py:3"
    assert editor_link("zed", "/p/a.py", 3) == "zed://file/p/a.py:3"
    assert editor_link("xcode", "/p/a.py", 3) == "xcode://open?file=/p/a.py&line=3"
    assert editor_link("file", "/p/a.py", 3) == "file:///p/a.py"
    assert editor_link("none", "/p/a.py", 3) == ""


@pytest.mark.parametrize("editor", sorted(NAMES))
def test_hostile_names_are_only_names(editor: str) -> None:
    link = editor_link(editor, HOSTILE, 3)
    assert not set(link) & set(' "<>#\n') and link.isascii()
    parts = urlsplit(link)
    if editor == "xcode":
        assert parts.query.count("&") == 1 and parts.query.endswith("&line=3")
        assert unquote(parts.query.removeprefix("file=").removesuffix("&line=3")) == HOSTILE
    else:
        assert parts.query == "" and parts.fragment == ""
        assert unquote(parts.path.removesuffix(":3")) == HOSTILE


def test_every_choice_of_the_setting_has_a_name() -> None:
    choices = next(setting for setting in SETTINGS if setting.key == "ui.editor").choices
    assert set(choices) == {*NAMES, "none"}
