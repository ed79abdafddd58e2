"""Whatever is put into a page is text: names of files, projects, models and settings."""

from __future__ import annotations

from ui.editor import editor_link
from ui.lines import lines_html
from ui.markup import ago, badge, bar, button, empty, notice, seconds, section, table, text

EVIL = "\"><img src=x onerror=alert(1)>'"


def test_no_text_becomes_markup() -> None:
    pages = [
        button(EVIL, EVIL, confirm=EVIL, name=EVIL, project=EVIL),
        section(EVIL, "", note=EVIL, name=EVIL),
        table([EVIL], [[text(EVIL)]], caption=EVIL),
        notice(EVIL, EVIL, bad=True),
        badge(EVIL, EVIL),
        bar(1, 2, EVIL),
        empty(EVIL, ""),
        lines_html([text(EVIL)], 1, EVIL),
        f'<a href="{text(editor_link("vscode", EVIL, 1))}">',
    ]
    for page in pages:
        assert "<img" not in page
        assert (page.count('"') % 2 == 0 and "onerror=alert(1)&gt;" in page) or "%3E" in page


def test_times_are_readable() -> None:
    assert seconds(0.0421) == "42 ms" and seconds(4.26) == "4.3 s" and seconds(75) == "75 s"
    assert seconds(600) == "10 min" and seconds(7200) == "2.0 h"
    assert ago(0) == "never"
