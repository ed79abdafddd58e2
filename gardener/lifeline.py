"""A process that ends with the one that started it, also when that one is killed.

A pipe does it on every system: the parent holds one end, and when it is gone, however it went, reading from the other
comes to an end. (PR_SET_PDEATHSIG is Linux's alone, and ends the child with the *thread* that started it.) The trainer
in gardener.training hears of its parent's end in the same way, on the pipe that also tells it to stop.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress


def end_with_parent(descriptor: int) -> None:
    """Ends this process, with exit code 1 and at once, when nobody holds the other end of the pipe any more.

    For a process that may be killed at any moment; whatever waits, nothing is flushed or put in order.
    """

    def watch() -> None:
        with suppress(OSError):
            while os.read(descriptor, 1):
                pass
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
