"""Which conversation lies open for each project: the same after a reload, in every tab, and after
switching back.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gardener.errors import ConversationNotFound
from ui.transcript import Transcript, transcript_of

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.server.jobs import Job
    from gardener.types import ProjectContext

SHOWN_MESSAGES = 100


class Desk:
    """Thread-safe; remembers ids only, the conversations themselves are in the history."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._lock = threading.Lock()
        self._open: dict[str, str] = {}

    def conversation(self, context: ProjectContext) -> str:
        """The open conversation's id, "" for a new one. At first the one that was used last."""
        with self._lock:
            if context.id not in self._open:
                latest = self._edge.gardener.history.list(context.id, limit=1)
                self._open[context.id] = latest[0].id if latest else ""
            return self._open[context.id]

    def open(self, context: ProjectContext, conversation_id: str) -> None:
        with self._lock:
            self._open[context.id] = conversation_id

    def ask(self, context: ProjectContext, question: str) -> Job:
        """Starts the answer in the open conversation, which begins with it if it is new."""
        conversation = self.conversation(context)
        if not conversation:
            conversation = self._edge.gardener.history.start(context.id).id
            self.open(context, conversation)
        return self._edge.ask(context, question, conversation)

    def running(self, context: ProjectContext) -> Job | None:
        """The answer that is being written in the open conversation."""
        job = self._edge.jobs.unfinished(context.id, "answer")
        return job if job is not None and job.conversation == self.conversation(context) else None

    def shows(self, job: Job) -> bool:
        """Whether the job's conversation is the open one of the active project: nothing else may be shown."""
        active = self._edge.gardener.registry.active()
        return active is not None and active.id == job.project_id and self.conversation(active) == job.conversation

    def transcript(self, context: ProjectContext, job: Job | None) -> Transcript:
        """The open conversation; with a running `job`, up to and including its question."""
        conversation = self.conversation(context)
        if not conversation:
            return Transcript()
        history = self._edge.gardener.history
        try:
            stored = list(history.show(context.id, conversation, limit=SHOWN_MESSAGES))
        except ConversationNotFound:  # deleted in the meantime, on the command line
            self.open(context, "")
            return Transcript()
        if job is None:
            return transcript_of(stored)
        # The history keeps the running answer too, as far as it was saved; the job has all of it.
        questions = [index for index, message in enumerate(stored) if message.role == "user"]
        if questions and stored[questions[-1]].content == job.about:
            stored = stored[: questions[-1]]
        transcript = transcript_of(stored)
        transcript.add_question(job.about)
        return transcript
