"""Follows an answer while it is written: progress for the client, and an end to the work when the client cancels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.mcpserver import Context

from gardener.errors import GardenerError, Interrupted

if TYPE_CHECKING:
    from gardener.mcp.engine import RunningAnswer

log = logging.getLogger("gardener.mcp")

PROGRESS_SECONDS = 0.25
"""Shortest time between two progress notifications."""


async def follow(ctx: Context, start: Callable[[], RunningAnswer], room: anyio.CapacityLimiter) -> dict[str, Any]:
    """The last event of the answer that `start` begins. Raises GardenerError.

    One thread reads the events from beginning to end. A cancelled call stops the work behind it, also in another
    process, and returns only when that has ended.
    """
    send, receive = anyio.create_memory_object_stream[dict[str, Any]](float("inf"))
    running = _Stoppable(start)
    failures: list[GardenerError] = []

    def pump() -> None:
        try:
            for event in running.events():
                with suppress(anyio.BrokenResourceError):  # cancelled: read on until the work has ended
                    anyio.from_thread.run_sync(send.send_nowait, event)
        except GardenerError as error:
            failures.append(error)

    async def pumped() -> None:
        with send:
            await anyio.to_thread.run_sync(pump, limiter=room)

    async def stop_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(running.stop)

    final: dict[str, Any] | None = None
    async with anyio.create_task_group() as tasks, receive:
        tasks.start_soon(stop_when_cancelled)
        tasks.start_soon(pumped)
        await ctx.report_progress(0, message="Searching")
        progress = _Progress(anyio.current_time())
        async for event in receive:
            if event["event"] == "answer":
                final = event
            elif (message := progress.after(event, anyio.current_time())) is not None:
                await ctx.report_progress(progress.written + 1, message=message)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if final is None:
        raise Interrupted("The answer ended without a last word.", next_step="ask again")
    return final


class _Stoppable:
    """An answer that may be stopped before it has begun, while it runs, and after it has ended."""

    def __init__(self, start: Callable[[], RunningAnswer]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._answer: RunningAnswer | None = None
        self._over = False

    def events(self) -> Iterator[dict[str, Any]]:
        with self._lock:
            if self._over:
                return
            self._answer = self._start()
        try:
            yield from self._answer.events()
        finally:
            with self._lock:
                self._over = True

    def stop(self) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            answer = self._answer
        if answer is None:
            return
        try:
            answer.stop()
        except GardenerError as error:  # what would have been told to stop is gone, and the work with it
            log.warning("mcp.not_stopped", extra={"fields": {"code": error.code, "reason": error.message}})


class _Progress:
    """What a client is told of an answer, and when."""

    def __init__(self, now: float) -> None:
        self.written = 0
        self._told = now

    def after(self, event: dict[str, Any], now: float) -> str | None:
        """The message after this event; None when it is too early for another one."""
        if event["event"] == "retrieved":
            self._told = now
            return f"Found {len(event['hits'])} places; writing"
        if event["event"] == "text":
            self.written += len(event["text"])
        if now - self._told < PROGRESS_SECONDS:
            return None
        self._told = now
        return f"{self.written:,} characters written" if self.written else "Thinking"
