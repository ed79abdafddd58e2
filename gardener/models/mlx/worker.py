"""The one thread that touches MLX. Arrays, streams and caches belong to the thread that made them."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from gardener.errors import BackendUnavailable

log = logging.getLogger("gardener.models")
T = TypeVar("T")

JOIN_S = 30.0
"""How long closing waits for the job at work; a job looks at its own cancellation every token."""


class MlxThread:
    """Runs jobs one after the other. Started with the first job; ends with `close`, or with the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.waiting = 0
        """Jobs that have not ended, the one at work included."""

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Puts a job into the queue. Raises BackendUnavailable when this has been closed."""
        done: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise BackendUnavailable("The MLX model has been closed.", next_step="gardener status")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlx", daemon=True)
                self._thread.start()
                _at_exit(self)
            self.waiting += 1
            self._jobs.put((job, done))
        return done

    def call(self, job: Callable[[], T]) -> T:
        """Runs a job and returns what it returns, or raises what it raises."""
        return self.submit(job).result()

    def close(self) -> None:
        """Ends the thread after the jobs that are waiting."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
            self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)
            if thread.is_alive():
                log.error("the MLX thread did not end in time")

    def _run(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(job())
                except BaseException as error:
                    # Whoever waits gets it; the thread goes on for the next job.
                    done.set_exception(error)
            with self._lock:
                self.waiting -= 1
            del entry, job, done  # they may hold arrays
        import mlx.core as mx

        mx.clear_streams()  # without it the process aborts at its end


def _at_exit(thread: MlxThread) -> None:
    alive = weakref.ref(thread)

    def close() -> None:
        found = alive()
        if found is not None:
            found.close()

    atexit.register(close)
