"""Runs the app: one process per home folder, its address in run/app.json, a clean end on SIGINT and
SIGTERM.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from gardener import __version__
from gardener.errors import ConflictError, UsageError
from gardener.memory import be_frugal
from gardener.server.runfile import RunFile, RunningApp, authority

if TYPE_CHECKING:
    from fastapi import FastAPI

    from gardener.app import Gardener
    from gardener.server.edge import Edge

log = logging.getLogger("gardener.server")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHUTDOWN_SECONDS = 3
"""After the jobs have ended: how long open event streams may take to notice that the app is going."""
BACKGROUND_AFTER_SECONDS = 1.0
"""From the start until the app looks after indexes and backups: a page that is being opened goes first."""

Mount = Callable[["FastAPI", "Edge"], object]
"""Adds the pages to the application; the server itself knows no user interface."""


def serve(
    gardener: Gardener,
    *,
    host: str = "127.0.0.1",
    port: int = 7468,
    mount: Mount | None = None,
    beyond_loopback: bool = False,
    extra_hosts: tuple[str, ...] = (),
    on_ready: Callable[[Edge], None] | None = None,
) -> None:
    """Serves until a signal ends it. `port` 0 takes a free one. `on_ready` runs once connections are
    accepted.

    `beyond_loopback` allows a host that other machines can reach; `extra_hosts` are the names they may use
    for it. Raises AppAlreadyRunning, UsageError for such a host without the flag, ConflictError when the port
    is taken.
    """
    if host not in LOOPBACK and not beyond_loopback:
        raise UsageError(
            f"{host} can be reached from other machines, and this connection is not encrypted.",
            next_step=f"gardener serve --host {host} --beyond-loopback",
        )
    be_frugal()
    run_file = RunFile(gardener.paths)
    run_file.claim()
    try:
        listener = bind(host, port)
        try:
            _run(gardener, listener, host, mount, extra_hosts, on_ready, run_file)
        finally:
            listener.close()
    finally:
        run_file.withdraw()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises ConflictError naming the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            what, step = "is used by another program", "gardener runbook port-taken"
        else:
            what, step = f"cannot be used: {error.strerror}", f"gardener serve --port {port + 1}"
        raise ConflictError(f"{authority(host, port)} {what}.", next_step=step) from error
    return listener


def _run(
    gardener: Gardener,
    listener: socket.socket,
    host: str,
    mount: Mount | None,
    extra_hosts: tuple[str, ...],
    on_ready: Callable[[Edge], None] | None,
    run_file: RunFile,
) -> None:
    import uvicorn

    from gardener.backup_service import BackupService
    from gardener.server.app import create_app
    from gardener.server.edge import Edge, Launch
    from gardener.server.protocol import MAX_HEADER_BYTES, PatientProtocol
    from gardener.upkeep import Sweep

    launch = Launch(host, int(listener.getsockname()[1]), secrets.token_urlsafe(32), extra_hosts=extra_hosts)
    edge = Edge(gardener, launch)
    sweep = Sweep(gardener, make_vectors=edge.embed)
    backups = BackupService(gardener).schedule()
    app = create_app(edge)
    if mount is not None:
        mount(app, edge)

    def begin_background_work() -> None:
        edge.catch_up()
        sweep.start()
        backups.start()
        edge.watching.start()
        edge.warming.start()

    class AppServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            run_file.publish(RunningApp(os.getpid(), host, launch.port, launch.started, __version__, launch.token))
            log.info("serving at %s", launch.url)
            if on_ready is not None:
                on_ready(edge)
            self.ending = asyncio.Event()
            self.background = asyncio.create_task(_unless(self.ending, begin_background_work))

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Watchers first, as they start jobs. Then jobs: their readers' streams end with them, and partial
            # answers are saved.
            self.ending.set()
            await self.background
            edge.watching.ask_to_stop()
            edge.warming.ask_to_stop()
            await asyncio.to_thread(sweep.stop)
            await asyncio.to_thread(backups.stop)
            await asyncio.to_thread(edge.jobs.close)
            await asyncio.to_thread(edge.watching.close)
            await asyncio.to_thread(edge.warming.close)
            edge.closing.set()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # one-time links stand in addresses, and addresses do not belong in a log
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    server = AppServer(config)

    def shut_down() -> None:
        server.should_exit = True

    edge.shut_down = shut_down
    with _signals_end_cleanly():
        server.run(sockets=[listener])


async def _unless(ending: asyncio.Event, begin: Callable[[], None]) -> None:
    """Begins the background work in a thread, shortly after the start and not at all when the app ends before."""
    try:
        await asyncio.wait_for(ending.wait(), BACKGROUND_AFTER_SECONDS)
    except TimeoutError:
        try:
            await asyncio.to_thread(begin)
        except Exception:
            log.exception("background work could not begin")


class _signals_end_cleanly:  # noqa: N801 - reads as the statement that it is
    """uvicorn raises the signal that ended it once more; SIGTERM would then kill us before run/app.json is
    removed."""

    def __enter__(self) -> None:
        self._before: dict[int, object] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, lambda *_: None)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
