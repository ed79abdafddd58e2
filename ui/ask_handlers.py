"""What happens on the page "Ask": each handler yields updates by the name of what they are for (see ui.ask).

Whatever touches the database runs on a thread: the event loop also serves every other page.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from html import escape
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from gardener.audit import acting
from gardener.errors import GardenerError, UsageError
from gardener.projects import branches
from gardener.server.conversation_key import conversation_key, conversations_key
from gardener.server.json_api import page_key
from ui.conversation_list import earlier_html, head_html, kin_ids, list_html
from ui.desk import SHOWN_MESSAGES, Desk, Tab
from ui.live import frames
from ui.markup import text
from ui.source import AROUND, MORE, citations_html, room_for_more, source_html

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from ui.transcript import Transcript

Updates = dict[str, Any]
STARTING = "starting"
"""Stands for the job of a question that is being handed over."""
NOTHING: Updates = {"notice": gr.skip()}
FORGOTTEN = "This page was left for so long that the app had forgotten it, so nothing was done. Please do it again."
EXAMPLES = ("What does this project do?", "Where does the program start?", "How are errors handled?")
LONGEST_QUESTION = 20_000


class Handlers:
    """The page's behaviour for every open page of one app."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.gardener = edge.gardener
        self.desk = Desk(edge)
        self._parcels = itertools.count(1)

    # ---- opening, and what others did --------------------------------------------------------------------

    async def load(self, tab: Tab, request: gr.Request) -> AsyncIterator[Updates]:
        """A page was opened: by a link to a project, conversation or place, or without one."""
        tab.session = str(request.session_hash)
        notice = await asyncio.to_thread(self._follow_link, tab, dict(request.query_params))
        async for step in self._show(tab, project=self._chooser(), notice=notice):
            yield step

    def _follow_link(self, tab: Tab, link: dict[str, str]) -> str:
        """Applies the address's parameters to an empty page; what could not be followed, as a notice.

        `was` stands for `project` when the page is reloaded: a switch made elsewhere since then holds.
        """
        problems = []
        try:
            wanted, active = link.get("project", ""), self.gardener.registry.active()
            if wanted and (active is None or active.name != wanted):
                with acting("web"):
                    self.gardener.switch(wanted)
            self.desk.turn_to_active(tab)
            here = tab.project.name if tab.project else ""
            if tab.project is not None and here == (wanted or link.get("was", "")):
                if link.get("conversation"):
                    self.desk.open(tab, link["conversation"])
                tab.place = place_from(link)
        except GardenerError as error:
            problems.append(error)
            self.desk.turn_to_active(tab)
        return "".join(notice_html(error) for error in problems)

    async def _known(self, tab: Tab, request: gr.Request) -> bool:
        """Whether it is known what the page shows. If not, `_anew` shows it what is known."""
        return bool(tab.session) or await asyncio.to_thread(self.desk.recall, tab, str(request.session_hash))

    def _anew(self, tab: Tab) -> AsyncIterator[Updates]:
        return self._show(tab, project=self._chooser(), notice=notice_html(UsageError(FORGOTTEN)))

    async def moved(self, tab: Tab, request: gr.Request) -> AsyncIterator[Updates]:
        """The pulse showed something else than the page: a switch, another page's question, a new title."""
        await self._known(tab, request)
        key = page_key(self.edge)
        if key != tab.key:
            await asyncio.to_thread(self._turn_to_active, tab)
            async for step in self._show(tab, project=self._chooser(), source=""):
                yield step
        elif tab.project is None:
            yield NOTHING
        elif await asyncio.to_thread(conversation_key, self.edge, tab.project.id, tab.conversation) != (
            tab.conversation_key
        ):
            async for step in self._show(tab):
                yield step
        else:
            yield await asyncio.to_thread(self._listing, tab)

    def _turn_to_active(self, tab: Tab) -> None:
        with tab.lock:
            self.desk.turn_to_active(tab)

    def _listing(self, tab: Tab) -> Updates:
        if tab.project is not None:
            tab.list_key = conversations_key(self.gardener, tab.project.id)
        history = self.gardener.history
        return {"key": key_html(tab), "listing": list_html(history, tab), "head": head_html(history, tab)}

    # ---- asking ------------------------------------------------------------------------------------------

    async def ask(self, question: str, tab: Tab, request: gr.Request) -> AsyncIterator[Updates]:
        if not await self._known(tab, request):
            async for step in self._anew(tab):
                yield step
            return
        if tab.project is None or not question.strip() or tab.job:
            yield NOTHING
            return
        context, tab.job = tab.project, STARTING  # a second Enter finds it

        def begin() -> None:
            with tab.lock:
                if tab.conversation:
                    self.edge.ask(context, question, tab.conversation)
                    return
                made = self.gardener.history.start(context.id).id
                try:
                    self.edge.ask(context, question, made)
                except GardenerError:
                    self.gardener.history.delete(context.id, made)  # nothing was asked in it
                    raise
                self.desk.open(tab, made)

        try:
            await asyncio.to_thread(begin)
        except GardenerError as error:
            tab.job = ""
            yield {"notice": notice_html(error)}
            return
        async for step in self._show(tab, question="", source=""):
            yield step

    def stop(self, tab: Tab, request: gr.Request) -> None:
        with tab.lock:  # between a reading's beginning and its end it is not known which answer is shown
            if not tab.session:
                self.desk.recall(tab, str(request.session_hash))
            if tab.job not in ("", STARTING):
                self.edge.jobs.cancel(tab.job)

    def choose(self, name: str | None) -> None:
        active = self.gardener.registry.active()
        if name and (active is None or active.name != name):
            with acting("web"):
                self.gardener.switch(name)  # ask.js sees the new key and asks for the rebuilt page

    # ---- conversations and messages ----------------------------------------------------------------------

    async def act(self, tab: Tab, event: gr.EventData, request: gr.Request) -> AsyncIterator[Updates]:
        """One of the buttons that ask.js sends: `what`, its `argument`, and `text` that was typed for it."""
        if not await self._known(tab, request):
            async for step in self._anew(tab):
                yield step
            return
        what, argument, text = str(event.what), str(event.argument), str(event.text)[:LONGEST_QUESTION]
        doing = getattr(self, f"_do_{what}", None)
        if tab.project is None or doing is None:
            yield NOTHING
            return

        def do() -> Updates | None:
            with tab.lock:
                return cast("Updates | None", doing(tab, argument, text))

        try:
            with acting("web"):
                updates = await asyncio.to_thread(do)
        except GardenerError as error:
            yield {"notice": notice_html(error)}
            return
        if updates is not None:
            yield updates
            return
        async for step in self._show(tab, source="" if tab.place is None else gr.skip()):
            yield step

    def _do_open(self, tab: Tab, conversation: str, _: str) -> None:
        self.desk.open(tab, conversation)

    def _do_new(self, tab: Tab, _: str, __: str) -> None:
        self.desk.open(tab, "")

    def _do_earlier(self, tab: Tab, _: str, __: str) -> None:
        tab.messages += SHOWN_MESSAGES

    def _do_rename(self, tab: Tab, conversation: str, title: str) -> Updates:
        # The branches stand in the list as one, under the title of the newest.
        for one in kin_ids(branches.family(self.gardener.state, _id(tab), conversation)):
            self.gardener.history.retitle(_id(tab), one, title)
        return self._listing(tab)

    def _do_delete(self, tab: Tab, conversation: str, _: str) -> None:
        kin = kin_ids(branches.family(self.gardener.state, _id(tab), conversation))
        for one in kin:
            self.gardener.history.delete(_id(tab), one)
        tab.deleted = (conversation, *(one for one in kin if one != conversation))
        if tab.conversation in kin:
            self.desk.open(tab, "")

    def _do_undelete(self, tab: Tab, _: str, __: str) -> None:
        for one in tab.deleted:
            self.gardener.history.restore(_id(tab), one)
        if tab.deleted:
            self.desk.open(tab, tab.deleted[0])
        tab.deleted = ()

    def _do_markdown(self, tab: Tab, conversation: str, _: str) -> Updates:
        text = self.gardener.history.export_markdown(_id(tab), conversation)
        return self._parcel(save=f"conversation-{conversation}.md", type="text/markdown", text=text)

    def _do_json(self, tab: Tab, conversation: str, _: str) -> Updates:
        import json

        found = self.gardener.history.export_json(_id(tab), conversation)
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        return self._parcel(save=f"conversation-{conversation}.json", type="application/json", text=text)

    def _do_copy(self, tab: Tab, message: str, _: str) -> Updates:
        return self._parcel(copy=self.gardener.history.message(_id(tab), _number(message)).content)

    def _do_edit(self, tab: Tab, message: str, text: str) -> Updates | None:
        """Without a text the question comes back to be edited; with one it is asked in a branch."""
        stored = self.gardener.history.message(_id(tab), _number(message))
        if not text.strip():
            return self._parcel(edit=message, text=stored.content)
        self._ask_in_branch(tab, stored.conversation_id, stored.id, text)
        return None

    def _do_again(self, tab: Tab, message: str, _: str) -> None:
        """Asks the question of an answer (or the question itself) once more, in a branch."""
        stored = self.gardener.history.message(_id(tab), _number(message))
        if stored.role != "user":
            earlier = self.gardener.history.show(_id(tab), stored.conversation_id, limit=20, before=stored.id)
            stored = next((one for one in reversed(earlier) if one.role == "user"), stored)
        if stored.role != "user":
            raise UsageError("This answer has no question that could be asked again.")
        self._ask_in_branch(tab, stored.conversation_id, stored.id, stored.content)

    def _ask_in_branch(self, tab: Tab, conversation: str, before: int, question: str) -> None:
        assert tab.project is not None
        made = branches.branch(self.gardener.state, tab.project.id, conversation, before)
        try:
            self.edge.ask(tab.project, question, made.id)
        except GardenerError:
            self.gardener.history.delete(tab.project.id, made.id)  # nothing was asked in it
            raise
        self.desk.open(tab, made.id)

    def _do_continue(self, tab: Tab, _: str, __: str) -> None:
        assert tab.project is not None
        if not tab.job:
            self.edge.go_on(tab.project, tab.conversation)

    def _do_good(self, tab: Tab, message: str, reason: str) -> None:
        self.gardener.history.rate(_id(tab), _number(message), 1, reason)

    def _do_bad(self, tab: Tab, message: str, reason: str) -> None:
        self.gardener.history.rate(_id(tab), _number(message), -1, reason)

    def _do_unrate(self, tab: Tab, message: str, _: str) -> None:
        self.gardener.history.rate(_id(tab), _number(message), 0)

    async def find(self, query: str, tab: Tab, request: gr.Request) -> AsyncIterator[Updates]:
        await self._known(tab, request)
        tab.query = query[:200]
        yield {"listing": await asyncio.to_thread(list_html, self.gardener.history, tab)}

    # ---- sources -----------------------------------------------------------------------------------------

    async def cite(self, tab: Tab, event: gr.EventData, request: gr.Request) -> AsyncIterator[Updates]:
        """A citation was chosen, in the text or in the panel."""
        if not await self._known(tab, request):
            async for step in self._anew(tab):
                yield step
            return
        turns, turn, n = tab.transcript.turns, int(event.turn), int(event.n)
        citations = turns[turn] if 0 <= turn < len(turns) else []
        chosen = next((citation for citation in citations if int(citation["n"]) == n), None)
        if chosen is None or tab.project is None:
            yield NOTHING
            return
        tab.place = (str(chosen["path"]), int(chosen["start_line"]), int(chosen["end_line"]))
        tab.around = (AROUND, AROUND)
        shown = await asyncio.to_thread(source_html, self.gardener, tab.project, chosen)
        yield {"sources": citations_html(citations, turn, n), "source": shown, "key": key_html(tab)}

    # ---- showing -----------------------------------------------------------------------------------------

    async def _show(self, tab: Tab, **more: Any) -> AsyncIterator[Updates]:
        """Reads the page's conversation anew, shows all of it and follows its running answer."""
        while True:
            job, transcript, turn, whole = await asyncio.to_thread(self._look, tab)
            after = settled({**whole, **more})  # before: Gradio takes the values out of the updates that it is given
            stale = tab.follower != turn  # the page has turned to something else in the meantime, and shows that
            yield {"source": gr.skip(), **({} if stale else whole), **more}
            if tab.follower != turn:
                after = {name: value for name, value in after.items() if name in more}
            yield after or NOTHING
            if stale or job is None:
                return
            wanted = self.desk.wanted(tab, job, turn)
            async for messages in frames(job, transcript, wanted):
                yield {"chat": messages}
            if not wanted():
                return
            more = {}

    def _look(self, tab: Tab) -> tuple[Job | None, Transcript, int, Updates]:
        """What the page shows now, all of one moment: other handlers of the page turn it on other threads."""
        with tab.lock:
            job = self.desk.refresh(tab)
            return job, tab.transcript, tab.follower, self._whole(tab, job)

    def _whole(self, tab: Tab, job: Job | None) -> Updates:
        history, transcript = self.gardener.history, tab.transcript
        citations = transcript.turns[-1] if transcript.turns and job is None else []
        updates: Updates = {
            "tab": tab,
            "key": key_html(tab),
            "chat": transcript.messages or gr.update(value=[], placeholder=self.welcome()),
            "listing": list_html(history, tab),
            "head": head_html(history, tab),
            "earlier": earlier_html(tab),
            "sources": citations_html(citations, len(transcript.turns) - 1),
            "send": gr.update(visible=job is None, interactive=tab.project is not None),
            "halt": gr.update(visible=job is not None),
            "notice": "",
        }
        if tab.place is not None:
            updates["source"] = self._source(tab)
        return updates

    def _source(self, tab: Tab) -> str:
        if tab.place is None or tab.project is None:
            return ""
        path, start, end = tab.place
        cited = _as_cited(tab.transcript.turns, tab.place) or {"path": path, "start_line": start, "end_line": end}
        try:
            return source_html(self.gardener, tab.project, cited, tab.around)
        except GardenerError as error:  # an address may name anything
            return notice_html(error)

    def _do_more(self, tab: Tab, side: str, _: str) -> Updates:
        """More of the open file, above or below what is shown."""
        above, below = tab.around
        start, end = tab.place[1:] if tab.place else (1, 1)
        more = min(MORE, room_for_more(start, end, tab.around))
        tab.around = (above + more, below) if side == "above" else (above, below + more)
        return {"source": self._source(tab)}

    def _do_shut(self, tab: Tab, _: str, __: str) -> Updates:
        """The open file is closed."""
        tab.place = None
        turns = tab.transcript.turns
        return {
            "source": "",
            "sources": citations_html(turns[-1] if turns else [], len(turns) - 1),
            "key": key_html(tab),
        }

    def _chooser(self) -> Any:
        active = self.gardener.registry.active()
        names = [context.name for context in self.gardener.projects_by_use()]
        return gr.update(choices=names, value=active.name if active else None)

    def chooser(self) -> Any:
        """The projects as they are now: others may have been added in a terminal."""
        return gr.update(choices=[context.name for context in self.gardener.projects_by_use()])

    def _parcel(self, **content: str) -> Updates:
        """Something that ask.js does with a text: put it on the clipboard, save it, have it edited."""
        return {"parcel": {"number": next(self._parcels), **content}}

    def welcome(self) -> str:
        """What an empty page says: what to do first."""
        active = self.gardener.registry.active()
        if active is None:
            return (
                "## No project yet\n\n[Add a folder](/projects) to ask about it.\n\n"
                "Or in a terminal: `gardener add PATH`; this page notices by itself."
            )
        name = active.name.replace("`", "")
        if not self.gardener.status().get("updated_at"):
            return f'## `{name}` has no index yet\n\nIn a terminal:\n\n`gardener index --project "{name}"`'
        examples = "\n\n".join(f"[{example}](#ask)" for example in EXAMPLES)
        keys = "`/` jumps to the question, `Ctrl+P` to the projects, `Esc` stops an answer, `?` shows all keys."
        return f"## Ask about `{name}`\n\n{examples}\n\n{keys}"


