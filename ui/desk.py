"""What each open page shows: its project, its conversation, and how much of it.

The active project is one for all pages, as it is for the command line. The conversation is the page's own, so that two
pages can lie open side by side; a page that comes without one shows what was last opened in that project.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from gardener.errors import ConversationNotFound
from gardener.projects import branches
from gardener.secret_patterns import redact_text
from gardener.server.conversation_key import conversation_key, conversations_key
from gardener.server.json_api import page_key
from ui.source import AROUND
from ui.transcript import Transcript, question_acts, transcript_of

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext

SHOWN_MESSAGES = 30
"""As many more with every "Load earlier"."""
TABS_REMEMBERED = 5_000
"""Open pages of which it is known what they show, less than a kilobyte each. Gradio forgets far sooner."""


class TabLock:
    """A lock among values that Gradio copies."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __deepcopy__(self, memo: dict[int, Any]) -> TabLock:
        return TabLock()


@dataclass(slots=True)
class Tab:
    """One open page. Changed in place by its own handlers only; a handler that follows an answer looks at it."""

    project: ProjectContext | None = None
    conversation: str = ""
    """"" while the conversation has not begun."""
    key: str = ""
    """As the server's pulse gives it for what is shown: of the project, of the conversation, of the list."""
    conversation_key: str = ""
    list_key: str = ""
    transcript: Transcript = field(default_factory=Transcript)
    job: str = ""
    """The running answer that is shown."""
    messages: int = SHOWN_MESSAGES
    follower: int = 0
    """Grows when the page shows something else: only the newest follower of an answer may write to it."""
    query: str = ""
    """What the list of conversations is searched for."""
    place: tuple[str, int, int] | None = None
    """Path and lines that lie open beside the conversation."""
    around: tuple[int, int] = (AROUND, AROUND)
    """Lines that are shown above and below them."""
    deleted: tuple[str, ...] = ()
    """Conversations that "Undo" brings back."""
    lock: TabLock = field(default_factory=TabLock, compare=False)
    """Held to turn the page to something else, and to read what it shows."""
    session: str = ""
    """Gradio's name for the page; "" until it was loaded, and when Gradio has forgotten what it knew of it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Tab:
        return Tab()  # Gradio copies the first value for each page


class Desk:
    """Thread-safe; remembers ids only, the conversations themselves are in the history."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self._tabs: OrderedDict[str, Tab] = OrderedDict()

    def recall(self, tab: Tab, session: str) -> bool:
        """Fills a page that Gradio has forgotten, as it does with all but the last few hundred that were loaded, with
        what it shows. False when nobody knows, or when another project is active by now: then it shows that one."""
        with self._lock:
            known = self._tabs.get(session)
        tab.session = session
        active = self._edge.gardener.registry.active()
        if known is None or known.project is None or active is None or active.id != known.project.id:
            self.turn_to_active(tab)
            return False
        for one in fields(Tab):
            if one.name != "lock":
                setattr(tab, one.name, getattr(known, one.name))
        tab.project = active
        shown = tab.key, tab.conversation_key, tab.list_key
        self.refresh(tab)
        tab.key, tab.conversation_key, tab.list_key = shown  # of what is on the screen: news are still to be shown
        return True

    def _remember(self, tab: Tab) -> None:
        if not tab.session:
            return
        with self._lock:
            self._tabs[tab.session] = replace(tab, transcript=Transcript())
            self._tabs.move_to_end(tab.session)
            while len(self._tabs) > TABS_REMEMBERED:
                self._tabs.popitem(last=False)

    def last(self, context: ProjectContext) -> str:
        """What was last opened in a project, on any page; at first the conversation that was used last."""
        with self._lock:
            if context.id not in self._last:
                latest = self._edge.gardener.history.list(context.id, limit=1)
                self._last[context.id] = latest[0].id if latest else ""
            return self._last[context.id]

    def open(self, tab: Tab, conversation_id: str) -> None:
        """Turns the page to a conversation of its project; "" to a new one. Raises ConversationNotFound."""
        assert tab.project is not None
        if conversation_id:
            conversation_id = self._edge.gardener.history.find(tab.project.id, conversation_id).id
        if conversation_id != tab.conversation:
            tab.messages, tab.place = SHOWN_MESSAGES, None
        tab.conversation = conversation_id
        with self._lock:
            self._last[tab.project.id] = conversation_id

    def turn_to_active(self, tab: Tab) -> None:
        """The active project, with the page's conversation if it was this project's already."""
        active = self._edge.gardener.registry.active()
        before, tab.project = tab.project, active
        if active is None or (before is not None and before.id == active.id):
            return
        tab.conversation, tab.place, tab.query, tab.messages, tab.deleted = "", None, "", SHOWN_MESSAGES, ()
        try:
            self.open(tab, self.last(active))
        except ConversationNotFound:  # deleted in the meantime, on the command line
            self.open(tab, "")

    def refresh(self, tab: Tab) -> Job | None:
        """Reads the conversation anew; returns the answer that is being written in it."""
        job = self._refresh(tab)
        self._remember(tab)
        return job

    def _refresh(self, tab: Tab) -> Job | None:
        tab.follower += 1
        tab.transcript = Transcript()
        tab.key = page_key(self._edge)
        if tab.project is None:
            tab.job = ""
            return None
        # The keys first: what changes from here on is noticed by the next pulse.
        tab.list_key = conversations_key(self._edge.gardener, tab.project.id)
        tab.conversation_key = conversation_key(self._edge, tab.project.id, tab.conversation)
        job = self.running(tab)
        tab.job = job.id if job else ""  # never without it meanwhile: a second Enter would ask once more
        try:
            tab.transcript = self.transcript(tab, job)
        except ConversationNotFound:
            tab.job = ""
            self.open(tab, "")
            tab.conversation_key = conversation_key(self._edge, tab.project.id, "")
            return None
        return job

    def running(self, tab: Tab) -> Job | None:
        """The answer that is being written in the page's conversation."""
        return next((job for job in self._answers(tab) if not job.over), None)

    def wanted(self, tab: Tab, job: Job, turn: int) -> Callable[[], bool]:
        """Whether the page, which showed the job's conversation when its `follower` was `turn`, still does, in the
        active project: nothing else may be shown."""

        def look() -> bool:
            active = self._edge.gardener.registry.active()
            return tab.follower == turn and active is not None and active.id == job.project_id

        return look

    def transcript(self, tab: Tab, job: Job | None) -> Transcript:
        """The page's conversation; with a running `job`, up to and including its question."""
        if not tab.conversation or tab.project is None:
            return Transcript()
        gardener, project = self._edge.gardener, tab.project.id
        kin = branches.family(gardener.state, project, tab.conversation)
        total = next(one.messages for one in kin if one.id == tab.conversation)
        stored = list(gardener.history.show(project, tab.conversation, limit=tab.messages))
        earlier = max(0, total - len(stored))
        beside = branches.alternatives(kin, tab.conversation)
        newest = job or next(self._answers(tab), None)
        asked = max((index for index, message in enumerate(stored) if message.role == "user"), default=-1)
        begun = newest is None or (asked >= 0 and (bool(newest.before) or stored[asked].created_at >= newest.started))
        acts = ""
        if job is not None and begun:
            # The history keeps the running answer too, as far as it was saved; the job has all of it.
            acts = question_acts(stored[asked].id, beside.get(earlier + asked, ()), tab.conversation)
            stored = stored[:asked]
        transcript = transcript_of(
            stored,
            earlier=earlier,
            beside=beside,
            conversation=tab.conversation,
            latest=newest.last if newest is not None and job is None and begun else None,
        )
        if newest is not None and (job is not None or (newest.state == "cancelled" and not begun)):
            transcript.add_question(redact_text(newest.about), acts)
            if job is None:
                transcript.add_problem("Stopped before it began.", "")
        return transcript

    def _answers(self, tab: Tab) -> Iterator[Job]:
        """The answers in the page's conversation, newest first."""
        if tab.project is None or not tab.conversation:
            return iter(())
        found = self._edge.jobs.find(tab.project.id, "answer")
        return (job for job in found if job.conversation == tab.conversation)
