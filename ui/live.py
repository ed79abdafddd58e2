"""Follows an answer's job for one open page: what the Chatbot shows at each step.

The job goes on whether or not anybody looks; leaving the page ends this generator and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from gardener.sizes import counted
from ui.transcript import ChatMessage, Transcript, growing

if TYPE_CHECKING:
    from gardener.server.jobs import Job

FRAME_SECONDS = 0.04
"""25 updates a second: text flows, and 100 messages of history (5 ms an update) do not slow it down."""


async def frames(job: Job, transcript: Transcript, wanted: Callable[[], bool]) -> AsyncIterator[list[ChatMessage]]:
    """Updates until the job is over, or until the page shows something else (`wanted` is false).

    Once a stop was asked for no more text is shown, however long the backend takes to obey.
    """
    text = job.before
    found = -1
    if not job.events():
        yield growing(transcript, text, "Waiting for its turn…" if job.state == "queued" else "Searching the project…")
    async for batch in job.follow(pause_s=FRAME_SECONDS):
        for event in batch:
            match event["event"]:
                case "retrieved":
                    found = len(event["hits"])
                case "text" if not job.cancel.is_set():
                    text += event["text"]
        if not wanted() or job.over:
            return
        yield growing(
            transcript, text, "Searching the project…" if found < 0 else f"Read {counted(found, 'place')}, writing…"
        )
