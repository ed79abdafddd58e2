"""Syntax trees within bounds of size, CPU time and memory: what is parsed may have been written to exhaust them."""

from __future__ import annotations

import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from tree_sitter import Parser, Point, Tree
    from tree_sitter_language_pack import SupportedLanguage

MAX_PARSED_BYTES: Final = 1_500_000
"""Larger files are not parsed: they are data or generated, and a tree takes 20 to 50 times the file's memory."""
_WATCHED_BYTES: Final = 2_000
"""From this size on a parse can be stopped."""
_LEAST_SECONDS: Final = 0.3
_SECONDS_PER_BYTE: Final = 8e-6
_MOST_SECONDS: Final = 2.0
"""CPU seconds a parse may take. Real files take 1e-7 (Python) to 2.5e-7 (C++) a byte, so 30 times more is allowed."""
_MOST_MEMORY: Final = 400_000_000
"""Bytes by which a parse may raise the process's peak; error recovery can keep thousands of versions of a tree."""
_LONG_LINES: Final = 400
_LONG_LINES_BYTES: Final = 32_768
"""A file of more bytes than this with more bytes per line than that is minified or data."""
_READ_BYTES: Final = 65_536
_NAME_BYTES: Final = 256
_SAMPLE_STEP: Final = 512
_SAMPLE_BYTES: Final = 512
_LONGEST_PERIOD: Final = 256
_MOST_PERIODIC_IN_A_ROW: Final = 4
_MOST_PERIODIC: Final = 10
_DEEP_BYTES: Final = 16_384
_MOST_OPEN_BRACKETS: Final = 4_000
_BRACKET_PASSES: Final = 64
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"()[]{}"))

_parsers = threading.local()


def parse(name: str, source: bytes, rows: int) -> Tree | None:
    """The syntax tree of `source` by the bundled grammar `name`; None when it exceeds a bound.

    The outcome depends on the machine's speed only for sources that need more than 30 times the usual time.
    """
    size = len(source)
    if size > MAX_PARSED_BYTES or (size > _LONG_LINES_BYTES and size > _LONG_LINES * rows):
        return None
    parser = _parser(name)
    if size <= _WATCHED_BYTES:
        return parser.parse(source)
    if _repeats_itself(source) or (size > _DEEP_BYTES and _nests_deeply(source)):
        return None
    allowed = min(_LEAST_SECONDS + size * _SECONDS_PER_BYTE, _MOST_SECONDS)
    earliest, deadline = time.perf_counter() + allowed, time.thread_time() + allowed
    allowed_peak = _peak_memory() + _MOST_MEMORY
    piece = _READ_BYTES
    calls = 0

    def read(offset: int, _: Point) -> bytes:
        return source[offset : offset + piece]

    def late(_: int, __: bool) -> bool:
        nonlocal calls
        calls += 1
        if calls & 7:
            return False
        # The wall clock is cheap to read, and no thread uses more CPU time than goes by on the wall.
        if time.perf_counter() > earliest and time.thread_time() > deadline:
            return True
        return not calls & 31 and _peak_memory() > allowed_peak

    try:
        tree = parser.parse(read, progress_callback=late)
    except ValueError:  # "Parsing failed": stopped by `late`
        del _parsers.by_name[name]  # its scanner may be in any state
        return None
    piece = _NAME_BYTES  # `Node.text` reads through the same function from now on
    return tree


def _parser(name: str) -> Parser:
    """The parser of a bundled grammar: one per thread, because a parser has state."""
    cached: dict[str, Parser] | None = getattr(_parsers, "by_name", None)
    if cached is None:
        cached = _parsers.by_name = {}
    parser = cached.get(name)
    if parser is None:
        from tree_sitter_language_pack import get_parser

        parser = cached[name] = get_parser(cast("SupportedLanguage", name))
    return parser


def _peak_memory() -> int:
    """The largest resident size the process has had, in bytes. macOS counts bytes, Linux kibibytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _repeats_itself(source: bytes) -> bool:
    """Whether some two thousand bytes in a row repeat one short phrase, such as 5,000 times "/*".

    Error recovery on such input takes time and memory that grow with the square of its length, in single steps that
    cannot be stopped: 15 kB of it can take gigabytes. Runs of one character, and tables of numbers, are harmless.
    """
    in_a_row = altogether = 0
    for at in range(0, len(source) - _SAMPLE_BYTES, _SAMPLE_STEP):
        sample = source[at : at + _SAMPLE_BYTES]
        period = sample.find(sample[: _SAMPLE_BYTES - _LONGEST_PERIOD], 1)
        if period < 2 or sample[period:] != sample[:-period] or b"0" in sample or b"1" in sample:
            in_a_row = 0
            continue
        in_a_row += 1
        altogether += 1
        if in_a_row >= _MOST_PERIODIC_IN_A_ROW or altogether >= _MOST_PERIODIC:
            return True
    return False


def _nests_deeply(source: bytes) -> bool:
    """Whether brackets are nested, or left open, by the thousand.

    A parser's stack of some 100,000 entries is given back by recursion in C, which overflows the thread's stack.
    Innermost pairs are taken out pass by pass, so the answer costs a bounded number of copies of the brackets.
    """
    brackets = source.translate(None, _NO_BRACKETS)
    for _ in range(_BRACKET_PASSES):
        if len(brackets) <= _MOST_OPEN_BRACKETS:
            return False
        fewer = brackets.replace(b"()", b"").replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return len(brackets) > _MOST_OPEN_BRACKETS