def settled(updates: Updates) -> Updates:
    """What was shown by `gr.update`, once more as plain values.

    The browser applies what the next step changes to the very object of this one, which may not have been shown by
    then: when the next step says nothing about it, nothing is left of it. A plain value is replaced, not changed.
    """
    plain: Updates = {"send": "Ask", "halt": "Stop"}
    if isinstance(updates["chat"], dict):
        plain["chat"] = updates["chat"]["value"]
    if "project" in updates:
        plain["project"] = updates["project"]["value"]
    return plain


def place_from(link: dict[str, str]) -> tuple[str, int, int] | None:
    """Path and lines of an address ("path=src/a.py&lines=3-9"); None without, or when they are none."""
    path, (first, _, last) = link.get("path", ""), link.get("lines", "1").partition("-")
    if not path or not first.isdecimal() or (last and not last.isdecimal()):
        return None
    start = max(1, int(first[:9]))
    return path, start, max(start, min(int(last[:9] or start), start + 2_000))


def key_html(tab: Tab) -> str:
    """What the page shows, for ask.js: to compare with the pulse, and for the address bar."""
    values = {
        "key": tab.key,
        "project": tab.project.name if tab.project else "",
        "project-id": tab.project.id if tab.project else "",
        "conversation": tab.conversation,
        "conversation-key": tab.conversation_key,
        "list-key": tab.list_key,
        "path": tab.place[0] if tab.place else "",
        "lines": f"{tab.place[1]}-{tab.place[2]}" if tab.place else "",
    }
    data = " ".join(f'data-{name}="{escape(value, quote=True)}"' for name, value in values.items())
    return f'<span id="page-key" {data}></span>'


def notice_html(error: GardenerError) -> str:
    step = f" <code>{text(error.next_step)}</code>" if error.next_step else ""
    return f'<p class="warning" role="alert">{text(error.message)}{step}</p>'


def _as_cited(turns: list[list[dict[str, Any]]], place: tuple[str, int, int]) -> dict[str, Any] | None:
    """The newest citation of a place."""
    for citations in reversed(turns):
        for citation in citations:
            if (citation["path"], citation["start_line"], citation["end_line"]) == place:
                return dict(citation)
    return None


def _id(tab: Tab) -> str:
    assert tab.project is not None
    return tab.project.id


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UsageError(f"{text!r} is no message.")
    return int(text)
