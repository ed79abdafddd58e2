"""`make faults` runs all of these; `python -m faults.run NAME --tries N --seed N` one. Exit code 1: one broke."""

from __future__ import annotations

import argparse
import importlib
import random
import shutil
import sys
import tempfile
from pathlib import Path

NAMES = {"kills": 30, "rot": 60, "full_disk": 12, "crowd": 20, "servers": 3, "upgrades": 1}
"""Each program and how often it tries each of its faults."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.run", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--tries", type=int, default=0, help="of each fault, instead of the program's own number")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    args = parser.parse_args(arguments)
    broken = []
    for name in args.names or list(NAMES):
        work = Path(tempfile.mkdtemp(prefix=f"gardener-{name}-"))
        try:
            module = importlib.import_module(f"faults.{name}")
            if module.main(work, args.seed, args.tries or NAMES[name]) != 0:
                broken.append(name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if broken:
        print(f"\nPromises were broken in: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
