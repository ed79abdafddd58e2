"""docs/cli.md is what the parsers say."""

from __future__ import annotations

import argparse
import importlib.util

from gardener.cli.commands import COMMANDS
from gardener.cli.main import build_parser
from tests.docs.documented import TOP


def test_the_reference_is_current_and_complete() -> None:
    spec = importlib.util.spec_from_file_location("cli_docs", TOP / "scripts/cli_docs.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (TOP / "docs/cli.md").read_text(encoding="utf-8")
    assert page == script.cli_page(), "run python scripts/cli_docs.py"
    for name, command in COMMANDS.items():
        section = page.split(f"### gardener {name}\n", 1)[1].split("\n### ", 1)[0]
        own = {
            option
            for action in build_parser(command)._actions
            for option in action.option_strings
            if action.help != argparse.SUPPRESS
        }
        assert [option for option in own - {"-h", "-q", *script.GLOBAL} if f"`{option}" not in section] == [], name
