"""`make bench` runs all of these, `make bench-NAME` one. Exit code 1 when a goal is missed."""

from __future__ import annotations

import importlib
import sys

from benchmarks.measure import compile_bytecode

NAMES = (
    "cold_add",
    "reindex",
    "edit",
    "second_checkout",
    "hybrid_query",
    "growth",
    "many_projects",
    "million_lines",
    "switch_process",
    "resident_switch",
    "streaming",
    "start",
    "search_process",
    "memory",
    "embedding",
    "retrieval",
)


def main(arguments: list[str]) -> int:
    names = [argument.replace("-", "_") for argument in arguments] or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"No benchmark {', '.join(unknown)}. There are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    compile_bytecode()
    missed = [name for name in names if importlib.import_module(f"benchmarks.{name}").main() != 0]
    if missed:
        print(f"\nGoals missed in: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
