"""What the scripts that write a page of docs/ share: write it, or with --check only say whether it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable


def main(target: str, page: Callable[[], str], about: str | None) -> int:
    """`page` makes the text that the file `target` must have. Exit code 1 when --check finds another one there."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    if parser.parse_args().check:
        with open(target, encoding="utf-8") as handle:
            same = handle.read() == page()
        print("up to date" if same else f"{target} is out of date: run python {sys.argv[0]}")
        return 0 if same else 1
    with open(target, "w", encoding="utf-8") as handle:
        handle.write(page())
    return 0
