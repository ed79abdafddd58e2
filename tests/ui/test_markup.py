"""Whatever is put into a page is text: names of files, projects, models and settings."""

from __future__ import annotations

from ui.editor import editor_link
from ui.highlight import highlighted
from ui.lines import lines_html
from ui.markup import ago, attributes, badge, bar, button, empty, exact, notice, seconds, section, table, text

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


def test_what_hides_or_turns_is_spelled_out_where_it_is_read_and_kept_where_it_comes_back() -> None:
    turned = "invoice\u202efdp.exe\x1b[2J\x9b\u2066"
    assert text(turned) == "invoice\\u202efdp.exe\\x1b[2J\\x9b\\u2066"
    assert exact(turned) == turned and attributes({"data-field-file": turned}) == f' data-field-file="{turned}"'
    assert turned not in button(turned, "lines", name=turned) and "\u202e" not in notice(turned, turned)
    assert highlighted([f"if a:  # {turned}\u200b\r"], "python")[0].count("\\u") == 3
    assert text("می\u200cخواهم 👩\u200d💻") == "می\u200cخواهم 👩\u200d💻"  # joiners that writing needs


def test_names_that_are_no_utf8_can_be_sent() -> None:
    name = b"bad\xff.py".decode("utf-8", "surrogateescape")
    assert text(name) == "bad\\udcff.py"
    assert exact(name).encode() == b"bad?.py"


def test_times_are_readable() -> None:
    assert seconds(0.0421) == "42 ms" and seconds(4.26) == "4.3 s" and seconds(75) == "75 s"
    assert seconds(600) == "10 min" and seconds(7200) == "2.0 h"
    assert ago(0) == "never"
