"""What most commands share: the project that they are about, and the Gardener that does the work."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from gardener.app import Gardener
    from gardener.cli.console import Console


def add_project_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", "-p", metavar="NAME", help="this project instead of the active one")


def open_gardener(console: Console, flags: Mapping[str, object] | None = None) -> Gardener:
    """The composition root for the home that the command line names. Use it as a context manager."""
    from gardener.app import Gardener

    return Gardener(console.home, flags)
