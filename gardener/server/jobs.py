"""Work that outlives the request which started it: answers being written, indexes being brought up to date.

A page that reloads, a client that reconnects and the command line all read the same job. Its events are
appended to one buffer; any number of readers follow it from any offset and never hold the writer up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Literal

from gardener.errors import BackendUnavailable, GardenerError, Interrupted, NotFoundError
from gardener.server.events import JsonObject, error_json

log = logging.getLogger("gardener.server")

JobKind = Literal["answer", "index", "embed", "pull", "preview", "evaluation", "training", "clean", "health", "backup"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
Work = Callable[["Job"], Iterator[JsonObject]]
"""Yields the job's events. It must watch `job.cancel` and end soon after it is set."""

FINISHED_KEPT = 64
UNREAD_SECONDS = 60.0
FINISHED_SECONDS = 1800.0
"""How many finished jobs can still be read, and for how long: a page that was left for a coffee finds its
answer. However many there are, each is kept until who started it has had the time to come for it."""


class Job:
    """One piece of work and everything it has said so far."""

    def __init__(
        self, kind: JobKind, project_id: str, lane: str, about: str, conversation: str = "", before: str = ""
    ) -> None:
        self.id = secrets.token_hex(8)
        self.kind: JobKind = kind
        self.project_id = project_id
        self.lane = lane
        """Jobs of one lane share a limit: the backend's name for answers, the job's kind for the others."""
        self.about = about
        """The question, or which project's index it is."""
        self.conversation = conversation
        """The conversation that an answer continues; "" for none, or one that is not begun yet."""
        self.before = before
        """Of an answer that is being continued: the text that was there, which no event repeats."""
        self.started = time.time()
        self.finished = 0.0
        self.state: JobState = "queued"
        self.cancel = threading.Event()
        self.context = copy_context()
        """Of whoever asked for it: the audit log says by which way a change came."""
        self._events: list[JsonObject] = []
        self._changed = threading.Condition()
        self._wakers: set[Callable[[], None]] = set()

    @property
    def last(self) -> JsonObject | None:
        """The newest event."""
        with self._changed:
            return self._events[-1] if self._events else None

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def events(self, offset: int = 0) -> list[JsonObject]:
        """Everything said from `offset` on, without waiting."""
        with self._changed:
            return self._events[offset:]

    def _moved(self, offset: int) -> bool:
        return len(self._events) > offset or self.over

    def tail(self, offset: int = 0, quiet_s: float | None = None) -> Iterator[JsonObject]:
        """Follows the events from `offset` to the end, blocking. Ends after `quiet_s` seconds without one, if
        given."""
        while True:
            with self._changed:
                if not self._changed.wait_for(partial(self._moved, offset), quiet_s):
                    return
                fresh, over = self._events[offset:], self.over
            yield from fresh
            offset += len(fresh)
            if over and not fresh:
                return

    async def follow(self, offset: int = 0, pause_s: float = 0.0) -> AsyncIterator[list[JsonObject]]:
        """The same for an event loop, in batches and without a thread. `pause_s` collects events for that
        long."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._wakers.add(wake)
        try:
            while True:
                changed.clear()
                with self._changed:
                    fresh, over = self._events[offset:], self.over
                if fresh:
                    yield fresh
                    offset += len(fresh)
                elif over:
                    return
                else:
                    await changed.wait()
                    continue
                if pause_s and not over:
                    await asyncio.sleep(pause_s)
        finally:
            with self._changed:
                self._wakers.discard(wake)

    def say(self, event: JsonObject) -> None:
        self._change(lambda: self._events.append(event))

    def enter(self, state: JobState) -> None:
        def change() -> None:
            self.state = state
            if self.over:
                self.finished = time.time()

        self._change(change)

    def _change(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()
            wakers = tuple(self._wakers)
        for wake in wakers:
            with suppress(RuntimeError):  # the reader's event loop has just closed: nobody is there to be woken
                wake()

    def as_json(self) -> JsonObject:
        return {
            "job": self.id,
            "kind": self.kind,
            "state": self.state,
            "stopping": self.cancel.is_set() and not self.over,
            "project_id": self.project_id,
            "about": self.about.encode("utf-8", "replace").decode(),
            "conversation": self.conversation,
            "events": len(self._events),
            "started": self.started,
            "finished": self.finished,
        }


class Jobs:
    """All jobs of the app. At most `at_once` run in a lane; at most `waiting` more queue behind them, in
    order."""

    def __init__(self, at_once: int = 2, waiting: int = 16) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queues: dict[str, list[tuple[Job, Work]]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._closing = False
        self.finished_states: dict[str, int] = {"done": 0, "failed": 0, "cancelled": 0}

    def start(
        self,
        kind: JobKind,
        project_id: str,
        lane: str,
        about: str,
        work: Work,
        conversation: str = "",
        before: str = "",
    ) -> Job:
        """Runs `work` on its own thread, now or when its lane has room. Raises BackendUnavailable when the
        queue is full."""
        job = Job(kind, project_id, lane, about, conversation, before)
        with self._lock:
            if self._closing:
                raise BackendUnavailable("The app is shutting down.", next_step="gardener serve")
            queue = self._queues.setdefault(lane, [])
            if len(queue) >= self._waiting:
                raise BackendUnavailable(
                    f"{self._at_once} jobs run on {lane!r} and {len(queue)} wait; this one was not started.",
                    next_step="gardener status",
                )
            self._forget_old()
            self._jobs[job.id] = job
            queue.append((job, work))
            self._fill(lane)
        return job

    def get(self, job_id: str) -> Job:
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(
                f"There is no job {job_id!r}; finished jobs are kept for half an hour.",
                next_step="gardener history list",
            )
        return job

    def find(self, project_id: str | None = None, kind: JobKind | None = None) -> list[Job]:
        """Newest first."""
        with self._lock:
            jobs = list(self._jobs.values())
        return [job for job in reversed(jobs) if project_id in (None, job.project_id) and kind in (None, job.kind)]

    def unfinished(self, project_id: str, kind: JobKind) -> Job | None:
        """The newest job of this kind that is still at work for a project."""
        return next((job for job in self.find(project_id, kind) if not job.over), None)

    def cancel(self, job_id: str) -> Job:
        """Asks the job to stop; what it has written so far is kept."""
        job = self.get(job_id)
        job.cancel.set()
        with self._lock:
            queue = self._queues.get(job.lane, [])
            waiting = next((entry for entry in queue if entry[0] is job), None)
            if waiting is not None:
                queue.remove(waiting)
        if waiting is not None:
            self._end(job, "cancelled")
        return job

    def forget(self, project_id: str) -> None:
        """Drops what finished jobs of a project have said: it is gone for good, and questions and answers with it."""
        with self._lock:
            for job in [job for job in self._jobs.values() if job.over and job.project_id == project_id]:
                del self._jobs[job.id]

    def close(self, timeout_s: float = 10.0) -> bool:
        """Cancels everything and waits until questions and partial texts are saved. False when something did not stop
        in time."""
        dropped: list[Job] = []
        with self._lock:
            self._closing = True
            for job in self._jobs.values():
                if not job.over:
                    job.cancel.set()
            for queue in self._queues.values():
                for job, work in queue:
                    # An answer was promised: begun, it stores its question, and ends there as it is cancelled.
                    if job.kind == "answer":
                        self._begin(job, work)
                    else:
                        dropped.append(job)
                queue.clear()
            threads = list(self._threads.values())
        for job in dropped:
            self._end(job, "cancelled")
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.name for thread in threads if thread.is_alive()]
        if left:
            log.error("jobs that did not stop within %.0f s: %s", timeout_s, ", ".join(left))
        return not left

    @property
    def closing(self) -> bool:
        """Whether the app is going, and nothing new is started."""
        return self._closing

    # ---- inside, with the lock held
    # -------------------------------------------------------------------------

    def _fill(self, lane: str) -> None:
        queue = self._queues[lane]
        running = sum(1 for job in self._jobs.values() if job.lane == lane and job.state == "running")
        while queue and running < self._at_once:
            self._begin(*queue.pop(0))
            running += 1

    def _begin(self, job: Job, work: Work) -> None:
        job.enter("running")
        thread = threading.Thread(
            target=job.context.run, args=(self._run, job, work), name=f"job-{job.kind}-{job.id}", daemon=True
        )
        self._threads[job.id] = thread
        thread.start()

    def _forget_old(self) -> None:
        # Answers last: somebody may come back for them, and watching makes an index job for every saved file.
        finished = sorted(
            (job for job in self._jobs.values() if job.over), key=lambda job: (job.kind == "answer", job.finished)
        )
        now = time.time()
        surplus = max(0, len(finished) - FINISHED_KEPT + 1)
        for index, job in enumerate(finished):
            age = now - job.finished
            if age > FINISHED_SECONDS or (index < surplus and age > UNREAD_SECONDS):
                del self._jobs[job.id]

    # ---- on the job's thread -----------------------------------------------------------------------------

    def _run(self, job: Job, work: Work) -> None:
        state: JobState = "failed"
        try:
            for event in work(job):
                job.say(event)
            state = "cancelled" if job.cancel.is_set() else "done"
        except Interrupted:
            state = "cancelled"
        except GardenerError as error:
            log.warning("job %s (%s) failed: %s", job.id, job.kind, error)
            job.say(error_json(error))
        except Exception:
            # The job's thread is the last frame: what is not reported here would end silently, with readers
            # waiting.
            log.exception("job %s (%s) failed", job.id, job.kind)
            unexpected = GardenerError(
                "Something unexpected went wrong; the log has the details.", next_step="gardener doctor"
            )
            job.say(error_json(unexpected))
        finally:
            self._end(job, state)
            with self._lock:
                self._threads.pop(job.id, None)
                self._fill(job.lane)

    def _end(self, job: Job, state: JobState) -> None:
        with self._lock:
            self.finished_states[state] += 1
        job.enter(state)
