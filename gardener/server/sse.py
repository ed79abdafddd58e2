"""Server-sent events (WHATWG HTML, section 9.2): `data:` lines, a blank line, comments that keep a line
open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from gardener.server.jobs import Job

KEEP_ALIVE_SECONDS = 10.0
"""A silent stream sends a comment this often: a dead client is noticed and a live one does not give up."""


def sse_data(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


SSE_COMMENT = b": still here\n\n"
SSE_END = b"event: end\ndata: {}\n\n"
"""Tells a client that the stream is complete, not cut."""


async def job_stream(job: Job, offset: int) -> AsyncIterator[bytes]:
    """A job's events from `offset`, then SSE_END. Leaving early does not touch the job."""
    async for batch in with_keep_alive(job.follow(offset)):
        if batch is None:
            yield SSE_COMMENT
        else:
            yield b"".join(sse_data(event) for event in batch)
    yield SSE_END


async def with_keep_alive(source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The items of `source`, and None for every KEEP_ALIVE_SECONDS of silence."""
    step: asyncio.Future[Any] | None = None
    try:
        while True:
            step = step or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({step}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield None
                continue
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            step = None
            yield item
    finally:
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait({step})


def sse_response(stream: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
