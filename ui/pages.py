"""The pages besides Ask: what a page is, and the routes, events and components that carry all of them.

A page is HTML that the server makes. Its forms and buttons send one event, `act`, whose answer replaces parts of the
page; `follow` repeats the running work until there is none. Nothing is kept per tab: whatever an action needs comes
with it, so a reload, a second tab and a restart of the app lose nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr

from gardener.audit import acting
from gardener.errors import GardenerError, UsageError
from ui.markup import notice, text
from ui.presence import BREATH_SECONDS

if TYPE_CHECKING:
    from gardener.server.edge import Edge

log = logging.getLogger("gardener.ui")

FOLLOW_SECONDS = 0.25
"""Between two looks at running work: progress moves, and the page's server does not notice."""
ACTOR_JS = """
window.gardener = window.gardener || {};
window.gardener.act = (what, fields) => trigger('act', { what, fields: Object.entries(fields) });
window.gardener.follow = (again) => trigger('follow', { again: Boolean(again) });
window.gardener.rest = () => trigger('rest', {});
document.dispatchEvent(new Event("gardener-page"));
/* The events that pages.js sends: 'act' 'follow' 'rest' */
"""
Fields = Mapping[str, str]


class Given(dict[str, str]):
    """The fields of one event. Whoever sends it may leave some out: that is the sender's mistake."""

    def __missing__(self, name: str) -> str:
        raise UsageError(f"This action needs {name!r}.", next_step="reload the page")


def number(typed: str, otherwise: int | None = None) -> int:
    """A typed number from 0 to 999,999,999; for anything else `otherwise`. Raises UsageError without that."""
    if typed.isascii() and typed.isdigit() and len(typed) < 10:
        return int(typed)
    if otherwise is None:
        raise UsageError(f"{typed[:40]!r} is no number.", next_step="reload the page")
    return otherwise


@dataclass(frozen=True, slots=True)
class Shown:
    """New HTML for parts of a page; None leaves a part as it is."""

    notice: str | None = None
    """What the last action did."""
    form: str | None = None
    """Where things are typed: never replaced unless an action says so."""
    main: str | None = None


class Page(Protocol):
    """One page. Its methods run on threads of their own and may raise GardenerError, which the page then says."""

    path: str
    name: str
    lead: str
    """One sentence under the heading."""

    def open(self, query: Fields) -> Shown:
        """What is shown when the page is opened, with the address's parameters."""

    def act(self, what: str, fields: Fields) -> Iterator[Shown]:
        """What a button or form does; several steps when it takes a while."""

    def live(self) -> str:
        """The work under way that belongs to this page; "" when there is none."""

    def refresh(self, worked: bool) -> Shown:
        """What has changed when there is no such work: any more (`worked`), or because another project is active."""


def add_routes(demo: Any, pages: list[Page], edge: Edge) -> None:
    """Adds every page to the Blocks that holds Ask."""
    for page in pages:
        with demo.route(page.name, f"/{page.path}", show_in_navbar=False):
            _build(page, edge)


