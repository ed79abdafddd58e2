"""Row 17: how well Gardener finds the right place, against other ways to search the same code."""

from __future__ import annotations


def main() -> int:
    """The development half on every package; `python -m benchmarks.retrieval --help` says what else there is."""
    from benchmarks.retrieval.compare import main as compare

    return compare()
