"""Bytes and counts as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes with a decimal unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def known_size(count: float) -> str:
    """Bytes of what may not be known, which is 0."""
    return size(count) if count else "unknown size"


def counted(number: float, noun: str, many: str = "") -> str:
    """The number with its noun: "1 file", "2,801 files". `many` is a plural that is not formed with s."""
    return f"{number:,.0f} {noun if number == 1 else many or noun + 's'}"
