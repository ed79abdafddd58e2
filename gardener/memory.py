"""How a process that lives for days keeps what it does not use: nothing, as far as the C library can be told."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3), from glibc's malloc.h."""

ARENAS = 2
"""glibc makes up to eight arenas per core, and what is freed in one is not used by another."""
LARGE_BYTES = 1 << 20
"""An allocation of this size goes back to the system as soon as it is freed; the same amount at a heap's top does.

Set, it also stays: by itself glibc raises it to 32 MB when large arrays come and go. At 64 kB embedding took twice as
long (its activations are of that size); at 1 MB no difference could be measured.
"""


def be_frugal() -> None:
    """To be called before threads start and PyArrow is imported. Measured on the app with Django (47,900 chunks) after
    searches and an answer: 619 MB resident without it, 475 MB with it. Does nothing where there is no glibc."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own would keep what it frees
    mallopt = _glibc("mallopt")
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Returns free memory to the system, after work that took much of it."""
    if "pyarrow" in sys.modules:
        import pyarrow

        pyarrow.default_memory_pool().release_unused()
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function
