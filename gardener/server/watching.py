"""Which projects the running app watches: the active one, then those used last, up to a number."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from gardener.errors import GardenerError
from gardener.index.facts import summary
from gardener.index.watch import FolderWatcher, WatchState
from gardener.paths import index_directory
from gardener.projects import checkout
from gardener.server.departed import Departed

if TYPE_CHECKING:
    from gardener.server.edge import Edge
    from gardener.types import ProjectContext

log = logging.getLogger("gardener.server")

LOOK_S = 2.0
"""Time between two looks at which projects there are: the command line changes that without telling the app."""
VECTOR_LOOKS = 15
"""After so many looks, missing vectors are looked for."""
NOT_WATCHED = WatchState("off", "checked when asked")


class Watching:
    """Starts and ends a FolderWatcher for each project that is in use. Thread-safe."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._departed = Departed(edge)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._watchers: dict[str, tuple[object, FolderWatcher]] = {}
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """No watcher starts an update from now on."""
        self._stop.set()
        with self._lock:
            for _, watcher in self._watchers.values():
                watcher.ask_to_stop()

    def close(self) -> None:
        """Ends every watcher; returns when their threads are gone or ten seconds have passed."""
        self.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(10.0)
        with self._lock:
            watchers = [watcher for _, watcher in self._watchers.values()]
            self._watchers.clear()
        _end(watchers)

    def state(self, project_id: str) -> WatchState:
        """How one project is kept fresh."""
        with self._lock:
            found = self._watchers.get(project_id)
        return found[1].state if found else NOT_WATCHED

    def _run(self) -> None:
        looks = 0
        while True:
            try:
                self._look()
                if looks % VECTOR_LOOKS == VECTOR_LOOKS - 1:
                    self._edge.embed_next()  # a search, or another process, may have updated an index, too
                looks += 1
            except GardenerError as error:
                log.warning("watching.failed", extra={"fields": {"code": error.code, "reason": error.message}})
            except Exception:
                # The thread's last frame; the next look may go better, and the log says what happened.
                log.exception("watching.failed")
            if self._stop.wait(LOOK_S):
                return

    def _look(self) -> None:
        self._departed.look()
        wanted = {context.id: (_what_matters(context, mode), context) for context, mode in self._in_use()}
        with self._lock:
            over = [key for key, (made_for, _) in self._watchers.items() if wanted.get(key, ("",))[0] != made_for]
            ended = [self._watchers.pop(key)[1] for key in over]
            for key, (made_for, context) in wanted.items():
                if key not in self._watchers and not self._stop.is_set():
                    watcher = self._watcher(context, poll=made_for[0] == "poll")
                    self._watchers[key] = (made_for, watcher)
                    watcher.start()
        _end(ended)

    def _in_use(self) -> list[tuple[ProjectContext, str]]:
        """Projects with an index and the setting in force, most important first."""
        gardener = self._edge.gardener
        found: list[tuple[ProjectContext, str]] = []
        for context in gardener.projects_by_use():
            settings = gardener.settings_for(context)
            if len(found) >= settings.integer("index.watch_projects"):
                break
            mode = settings.text("index.watch")
            if mode != "off" and summary(index_directory(context.home)).get("table_version"):
                found.append((context, mode))
        return found

    def _watcher(self, context: ProjectContext, *, poll: bool) -> FolderWatcher:
        gardener = self._edge.gardener

        def update() -> bool:
            # One that is at work may have looked at the disk before this change: it does not count.
            before = self._edge.jobs.unfinished(context.id, "index")
            if before is not None:
                for _ in before.tail():
                    pass
            job = self._edge.update_index(context)
            for _ in job.tail():
                pass
            return job.state == "done"

        return FolderWatcher(
            context.root,
            compare=lambda: gardener.index(context).compare(),
            update=update,
            head=lambda: checkout.head_commit(context.root),
            git_directory=checkout.git_directory(context.root),
            poll_only="as the setting index.watch says" if poll else "",
        )


def _what_matters(context: ProjectContext, mode: str) -> tuple[str, str, str]:
    """A watcher is replaced when one of these changes."""
    return mode, context.root, context.name


def _end(watchers: list[FolderWatcher]) -> None:
    for watcher in watchers:
        watcher.ask_to_stop()
    late = [watcher.root for watcher in watchers if not watcher.join()]
    if late:
        log.error("watchers that did not stop in time: %s", ", ".join(late))
