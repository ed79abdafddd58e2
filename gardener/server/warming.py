"""Readies the active project: its index for searching, and the resident model with its adapter on and its prompt's
beginning read or restored. Also has the governor look at the memory that all of this takes.

A switch is one pointer in state.db, whoever flips it; this looks at the pointer and prepares in the background, so
that the first answer begins at once. An answer does not depend on it: what is not ready then is made ready by it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gardener.errors import GardenerError, NotFoundError

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.models.base import Prepared
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.server")

LOOK_S = 0.5
"""Time between two looks at the pointer, each a tenth of a millisecond."""
MEMORY_S = 5.0
"""Time between two looks at the machine's memory."""
AGAIN_S = 30.0
"""After so long the active project is prepared again, as an edit may have changed its map. Costs nothing if not."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """The last preparation: of which project, and what came of it."""

    project: str
    prepared: Prepared | None
    problem: str = ""

    def as_json(self) -> dict[str, object]:
        done = self.prepared
        return {
            "project": self.project,
            "state": done.state if done else "failed",
            "prefix": done.prefix if done else "none",
            "prefix_tokens": done.prefix_tokens if done else 0,
            "adapter_swapped": bool(done and done.adapter_swapped),
            "took_s": round(done.took_s, 4) if done else 0.0,
            "detail": self.problem or (done.detail if done else ""),
        }


class Warming:
    """Two threads: one looks, one prepares, so that a preparation nobody wants any more can be cancelled."""

    def __init__(self, gardener: Gardener) -> None:
        self._gardener = gardener
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._wish: ProjectContext | None = None
        self._cancel = threading.Event()
        self.last: Warmth | None = None
        self.changes = 0
        """How often the active project has become another one, whoever made it so; looked at twice a second."""
        self._threads = [
            threading.Thread(target=self._look, name="warming-look", daemon=True),
            threading.Thread(target=self._prepare, name="warming", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Cancels what is being prepared; nothing is begun from now on."""
        self._stop.set()
        with self._changed:
            self._cancel.set()
            self._changed.notify_all()

    def close(self) -> None:
        """Returns when the threads are gone, or after ten seconds."""
        self.ask_to_stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10.0)

    def _look(self) -> None:
        seen: ProjectContext | None = None
        wished_at = looked_at_memory = 0.0
        while not self._stop.is_set():
            try:
                active = self._gardener.registry.active()
            except GardenerError as error:
                log.warning("warming.failed", extra={"fields": {"code": error.code, "reason": error.message}})
                active = None
            now = time.monotonic()
            if active is not None and (active != seen or now - wished_at > AGAIN_S):
                with self._changed:
                    if active != seen:
                        self.changes += seen is not None and active.id != seen.id
                        self._cancel.set()  # what is being prepared is of a project that nobody is in any more
                    self._wish = active
                    self._changed.notify_all()
                seen, wished_at = active, now
            if now - looked_at_memory > MEMORY_S:
                looked_at_memory = now
                self._look_at_memory()
            self._stop.wait(LOOK_S)

    def _look_at_memory(self) -> None:
        """Gives memory back when the machine runs short of it; what was done is in the log and in the status."""
        try:
            self._gardener.governor.tick()
        except Exception:
            # It looks at what the system says, in whatever form; warming goes on without it.
            log.exception("memory.failed")

    def _prepare(self) -> None:
        first, searchable = True, ""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wish is not None or self._stop.is_set())
                if self._stop.is_set():
                    return
                context, self._wish = self._wish, None
                self._cancel = cancel = threading.Event()
            assert context is not None
            try:
                if context.id != searchable:
                    self._gardener.index(context).get_ready()
                    searchable = context.id
                may_load = first and self._gardener.settings.flag("models.preload")
                done = self._gardener.prepare(context, may_load=may_load, cancel=cancel)
                first = False
                self.last = Warmth(context.name, done)
                if done.prefix in ("restored", "read") or done.adapter_swapped:
                    log.info("warming.prepared", extra={"fields": self.last.as_json()})
            except NotFoundError:
                self.last = Warmth(context.name, None, "the project has no index yet")
            except GardenerError as error:
                self.last = Warmth(context.name, None, error.message)
                log.warning("warming.failed", extra={"fields": {"code": error.code, "reason": error.message}})
            except Exception as error:
                # The thread's last frame: a backend may raise anything, and the next switch may go better.
                self.last = Warmth(context.name, None, f"{type(error).__name__}: {error}")
                log.exception("warming.failed")
