"""Follows an answer's job for one open page: what the Chatbot shows at each step.

The job goes on whether or not anybody looks; leaving the page ends this generator and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ui.transcript import ChatMessage, Transcript, growing

if TYPE_CHECKING:
    from gardener.server.jobs import Job

FRAME_SECONDS = 0.04
"""25 updates a second: text flows, and 100 messages of history (5 ms an update) do not slow it down."""


@dataclass(slots=True)
class Frame:
    """One update. `over` once: the transcript then holds the finished answer."""

    messages: list[ChatMessage]
    over: bool = False


async def frames(job: Job, transcript: Transcript, wanted: Callable[[], bool]) -> AsyncIterator[Frame]:
    """Updates until the job is over, or until the page shows something else (`wanted` is false).

    Once a stop was asked for no more text is shown, however long the backend takes to obey.
    """
    pieces: list[str] = []
    found = -1
    if not job.over and not job.events():
        yield Frame(growing(transcript, "", "Searching the project…"))
    async for batch in job.follow(pause_s=FRAME_SECONDS):
        for event in batch:
            match event["event"]:
                case "retrieved":
                    found = len(event["hits"])
                case "text" if not job.cancel.is_set():
                    pieces.append(event["text"])
                case "answer":
                    transcript.add_answer(event)
                case "error":
                    problem: dict[str, Any] = event["error"]
                    transcript.add_problem(str(problem["message"]), str(problem["next_step"]))
        if not wanted():
            return
        if not job.over:
            waiting = "Searching the project…" if found < 0 else f"Read {found} places, writing…"
            yield Frame(growing(transcript, "".join(pieces), waiting))
    if len(transcript.messages) % 2:  # the question still stands alone: the job was cancelled before it spoke
        transcript.add_problem("Stopped.", "")
    if wanted():
        yield Frame(transcript.messages, over=True)
