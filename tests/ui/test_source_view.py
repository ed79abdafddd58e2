"""The open file beside a conversation: read on from the cited lines, and still whether they are what was cited."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gardener.app import Gardener
from gardener.chat.citations import lines_sha256
from gardener.server.edge import Edge, Launch
from ui.ask_handlers import Handlers
from ui.desk import Tab
from ui.source import AROUND, MORE, MOST, room_for_more, source_html

LINES = 5_000


@pytest.fixture(scope="module")
def gardener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gardener]:
    base = tmp_path_factory.mktemp("source")
    (base / "code").mkdir()
    (base / "code" / "long.py").write_text("".join(f"line_{number} = 0\n" for number in range(1, LINES + 1)))
    with Gardener(str(base / "home")) as made:
        made.registry.add(str(base / "code"), "code")
        yield made


def numbers(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'<th scope="row">(\d+)</th>', html)]


def test_there_is_more_above_and_below_until_the_file_or_the_page_ends(gardener: Gardener) -> None:
    context = gardener.context("code")
    cited = {"path": "long.py", "start_line": 100, "end_line": 102, "sha256": "no longer that"}
    shown = source_html(gardener, context, cited)
    assert numbers(shown) == list(range(100 - AROUND, 103 + AROUND))
    assert "Show more: 59 lines above" in shown and "Show more: 4,858 lines below" in shown
    assert "changed since" in shown
    around = (AROUND + MORE, AROUND)
    shown = source_html(gardener, context, cited, around)
    assert numbers(shown)[0] == 1 and "above" not in shown and "changed since" in shown
    around = (AROUND + MORE, AROUND + room_for_more(100, 102, around))
    shown = source_html(gardener, context, cited, around)
    assert len(numbers(shown)) == MOST and "lines below are not shown here" in shown and "Show more" not in shown


def test_the_last_line_has_nothing_below(gardener: Gardener) -> None:
    right = lines_sha256(f"line_{LINES} = 0")
    cited = {"path": "long.py", "start_line": LINES, "end_line": LINES, "sha256": right}
    shown = source_html(gardener, gardener.context("code"), cited)
    assert numbers(shown)[-1] == LINES and "below" not in shown and "as they were cited" in shown


def test_the_page_shows_more_and_closes_the_file(gardener: Gardener) -> None:
    handlers = Handlers(Edge(gardener, Launch("127.0.0.1", 1, "token")))
    tab = Tab(project=gardener.context("code"), place=("long.py", 1_000, 1_001))
    above = numbers(handlers._do_more(tab, "above", "")["source"])
    both = numbers(handlers._do_more(tab, "below", "")["source"])
    assert (above[0], above[-1]) == (1_000 - AROUND - MORE, 1_001 + AROUND)
    assert (both[0], both[-1]) == (1_000 - AROUND - MORE, 1_001 + AROUND + MORE)
    closed = handlers._do_shut(tab, "", "")
    assert closed["source"] == "" and "long.py" not in closed["key"] and tab.place is None
