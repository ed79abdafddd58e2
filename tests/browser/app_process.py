"""The app in a process of its own, with a scripted model that a test steers through files in a folder.

    python -m tests.browser.app_process HOME PORT CONTROL

While CONTROL/down exists the model is not ready, for the reason in the file. CONTROL/pace is the time in seconds
that each word takes. While CONTROL/hold exists it waits before the word whose number the file holds;
CONTROL/script.json replaces what it says; CONTROL/requests.jsonl collects what it was sent.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from gardener.app import Gardener
from gardener.models.base import Readiness
from gardener.server.run import serve
from gardener.types import Message
from tests.chat_samples import ScriptedBackend
from ui import mount as mounting

WORDS = (
    "The lantern is lit by ",
    "`light_lantern` [1].\n\n",
    "<img src=x onerror=alert(5)> ",
    "![pixel](http://tracker.example/pixel.png) ",
    "[a link](http://elsewhere.example/) ",
    "[script](javascript:alert(6))\n\n",
    *(f"word{number} " for number in range(200)),
)


class SteeredBackend(ScriptedBackend):
    """A scripted model that reads its orders when a question comes."""

    control: Path

    def stream(self, request, cancel):  # type: ignore[no-untyped-def]
        with (self.control / "requests.jsonl").open("a") as log:
            log.write(json.dumps([spoken(message) for message in request.messages]) + "\n")
        script = self.control / "script.json"
        self.script = json.loads(script.read_text()) if script.exists() else WORDS
        return super().stream(request, cancel)

    def readiness(self, model: str = "") -> Readiness:
        down = self.control / "down"
        return Readiness(False, down.read_text(), "scripted start") if down.exists() else super().readiness(model)

    def wait(self, number: int) -> None:
        pace = self.control / "pace"
        if pace.exists():
            time.sleep(float(pace.read_text()))
        hold = self.control / "hold"
        with suppress(FileNotFoundError):  # the test removes the file when it has seen enough
            while number >= int(hold.read_text() or 0):
                time.sleep(0.01)


def spoken(message: Message) -> str:
    return f"{message.role}: {message.content}"


def requests(control: Path) -> Iterator[Sequence[str]]:
    """What the model was sent, one list of messages per question."""
    for line in (control / "requests.jsonl").read_text().splitlines():
        yield json.loads(line)


EVENTS_AT_ONCE = 16
"""Places for events of the pages; in use there are more. What never gives its place back shows soon."""


def mount(app, edge):  # type: ignore[no-untyped-def]
    mounting.EVENTS_AT_ONCE = EVENTS_AT_ONCE
    mounting.scrub_environment(edge.gardener.paths.run)
    from ui import pages

    pages.BREATH_SECONDS = 1.0
    return mounting.mount(app, edge)


def main(home: str, port: str, control: str) -> None:
    gardener = Gardener(home)
    model = SteeredBackend()
    model.control = Path(control)
    model.on_event = model.wait
    gardener.backends.register("scripted", lambda: model)
    serve(gardener, port=int(port), mount=mount)
    gardener.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
