"""`gardener serve`, `ui`, `stop`: the app."""

from __future__ import annotations

from gardener.cli.console import Console
from gardener.cli.target import open_gardener
from gardener.errors import AppUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gardener.app import Gardener
    from gardener.server.edge import Edge
    from gardener.server.runfile import RunningApp

START_TIMEOUT_S = 60.0


def configure_serve(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener serve                     on 127.0.0.1, port 7468 (server.host, server.port)
  gardener serve --port 0            on a free port
  gardener serve --host 0.0.0.0 --beyond-loopback --allow-host mini.local
"""
    parser.add_argument("--host", help="address to listen on (default: server.host)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: server.port)")
    parser.add_argument("--beyond-loopback", action="store_true", help="allow other machines; nothing is encrypted")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name others may use; repeatable"
    )
    parser.set_defaults(run=serve)


def serve(args: argparse.Namespace, console: Console) -> int:
    from gardener.audit import process_actor
    from gardener.errors import UsageError
    from gardener.server.run import LOOPBACK
    from gardener.server.run import serve as run_server
    from gardener.telemetry import configure_logging

    if args.port is not None and not 0 <= args.port <= 65_535:
        raise UsageError(f"--port is between 0 and 65535, not {args.port}.", next_step="gardener serve --port 0")
    with open_gardener(console) as gardener:
        settings = gardener.settings
        configure_logging(gardener.paths, settings, "app")
        process_actor("app")

        def ready(edge: Edge) -> None:
            if console.as_json:
                console.json({"url": edge.launch.url, "link": edge.browser_link()})
                console.stdout.flush()
                return
            console.note(f"Gardener is at {edge.launch.url}")
            if console.stderr.isatty():  # the link lets its first visitor in: not for a log file
                console.note(f"Open it once with: {edge.browser_link()}")
            if edge.launch.host not in LOOPBACK:
                console.note(
                    "Other machines can reach it, and nothing is encrypted: tokens and code can be read on the way."
                )
            console.note("Ctrl-C stops it.")

        from ui.mount import mount

        run_server(
            gardener,
            host=args.host if args.host is not None else settings.text("server.host"),
            port=args.port if args.port is not None else settings.integer("server.port"),
            mount=mount,
            beyond_loopback=args.beyond_loopback,
            extra_hosts=tuple(args.allow_host),
            on_ready=ready,
        )
    console.note("Stopped.")
    return 0


def configure_ui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    parser.set_defaults(run=ui)


def ui(args: argparse.Namespace, console: Console) -> int:
    from gardener.server.client import AppClient, find_app

    with open_gardener(console) as gardener:
        app = find_app(gardener.paths) or _start(gardener, console)
        link = AppClient(app).request("POST", "/api/link")["url"]
        open_it = gardener.settings.flag("ui.open_browser") and not args.no_browser
    if console.as_json:
        console.json({"url": app.url, "link": link, "pid": app.pid})
        return 0
    if open_it:
        import webbrowser

        if webbrowser.open(link):
            console.line(f"Opened {app.url}")
            return 0
        console.note("No browser could be opened here. Open this address yourself (it works once):")
    console.line(link)
    return 0


def _last_words(said: str) -> tuple[str, str]:
    """Why an app ended, out of what it said, and the next command: its own error, as of a taken port, if it has one."""
    told = said.strip().rpartition("error: ")[2]
    reason, found, step = told.partition("\n  try: ")
    return (reason.strip(), step.splitlines()[0]) if found else (said.strip()[-600:], "gardener serve")


def _start(gardener: Gardener, console: Console) -> RunningApp:
    """Starts the app in the background and waits until it accepts connections.

    When another program has the default port a free one is taken; a port that the user has set is kept to.
    """
    import os
    import subprocess
    import sys
    import time

    from gardener.paths import ensure_directory, open_private
    from gardener.server.client import find_app

    paths = gardener.paths
    port = gardener.settings.integer("server.port")
    options = []
    if not gardener.settings.is_set("server.port") and _is_taken(port):
        console.note(f"Port {port} is used by another program; taking a free one.")
        options = ["--port", "0"]
    console.note("Starting the app …")
    ensure_directory(paths.logs)
    log_path = os.path.join(paths.logs, "app.out")
    with open(log_path, "wb", opener=open_private) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gardener.cli.main", "serve", "--home", paths.home, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=paths.home,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        app = find_app(paths)
        if app is not None:
            return app
        if process.poll() is not None:
            with open(log_path, encoding="utf-8", errors="replace") as said:
                reason, step = _last_words(said.read())
            raise AppUnreachable(f"The app did not start: {reason}", next_step=step)
        time.sleep(0.1)
    process.terminate()
    raise AppUnreachable(
        f"The app did not answer within {START_TIMEOUT_S:.0f} s; it was stopped. Its output is in {log_path}.",
        next_step="gardener serve",
    )


def _is_taken(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def configure_stop(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=stop)


def stop(args: argparse.Namespace, console: Console) -> int:
    import os
    import signal
    import time

    from gardener.paths import Paths
    from gardener.server.client import find_app

    paths = Paths(console.home)
    app = find_app(paths)
    if app is None:
        if console.as_json:
            console.json({"stopped": None})
        else:
            console.note("The app is not running.")
        return 0
    os.kill(app.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if find_app(paths) is None:
            if console.as_json:
                console.json({"stopped": app.pid})
            else:
                console.line(f"Stopped the app (process {app.pid}).")
            return 0
        time.sleep(0.05)
    raise AppUnreachable(f"The app (process {app.pid}) did not stop within 20 s.", next_step=f"kill -9 {app.pid}")