def _build(page: Page, edge: Edge) -> None:
    def part(name: str, value: str = "") -> Any:
        return gr.HTML(value, elem_id=f"page-{name}", padding=False, apply_default_css=False, js_on_load=None)

    actor = gr.HTML("", js_on_load=ACTOR_JS, elem_id="actor", padding=False, apply_default_css=False)
    part("head", f'<header><h1>{text(page.name)}</h1><p class="quiet">{text(page.lead)}</p></header>')
    said, live, form, main = part("notice"), part("live"), part("form"), part("main")

    newest_action: dict[str, object] = {}

    def ended() -> int:
        return sum(edge.jobs.finished_states.values())

    def act(event: gr.EventData, request: gr.Request) -> Iterator[list[Any]]:
        tab, mine = str(request.session_hash), object()
        newest_action[tab] = mine

        def parts(shown: Shown) -> list[Any]:
            """Of an action that was overtaken only what it did is said: the page belongs to the newer one."""
            return _parts(shown if newest_action.get(tab) is mine else Shown(notice=shown.notice or None))

        try:
            fields = _given(event)
            if getattr(event, "what", "") == "open":
                yield parts(page.open(fields))
            else:
                steps = page.act(str(getattr(event, "what", "")), fields)
                while True:
                    with acting("web"):  # anew for each step, which may be on another thread
                        shown = next(steps, None)
                    if shown is None:
                        break
                    yield parts(shown)
        except GardenerError as error:
            yield _parts(Shown(notice=notice(error.message, error.next_step, bad=True)))
        except Exception:
            # The last frame below Gradio, which would show its own toast and no next step.
            log.exception("the page %s could not do %s", page.path, getattr(event, "what", ""))
            yield _parts(
                Shown(notice=notice("Something unexpected went wrong; the log has it.", "gardener doctor", bad=True))
            )
        # Gradio sends the last update once more when a handler ends: the page would be replaced under the reader's
        # finger by the same page.
        yield [gr.skip()] * 3
        if newest_action.get(tab) is mine:
            del newest_action[tab]

    newest: dict[str, object] = {}

    def rest(request: gr.Request) -> None:
        """Nobody looks at the tab: its stream is given up, because a browser has six for all tabs together."""
        newest.pop(str(request.session_hash), None)

    async def follow(event: gr.EventData, request: gr.Request) -> AsyncIterator[list[Any]]:
        """Shows the work as long as the tab is looked at. One that was overtaken by a newer one says nothing more.

        It never ends by itself, idle or not: while one event of a tab is open Gradio keeps its stream, and an action
        right behind another would be lost with a stream that is just being closed.
        """
        tab, mine = str(request.session_hash), object()
        # Asked for again: another project is active, its index has changed, or nobody has looked for a while.
        stale = tab in newest or getattr(event, "again", False) is True
        newest[tab] = mine
        nothing = [gr.skip()] * 4
        before, worked, seen, breath = "", False, ended(), time.monotonic()
        try:
            while newest.get(tab) is mine and not edge.closing.is_set():
                now = await asyncio.to_thread(page.live)
                if time.monotonic() - breath > BREATH_SECONDS:
                    yield nothing
                    breath = time.monotonic()
                if now != before:
                    yield [now, *nothing[1:]]
                before, worked = now, worked or bool(now)
                # Also between two pieces of work: a project is searchable while its vectors are still being made.
                if stale or ended() != seen or (worked and not now):
                    seen = ended()
                    yield [now, *_parts(await asyncio.to_thread(page.refresh, worked))]
                    stale, worked = False, bool(now)
                await asyncio.sleep(FOLLOW_SECONDS)
            yield nothing  # as above; and it must not undo a later action's
        finally:
            if newest.get(tab) is mine:
                del newest[tab]

    quiet = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
    followed = [live, said, form, main]
    actor.act(act, None, [said, form, main], trigger_mode="multiple", **quiet)
    actor.follow(follow, None, followed, trigger_mode="multiple", **quiet)
    actor.rest(rest, None, None, trigger_mode="multiple", **quiet)


def _given(event: gr.EventData) -> Given:
    try:
        # Pairs: of an object with the key "path" Gradio thinks that it names an uploaded file.
        return Given((str(name), str(value)) for name, value in event.fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError("No page sends such an event.", next_step="reload the page") from error


def _parts(shown: Shown) -> list[Any]:
    return [gr.skip() if html is None else html for html in (shown.notice, shown.form, shown.main)]


def all_pages(edge: Edge) -> list[Page]:
    """In the order of the navigation."""
    from ui.activity_page import ActivityPage
    from ui.backups_page import BackupsPage
    from ui.health_page import HealthPage
    from ui.models_page import ModelsPage
    from ui.projects_page import ProjectsPage
    from ui.search_page import SearchPage
    from ui.settings_page import SettingsPage

    return [
        SearchPage(edge),
        ProjectsPage(edge),
        ModelsPage(edge),
        HealthPage(edge),
        BackupsPage(edge),
        ActivityPage(edge),
        SettingsPage(edge),
    ]
