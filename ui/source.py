"""The citations panel and the source view, as HTML. All repository text goes through html.escape.

gr.HTML puts a value into its template as data and sets innerHTML; it does not run templates inside the
value, so escaping is enough. Never pass repository text as a template or through {{…}}: the result of that
is run as code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gardener.chat.citations import lines_sha256
from ui.editor import NAMES, editor_link
from ui.highlight import highlighted
from ui.markup import exact, text

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

AROUND = 40
"""Lines shown above and below the cited ones."""
MORE = 200
"""Lines that "Show more" adds on its side."""
MOST = 3_000
"""Lines of a file in one view."""
COLOURED_FROM = 4_000
"""Lines above those shown from which colouring starts, to know of a long comment or string."""
LONGEST_LINE = 2_000
"""Characters of one line that are sent to the page."""

CLOSE = '<button type="button" data-act="shut" data-argument="" aria-label="Close the file">Close</button>'

STATES = {
    "current": "as cited",
    "changed": "changed since",
    "missing": "gone from the disk",
}


def citations_html(citations: Sequence[Mapping[str, Any]], turn: int, chosen: int = 0) -> str:
    """One button per citation, in the order of their numbers."""
    if not citations:
        return '<p class="quiet">Sources of an answer appear here. Choose one to read its lines.</p>'
    items = []
    for citation in sorted(citations, key=lambda entry: int(entry["n"])):
        n, state = int(citation["n"]), str(citation.get("state", "current"))
        folder, _, name = str(citation["path"]).rpartition("/")
        flag = "" if state == "current" else f'<span class="flag">{text(STATES.get(state, state))}</span>'
        symbol = f'<span class="symbol">{text(str(citation["symbol"]))}</span>' if citation.get("symbol") else ""
        place = f'<span class="folder">{text(folder + "/") if folder else ""}</span>{text(name)}'
        lines = f"{int(citation['start_line'])}–{int(citation['end_line'])}"
        pressed = "true" if n == chosen else "false"
        items.append(
            f'<li><button type="button" class="citation" data-cite="{n}" data-turn="{int(turn)}"'
            f' aria-pressed="{pressed}">'
            f'<span class="n">{n}</span><span class="place">{place}<span class="lines">:{lines}</span></span>'
            f"{symbol}{flag}</button></li>"
        )
    return f'<ol class="citations">{"".join(items)}</ol>'


def source_html(
    gardener: Gardener, context: ProjectContext, citation: Mapping[str, Any], around: tuple[int, int] = (AROUND, AROUND)
) -> str:
    """The cited lines on the disk now, among so many neighbours above and below, and whether they still say what was
    cited."""
    path, start, end = str(citation["path"]), int(citation["start_line"]), int(citation["end_line"])
    heading = f'<h3 tabindex="-1">{text(path)}<span class="lines">:{start}–{end}</span></h3>'
    first = max(1, start - around[0])
    above = max(1, first - COLOURED_FROM)
    view = gardener.source(context, path, above, end + around[1])
    cited = view.lines[start - above : end + 1 - above]
    if not view.exists or not cited:
        why = text(view.reason or "these lines do not exist any more")
        close = f'<p class="acts">{CLOSE}</p>'
        return f'<section class="source">{heading}<p class="warning">Cannot be shown: {why}.</p>{close}</section>'
    coloured = highlighted([line[:LONGEST_LINE] for line in view.lines], view.language)[first - above :]
    state, note = _state(cited, citation.get("sha256"))
    note += _editor_html(gardener.settings_for(context).text("ui.editor"), os.path.join(context.root, path), start)

    def nearness(number: int) -> str:
        return "cited" if start <= number <= end else "near"

    rows = "".join(
        f'<tr class="{nearness(number)}"><th scope="row">{number}</th><td>{line}</td></tr>'
        for number, line in enumerate(coloured, first)
    )
    last = first + len(coloured) - 1
    left = view.total_lines - last
    up = "" if first == 1 else f"{first - 1:,} lines above"
    down = "" if left <= 0 else f"{left:,} lines below"
    room = room_for_more(start, end, around)
    up, down = _more("above", up, room), _more("below", down, room)
    return (
        f'<section class="source" data-state="{state}">{heading}<div class="about">{note}</div>'
        f'<div class="code" tabindex="0" role="region" aria-label="Lines of {text(path)}">{up}'
        f"<table><caption>{text(path)}, lines {first} to {last}; "
        f"{start} to {end} are cited</caption><tbody>{rows}</tbody></table>{down}</div></section>"
    )


def room_for_more(start: int, end: int, around: tuple[int, int]) -> int:
    """Lines that a view of `start` to `end` can still grow by."""
    return max(0, MOST - (end - start + 1) - min(around[0], start - 1) - around[1])


def _more(side: str, what: str, room: int) -> str:
    """Where a view ends before its file: the way on, or that the rest is for the editor."""
    if not what:
        return ""
    if not room:
        return f'<p class="further">{what} are not shown here</p>'
    return f'<button type="button" class="further" data-act="more" data-argument="{side}">Show more: {what}</button>'


def _state(cited: Sequence[str], sha256: object) -> tuple[str, str]:
    """Whether the lines on the disk are those that were cited; a place that no answer cited has no such state."""
    if not sha256:
        return "current", ""
    if lines_sha256("\n".join(cited)) == sha256:
        return "current", '<p class="good">These lines are as they were cited.</p>'
    return "changed", '<p class="warning">This file has changed since: these are not the lines that were cited.</p>'


def _editor_html(editor: str, path: str, line: int) -> str:
    """Ways out of the page: into the editor of the setting ui.editor, and the place as text."""
    place = exact(f"{path}:{line}")
    copy = f'<button type="button" data-copy="{place}">Copy path</button>'
    link = editor_link(editor, path, line)
    if not link or editor == "file":  # a browser follows no link from a page to a file
        file_link = f'<button type="button" data-copy="{exact(link)}">Copy link</button>' if link else ""
        return f'<p class="acts">{copy}{file_link}{CLOSE}</p>'
    name = text(NAMES[editor])
    return f'<p class="acts"><a class="editor" href="{exact(link)}">Open in {name}</a>{copy}{CLOSE}</p>'
