"""What the routes and the pages of one running app share: Gardener itself, jobs, credentials, figures."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gardener import __version__
from gardener.app import INDEXES_IN_MEMORY
from gardener.continued_answer import broken_answer
from gardener.errors import GardenerError, IntegrityError
from gardener.metrics import Metrics
from gardener.server.access import Access
from gardener.server.events import (
    JsonObject,
    embed_progress_json,
    event_json,
    index_progress_json,
)
from gardener.server.health_view import HealthView
from gardener.server.jobs import Job, JobKind, Jobs, Work
from gardener.server.runfile import authority
from gardener.server.system_metrics import SystemMetrics
from gardener.server.warming import Warming
from gardener.server.watching import Watching
from gardener.types import Answer, AnswerEvent, IndexState, Message, ProjectContext, TextDelta
from gardener.vector_work import index_version, missing_vectors, more_important

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.index.embed import EmbedProgress
    from gardener.index.index_report import IndexProgress
    from gardener.models.base import Sampling
    from gardener.models.ollama_models import PullProgress

log = logging.getLogger("gardener.server")

PROGRESS_SECONDS = 0.1
"""Shortest time between two progress events of one job."""
VECTOR_LOCK_SECONDS = 30.0
"""A background process that was there before the app gives way to it; it ends its portion first."""
INDEX_STATE_SECONDS = 2.0
"""How old a probed index state may be: it compares the index with the disk, and probes come often."""

Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class Launch:
    """How this process was started. `started` is Unix time in seconds."""

    host: str
    port: int
    token: str
    started: float = field(default_factory=time.time)
    extra_hosts: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{authority(host, self.port)}"


class Edge:
    """Everything behind the guard. Thread-safe."""

    def __init__(self, gardener: Gardener, launch: Launch, *, answers_at_once: int = 2) -> None:
        self.gardener = gardener
        self.launch = launch
        self.jobs = Jobs(at_once=answers_at_once)
        self.access = Access(gardener.paths.run, launch.token)
        self.metrics = Metrics(__version__)
        gardener.performance.watchers.append(self._count_work)
        self.system = SystemMetrics(gardener.paths, INDEXES_IN_MEMORY)
        self.refusals: Counter[str] = Counter()
        """Requests that the guard refused, by reason."""
        self.damaged: dict[str, IntegrityError] = {}
        """Projects whose index turned out to be damaged when it was last opened."""
        self.closing = asyncio.Event()
        """Set, on the server's loop, when the app is going."""
        self.shut_down: Callable[[], None] = lambda: None
        """Ends the app as SIGTERM does; set by gardener.server.run."""
        self._not_now: dict[str, str] = {}
        """Projects whose vectors were dealt with, and the version of the index (see gardener.vector_work)."""
        self.watching = Watching(self)
        self.warming = Warming(gardener)
        self.health = HealthView(gardener.paths)
        gardener.watch_state = lambda context: str(self.watching.state(context.id))
        self._lock = threading.Lock()
        self._index_states: dict[str, tuple[float, IndexState]] = {}

    def _count_work(self, event: str, seconds: float, outcome: str) -> None:
        if event == "search":
            self.metrics.count("gardener_searches_total", outcome=outcome)
            self.metrics.observe("gardener_search_seconds", seconds)

    # ---- answers -------------------------------------------------------------------------------------

    def ask(
        self,
        context: ProjectContext,
        question: str,
        conversation_id: str | None = "",
        history: Sequence[Message] | None = None,
        *,
        hits: int | None = None,
        sampling: Sampling | None = None,
    ) -> Job:
        """Starts an answer; arguments as in Gardener.ask. Raises BackendUnavailable when too many wait."""
        context = self._now(context)

        def events(job: Job) -> Iterator[AnswerEvent]:
            return self.gardener.ask(
                context, question, conversation_id, job.cancel, history=history, hits=hits, sampling=sampling
            )

        return self._answer(context, question, events, conversation_id or "")

    def go_on(self, context: ProjectContext, conversation_id: str) -> Job:
        """Starts to continue the last answer of a conversation. Raises ConversationNotFound, or UsageError when there
        is nothing to continue."""
        context = self._now(context)
        broken = broken_answer(self.gardener.history, context, conversation_id)

        def events(job: Job) -> Iterator[AnswerEvent]:
            return self.gardener.go_on(context, conversation_id, job.cancel)

        return self._answer(context, broken.question, events, broken.conversation_id, broken.partial.text)

    def _now(self, context: ProjectContext) -> ProjectContext:
        """With the model and the adapter that are chosen by now: a page may lie open for long. Raises
        ProjectNotFound."""
        return self.gardener.registry.get(context.id)

    def _answer(
        self,
        context: ProjectContext,
        about: str,
        events: Callable[[Job], Iterator[AnswerEvent]],
        conversation_id: str,
        before: str = "",
    ) -> Job:
        lane = context.backend or "auto"

        def work(job: Job) -> Iterator[JsonObject]:
            begun, first = time.monotonic(), True
            for event in events(job):
                if isinstance(event, TextDelta) and first:
                    first = False
                    self.metrics.observe("gardener_first_token_seconds", time.monotonic() - begun, backend=lane)
                if isinstance(event, Answer):
                    self._count_answer(event, time.monotonic() - begun, job.cancel.is_set())
                yield event_json(event)

        return self.jobs.start("answer", context.id, lane, about, work, conversation_id, before)

    def _count_answer(self, answer: Answer, seconds: float, cancelled: bool) -> None:
        finish = "cancelled" if cancelled else "complete" if answer.complete else "incomplete"
        self.metrics.count(
            "gardener_answers_total", backend=answer.backend, degradation=answer.degradation, finish=finish
        )
        self.metrics.observe("gardener_answer_seconds", seconds, backend=answer.backend)
        self.metrics.count_usage(answer)
        self.metrics.set_degradation(answer.degradation)

    # ---- the index -----------------------------------------------------------------------------------

    def update_index(self, context: ProjectContext, *, rebuild: bool = False, vectors: bool = True) -> Job:
        """Starts an index update, then its vectors unless they are not wanted.

        Returns the job already at work for this project, if any; a rebuild is never taken for an ordinary update and
        waits for it instead.
        """
        wait_s = 600.0 if rebuild else 0.0

        def work(job: Job) -> Iterator[JsonObject]:
            def say(step: IndexProgress) -> None:
                job.say(index_progress_json(step))

            try:
                report = self.gardener.update_index(
                    context, throttled(say), job.cancel, rebuild=rebuild, lock_timeout_s=wait_s
                )
            except IntegrityError as error:
                self.damaged[context.id] = error
                raise
            self.damaged.pop(context.id, None)
            self._forget_state(context)
            self.metrics.count("gardener_index_updates_total", project=context.name, outcome="ok")
            yield {"event": "report", **report.as_json()}
            if vectors and self.gardener.settings_for(context).flag("index.background_embedding"):
                self.embed(context)

        if rebuild:
            return self.jobs.start("index", context.id, "index", context.name, work)
        return self._once("index", context, work)

    def embed(self, context: ProjectContext) -> Job | None:
        """Has the vectors that are missing made, this project's included; see `embed_next`."""
        self._not_now.pop(context.id, None)
        return self.embed_next()

    def embed_next(self, after: Job | None = None) -> Job | None:
        """Starts making vectors for the project that needs them first; one project at a time.

        When that ends, or another project has become more important, the next one's turn comes. Returns the job at
        work, None when no vector is missing. `after` is the job that is just ending.
        """
        with self._lock:
            at_work = [job for job in self.jobs.find(kind="embed") if not job.over and job is not after]
            if at_work:
                return at_work[0]
            context = next(iter(missing_vectors(self.gardener, self._not_now)), None)
            if context is None:
                return None
            return self.jobs.start("embed", context.id, "embed", context.name, partial(self._embed, context))

    def _embed(self, context: ProjectContext, job: Job) -> Iterator[JsonObject]:
        def say(step: EmbedProgress) -> None:
            job.say(embed_progress_json(step))

        later = more_important(self.gardener, context, self._not_now)
        version = index_version(self.gardener, context)
        gave_way = False

        def give_way() -> bool:
            nonlocal gave_way
            gave_way = gave_way or later()
            return gave_way

        try:
            report = self.gardener.embed(
                context, throttled(say), job.cancel, give_way=give_way, lock_timeout_s=VECTOR_LOCK_SECONDS
            )
            self._forget_state(context)
            yield {"event": "report", **report.as_json()}
        finally:
            if not gave_way:
                self._not_now[context.id] = version  # done, or it failed: until its index is updated again
            if not self.jobs.closing and not job.cancel.is_set():
                self.embed_next(after=job)

    def _once(self, kind: JobKind, context: ProjectContext, work: Work) -> Job:
        with self._lock:
            running = self.jobs.unfinished(context.id, kind)
            return running or self.jobs.start(kind, context.id, kind, context.name, work)

    def catch_up(self) -> None:
        """Brings the active project's index up to date in the background, if it has one.

        Whatever stands in the way must not keep the app from starting: /readyz and the page say what it is.
        """
        try:
            active = self.gardener.registry.active()
            if active is not None and self.gardener.status().get("updated_at"):
                self.update_index(active)
            else:
                self.embed_next()
        except GardenerError as error:
            log.warning("app.catch_up_failed", extra={"fields": {"code": error.code, "reason": error.message}})

    def index_state(self, context: ProjectContext) -> IndexState:
        """The index compared with the disk, at most INDEX_STATE_SECONDS ago."""
        now = time.monotonic()
        with self._lock:
            known = self._index_states.get(context.id)
        if known is not None and now - known[0] < INDEX_STATE_SECONDS:
            return known[1]
        state = self.gardener.index_state(context)
        with self._lock:
            self._index_states[context.id] = (time.monotonic(), state)
        return state

    def _forget_state(self, context: ProjectContext) -> None:
        with self._lock:
            self._index_states.pop(context.id, None)

    def resident_json(self) -> JsonObject:
        """What models are in memory, their counters, and how ready the active project is."""
        states = self.gardener.models.resident()
        return {
            "backends": {
                name: {
                    "model": state.model,
                    "identity": state.identity,
                    "weight_bytes": state.weight_bytes,
                    "cache_bytes": state.cache_bytes,
                    "adapter": state.adapter,
                    "counters": dict(state.counters),
                }
                for name, state in states.items()
            },
            "memory": self.gardener.governor.state().as_json(),
            "warm": self.warming.last.as_json() if self.warming.last else None,
        }

    def pull_model(self, name: str) -> Job:
        """Has Ollama download a model; progress in bytes. Raises ConfigError, or ModelTooLarge in the job's events."""
        from gardener.machine_models import ollama_url, pull_into_ollama

        ollama_url(self.gardener)

        def work(job: Job) -> Iterator[JsonObject]:
            def say(step: PullProgress) -> None:
                left, rate = step.total_bytes - step.done_bytes, step.bytes_per_s
                job.say(
                    {"event": "progress", "phase": step.status, "done": step.done_bytes, "total": step.total_bytes,
                     "rate": rate or None, "eta_s": left / rate if rate and left > 0 else None}
                )  # fmt: skip

            often, phase = throttled(say), ""

            def step(progress: PullProgress) -> None:
                nonlocal phase
                if progress.status != phase:  # a server that is silent from here on has said where it is
                    phase = progress.status
                    say(progress)
                else:
                    often(progress)

            pulled = pull_into_ollama(self.gardener, name, step, job.cancel)
            yield {"event": "report", "runtime": "ollama", "name": pulled}

        return self.jobs.start("pull", "", "pull", name, work)

    # ---- the browser ---------------------------------------------------------------------------------

    def browser_link(self) -> str:
        """An address that opens the page in a browser, once."""
        return f"{self.launch.url}/enter/{self.access.issue_link()}"


def throttled(say: Callable[[Step], None]) -> Callable[[Step], None]:
    """`say`, at most once in PROGRESS_SECONDS; what comes in between is superseded by what comes next."""
    said = float("-inf")

    def speak(step: Step) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PROGRESS_SECONDS:
            said = now
            say(step)

    return speak
