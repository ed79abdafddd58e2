"""What most commands share: their options, the project that they are about, and the Gardener that does the work."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from gardener.app import Gardener
    from gardener.cli.console import Console


def add_project_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", "-p", metavar="NAME", help="this project instead of the active one")


def add_common_options(action: argparse.ArgumentParser) -> None:
    """The options of every command, once more for the parser of an action, which gets all that follows its name.

    Without a default: it would undo the same option before the action.
    """
    import argparse

    absent = argparse.SUPPRESS
    action.add_argument("--json", action="store_true", default=absent, help="print data as JSON")
    action.add_argument("--quiet", "-q", action="store_true", default=absent, help="no messages, errors only")
    action.add_argument("--home", metavar="DIR", default=absent, help="use this data folder instead of GARDENER_HOME")


def open_gardener(console: Console, flags: Mapping[str, object] | None = None) -> Gardener:
    """The composition root for the home that the command line names. Use it as a context manager."""
    from gardener.app import Gardener

    return Gardener(console.home, flags)
