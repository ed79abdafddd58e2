"""Help on a narrow terminal: everything that was written, within the width."""

from __future__ import annotations

import pytest

from gardener.cli.commands import COMMANDS
from gardener.cli.help_text import fitted
from gardener.cli.main import build_parser

WRITTEN = """Prose that is written in lines of some width goes on as a paragraph
that fits.

examples:
  gardener ask "a question"     an answer with citations of files and lines
  gardener backup restore --project shop     that project alone
"""


def test_what_is_too_wide_is_wrapped_and_what_fits_is_as_it_was() -> None:
    assert fitted(WRITTEN, 80) == WRITTEN
    assert fitted(WRITTEN, 56) == (
        "Prose that is written in lines of some width goes on as\na paragraph that fits.\n\nexamples:\n"
        '  gardener ask "a question"     an answer with citations\n'
        "                                of files and lines\n"
        "  gardener backup restore --project shop\n      that project alone\n"
    )


@pytest.mark.parametrize("width", [40, 78])
def test_the_words_of_every_command_stay(width: int) -> None:
    for command in COMMANDS.values():
        written = build_parser(command).description or ""
        shown = fitted(written, width)
        assert shown.split() == written.split()
        for line in shown.splitlines():  # a command is typed as it stands, on one line
            assert len(line) <= width or (line.startswith("  ") and "  " not in line.strip()), line
