"""Which pages are looked at: each keeps one event under way, because Gradio closes the stream of a page without one,
and what is asked for at that moment is answered into the closed stream (see ui/static/stream.js).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

BREATH_SECONDS = 5.0
"""Gradio ends the handler of a page that was left, but only when it yields; until then it holds one of its places."""


class Presence:
    """For the event loop's thread only."""

    def __init__(self, closing: asyncio.Event) -> None:
        self._closing = closing
        self._resting: dict[str, asyncio.Event] = {}

    async def stay(self, session: str) -> AsyncIterator[None]:
        """Goes on until the page rests, stays anew or is left, or the app closes."""
        self.rest(session)
        mine = self._resting[session] = asyncio.Event()
        ends = [asyncio.ensure_future(event.wait()) for event in (mine, self._closing)]
        try:
            while not any(end.done() for end in ends):
                yield None
                await asyncio.wait(ends, timeout=BREATH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            if self._resting.get(session) is mine:
                del self._resting[session]

    def rest(self, session: str) -> None:
        if session in self._resting:
            self._resting.pop(session).set()
