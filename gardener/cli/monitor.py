"""`gardener monitor`: the process that watches over this home. A service starts it; by hand it runs until Ctrl-C."""

from __future__ import annotations

from gardener.cli.console import Console
from gardener.cli.target import open_gardener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def configure_monitor(parser: argparse.ArgumentParser) -> None:
    parser.epilog = """examples:
  gardener monitor                a round of checks every health.every_seconds, until Ctrl-C
  gardener monitor --rounds 1     one round, taken into the books, and its alerts sent
  gardener service install        keep it running in the background, with the app

What it found: gardener health. One monitor runs for each data folder.
"""
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="end after so many rounds (default: never)")
    parser.set_defaults(run=monitor)


def monitor(args: argparse.Namespace, console: Console) -> int:
    import signal

    from gardener.audit import process_actor
    from gardener.checks import good_settings
    from gardener.errors import UsageError
    from gardener.memory import be_frugal
    from gardener.monitor import Monitor
    from gardener.server.app_figures import app_figures
    from gardener.server.app_state import ask_app
    from gardener.telemetry import configure_logging

    if args.rounds < 0:
        raise UsageError("--rounds wants a number from 0 on.", next_step="gardener monitor --rounds 1")
    be_frugal()
    gardener = open_gardener(console)  # never closed: a check that hangs may be in the middle of a query
    configure_logging(gardener.paths, good_settings(gardener), "monitor")
    process_actor("monitor")
    running = Monitor(gardener, lambda: ask_app(gardener.paths), lambda: app_figures(gardener.paths))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
    console.note(f"Watching over {gardener.paths.home}; what is found: gardener health")
    running.run(args.rounds)
    if args.rounds:
        running.delivery.wait(60.0)
    console.note("Stopped.")
    return 0
