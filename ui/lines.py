"""Numbered lines of source as HTML: the snippets of a search and the file around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ui.editor import NAMES, editor_link
from ui.highlight import highlighted
from ui.markup import button, text

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

AROUND = 60
"""Lines shown above and below those that were asked for."""
COLOURED_FROM = 4_000
"""Lines above those shown from which colouring starts, to know of a long comment or string."""
MOST_LINES = 2_000
"""That can be asked for in one page."""
LONGEST_LINE = 2_000
"""Characters of one line that are sent to the page."""


def lines_html(coloured_html: Sequence[str], first: int, label: str, marked: Collection[int] = ()) -> str:
    """A table of lines; `coloured_html` is what ui.highlight gives, `marked` are line numbers that stand out."""
    rows = "".join(
        f'<tr{" class=cited" if number in marked else ""}><th scope="row">{number}</th><td>{line}</td></tr>'
        for number, line in enumerate(coloured_html, first)
    )
    return (
        f'<div class="code" tabindex="0" role="region" aria-label="{text(label)}">'
        f"<table><caption>{text(label)}</caption><tbody>{rows}</tbody></table></div>"
    )


def open_in_editor_html(gardener: Gardener, context: ProjectContext, path: str, line: int) -> str:
    """A link that opens the file in the reader's editor; "" when the setting ui.editor names none."""
    editor = gardener.settings_for(context).text("ui.editor")
    address = editor_link(editor, f"{context.root}/{path}", line)
    if not address or editor == "file":  # a browser follows no link from a page to a file
        return ""
    return f'<a class="act editor" href="{text(address)}">Open in {text(NAMES[editor])}</a>'


def opened_lines_html(
    gardener: Gardener, context: ProjectContext, path: str, start: int, end: int, back: Mapping[str, str]
) -> str:
    """The lines of a file as they are on the disk now, with their neighbours, and the way back to the search `back`."""
    start = max(1, start)
    end = max(start, min(end, start + MOST_LINES - 1))
    asked = gardener.source(context, path, start, end)
    where = f'{text(path)}<span class="quiet">:{start}–{end}</span>'
    editing = open_in_editor_html(gardener, context, path, start)
    returning = button("Back to the results", "search", **back)
    head = f'<div class="line">{returning}{editing}</div><h2 class="place" tabindex="-1" data-focus="">{where}</h2>'
    if not asked.exists or not asked.lines:
        why = text(asked.reason or "these lines do not exist any more")
        return f'<section class="opened">{head}<p class="warn">{why}</p></section>'
    first = max(1, start - AROUND)
    above = max(1, first - COLOURED_FROM)
    view = gardener.source(context, path, above, end + AROUND)
    coloured = highlighted([line[:LONGEST_LINE] for line in view.lines], view.language)[first - above :]
    body = lines_html(coloured, first, f"Lines {first} to {first + len(coloured) - 1} of {path}", range(start, end + 1))
    return f'<section class="opened">{head}{body}</section>'
