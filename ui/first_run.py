"""Adding a project, step by step: a folder, what indexing it would take in, a yes. The whole of the first run."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gardener.errors import GardenerError, UsageError
from gardener.preview import Preview, keep_patterns, patterns_in, preview
from gardener.sizes import counted
from ui.markup import badge, bar, button, count, exact, size, table, text
from ui.pages import Fields, Shown

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.ui")

LOOK_SECONDS = 0.2
SHOWN_LANGUAGES = 8


def folder_form(path: str = "", *, first: bool = False) -> str:
    """Step one: which folder."""
    heading = "Start with a folder" if first else "Add a project"
    lead = (
        "Nothing leaves this machine, and the folder itself is never written to without asking."
        if first
        else "Look first, then decide."
    )
    focus = ' data-focus=""' if first else ""
    return (
        f'<section class="card walk" id="add"><h2>{heading}</h2><p class="quiet">{lead}</p>'
        f'<form data-do="preview" class="line"><label for="folder">Folder</label>'
        f'<div class="combo"><input id="folder" name="path" type="text" required autocomplete="off" spellcheck="false"'
        f' role="combobox" aria-expanded="false" aria-controls="folder-list" aria-autocomplete="list"'
        f' data-complete="folders" placeholder="~/code/shop" value="{exact(path)}"{focus}>'
        f'<ul id="folder-list" role="listbox" aria-label="Folders" hidden></ul></div>'
        f'<button type="submit" class="act primary">Look at it</button></form></section>'
    )


def previewed(edge: Edge, fields: Fields) -> Iterator[Shown]:
    """Step two: what indexing would take in, while it is looked at and then in full."""
    typed = fields.get("path", "").strip()
    if not typed:
        raise UsageError("No folder was given.", next_step="~/code/PROJECT")
    patterns = patterns_in(fields.get("patterns", ""))
    settings = edge.gardener.settings
    steps: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    stop, ended = threading.Event(), threading.Event()
    outcome: list[Preview | GardenerError] = []

    def look() -> None:
        try:
            outcome.append(
                preview(
                    absolute(typed),
                    max_file_bytes=settings.integer("index.max_file_bytes"),
                    exclude=(*settings.texts("index.exclude"), *patterns),
                    include_vendored=settings.flag("index.include_vendored"),
                    progress=lambda done, total: steps.put((done, total)),
                    cancel=stop,
                )
            )
        except GardenerError as error:
            outcome.append(error)
        except Exception:  # the last frame of this thread
            log.exception("a folder could not be looked at")
        finally:
            ended.set()

    threading.Thread(target=look, name="preview", daemon=True).start()
    try:
        while not ended.wait(LOOK_SECONDS):
            done, total = 0, 0
            while not steps.empty():
                done, total = steps.get()
            if total:
                yield Shown(notice=_looking(done, total))
    finally:
        stop.set()  # the page was left: nobody waits for it
    if not outcome:
        raise GardenerError("The folder could not be looked at; the log says why.", next_step="gardener doctor")
    if isinstance(outcome[0], GardenerError):
        raise outcome[0]
    yield Shown(notice="", form=preview_form(outcome[0], fields.get("name", ""), fields.get("patterns", "")))


def added(edge: Edge, fields: Fields) -> ProjectContext:
    """Step three: registers the folder, makes it the active project and starts its index."""
    root = absolute(fields.get("path", ""))
    patterns = patterns_in(fields.get("patterns", ""))
    gardener = edge.gardener
    context = gardener.registry.add(root, fields.get("name", "").strip() or None, nested=fields.get("nested") == "on")
    if patterns:
        keep_patterns(context.root, patterns)
    gardener.switch(context.id)
    edge.update_index(context)
    return context


def absolute(typed: str) -> str:
    """A typed path: "~" is the home folder, and so is the beginning of a relative one."""
    path = os.path.expanduser(typed.strip())
    return path if os.path.isabs(path) else os.path.join(os.path.expanduser("~"), path)


def preview_form(found: Preview, name: str, patterns: str) -> str:
    total = max(1, sum(share.bytes for share in found.languages))
    shown = found.languages[:SHOWN_LANGUAGES]
    languages = table(
        ["Language", "Files", "Size", "Share"],
        [[text(share.language), count(share.files), size(share.bytes), _share(share.bytes / total)] for share in shown],
        caption=f"The {len(shown)} largest of {len(found.languages)} languages"
        if len(found.languages) > len(shown)
        else "Languages",
        numeric=(1, 2),
    )
    left = (
        table(
            ["Left out because", "Entries", "For example"],
            [
                [
                    f"{text(entry.reason.replace('-', ' '))} <span class='quiet'>{text(entry.detail)}</span>",
                    count(entry.entries),
                    "<br>".join(f"<code>{text(path)}</code>" for path in entry.examples[:3]),
                ]
                for entry in found.left_out
            ],
            caption="Left out, besides what git ignores" if found.listed_by == "git" else "Left out",
            numeric=(1,),
        )
        if found.left_out
        else '<p class="quiet">Nothing is left out.</p>'
    )
    notes = "".join(f'<p class="warn">{text(note)}</p>' for note in found.notes)
    kept = patterns_in(patterns)
    title = os.path.basename(found.root) or found.root
    remark = f'<p class="quiet">{len(kept)} of your patterns are applied in what you see.</p>' if kept else ""
    if not found.files:
        remark += '<p class="warn">There is nothing to index here: no text file that the rules let through.</p>'
    return (
        f'<section class="card walk" id="add"><h2 tabindex="-1" data-focus="">{text(title)}'
        f' <span class="quiet path">{text(found.root)}</span></h2>'
        f'<p class="sum"><strong>{count(found.files)}</strong> files · <strong>{size(found.bytes)}</strong> · '
        f"<strong>{len(found.languages)}</strong> {'language' if len(found.languages) == 1 else 'languages'}</p>"
        f"{notes}{_secrets(found)}"
        f'<div class="two">{languages}{left}</div>'
        f'<form data-do="add" class="stack"><input type="hidden" name="path" value="{exact(found.root)}">'
        f'<label for="name">Name</label><input id="name" name="name" type="text" autocomplete="off" '
        f'value="{exact(name or os.path.basename(found.root))}">'
        f'<label for="patterns">Leave out more <span class="quiet">one pattern a line, as in .gitignore; '
        f"they are written to <code>{rules_file(found.root)}</code></span></label>"
        f'<textarea id="patterns" name="patterns" rows="3" spellcheck="false" placeholder="docs/archive/&#10;*.csv">'
        f"{exact(patterns)}</textarea>"
        f'<label class="check"><input type="checkbox" name="nested"> '
        f"Allow a folder inside another project, or around one</label>"
        f'<div class="line"><button type="submit" class="act primary"{"" if found.files else " disabled"}>'
        f"Index {counted(found.files, 'file')}</button>"
        f'<button type="submit" class="act" data-do="preview">Look again</button>'
        f"{button('Another folder', 'again')}</div>"
        f"{remark}</form></section>"
    )


def rules_file(root: str) -> str:
    return text(os.path.join(root, ".gardenerignore"))


def _secrets(found: Preview) -> str:
    if not found.secrets:
        return '<p class="quiet">No secrets were recognised in these files.</p>'
    rows = [[f"<code>{text(path)}</code>", text(where)] for path, where in found.secret_files]
    number = counted(found.secrets, "secret")
    listed = table(["File", "Line: kind"], rows, caption="Files with secrets")
    return (
        f"<details class='warnbox'><summary>{badge(number, 'warn')} recognised; "
        f"kept out of the index</summary>{listed}</details>"
    )


def _share(fraction: float) -> str:
    return f'<span class="meter" style="--part:{fraction:.3f}" aria-hidden="true"></span> {_percent(fraction)}'


def _percent(fraction: float) -> str:
    return "&lt; 1 %" if 0 < fraction < 0.01 else f"{fraction * 100:.0f} %"


def _looking(done: int, total: int) -> str:
    label = f"Looking at the files: {count(done)} of {count(total)}"
    return f'<div class="notice" role="status">{bar(done, total, "Files looked at")}<span>{label}</span></div>'
