"""The citations panel and the source view, as HTML. All repository text goes through html.escape.

gr.HTML puts a value into its template as data and sets innerHTML; it does not run templates inside the
value, so escaping is enough. Never pass repository text as a template or through {{…}}: the result of that
is run as code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gardener.chat.citations import lines_sha256
from ui.highlight import highlighted

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

AROUND = 40
"""Lines shown above and below the cited ones."""
LONGEST_LINE = 2_000
"""Characters of one line that are sent to the page."""

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
        flag = "" if state == "current" else f'<span class="flag">{escape(STATES.get(state, state))}</span>'
        symbol = f'<span class="symbol">{escape(str(citation["symbol"]))}</span>' if citation.get("symbol") else ""
        place = f'<span class="folder">{escape(folder + "/") if folder else ""}</span>{escape(name)}'
        lines = f"{int(citation['start_line'])}–{int(citation['end_line'])}"
        pressed = "true" if n == chosen else "false"
        items.append(
            f'<li><button type="button" class="citation" data-cite="{n}" data-turn="{int(turn)}"'
            f' aria-pressed="{pressed}">'
            f'<span class="n">{n}</span><span class="place">{place}<span class="lines">:{lines}</span></span>'
            f"{symbol}{flag}</button></li>"
        )
    return f'<ol class="citations">{"".join(items)}</ol>'


def source_html(gardener: Gardener, context: ProjectContext, citation: Mapping[str, Any]) -> str:
    """The cited lines on the disk now, among their neighbours, and whether they still say what was cited."""
    path, start, end = str(citation["path"]), int(citation["start_line"]), int(citation["end_line"])
    cited = gardener.source(context, path, start, end)
    heading = f'<h3 tabindex="-1">{escape(path)}<span class="lines">:{start}–{end}</span></h3>'
    if not cited.exists or not cited.lines:
        why = escape(cited.reason or "these lines do not exist any more")
        return f'<section class="source">{heading}<p class="warning">Cannot be shown: {why}.</p></section>'
    view = gardener.source(context, path, 1, end + AROUND)
    first = max(1, start - AROUND)
    coloured = highlighted([line[:LONGEST_LINE] for line in view.lines], view.language)[first - 1 :]
    same = lines_sha256("\n".join(cited.lines)) == citation.get("sha256")
    state = "current" if same else "changed"
    note = (
        '<p class="good">These lines are as they were cited.</p>'
        if state == "current"
        else '<p class="warning">This file has changed since: these are not the lines that were cited.</p>'
    )

    def nearness(number: int) -> str:
        return "cited" if start <= number <= end else "near"

    rows = "".join(
        f'<tr class="{nearness(number)}"><th scope="row">{number}</th><td>{line}</td></tr>'
        for number, line in enumerate(coloured, first)
    )
    return (
        f'<section class="source" data-state="{state}">{heading}{note}'
        f'<div class="code" tabindex="0" role="region" aria-label="Lines of {escape(path, quote=True)}">'
        f"<table><caption>{escape(path)}, lines {first} to {first + len(coloured) - 1}; "
        f"{start} to {end} are cited</caption><tbody>{rows}</tbody></table></div></section>"
    )
