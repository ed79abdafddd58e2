"""What a repair is: a sentence to agree to, a copy of what it changes, the work itself, and nothing hidden."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gardener.paths import ensure_directory, sync_directory, translate_os_error, write_private

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.health.check import Finding
    from gardener.paths import Paths

FOLDER = "repairs"
"""In the home: copies of what repairs have changed. Nothing reads it, and backups leave it out."""


class Aside:
    """Where a repair keeps what was there before: home/repairs/TIME-KIND/, made with the first thing in it."""

    def __init__(self, paths: Paths, kind: str) -> None:
        self._top = os.path.join(paths.home, FOLDER)
        self._name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{kind}"
        self.path = ""
        """ "" as long as nothing is kept."""

    def folder(self) -> str:
        if not self.path:
            place, number = os.path.join(self._top, self._name), 1
            while os.path.exists(place):
                number += 1
                place = os.path.join(self._top, f"{self._name}-{number}")
            self.path = ensure_directory(place)
        return self.path

    def copy(self, path: str) -> str:
        """A copy of a file (what a link leads to), on the disk when this returns."""
        try:
            with open(path, "rb") as handle:
                data = handle.read()
        except OSError as error:
            raise translate_os_error(error, path) from error
        kept = os.path.join(self.folder(), os.path.basename(path))
        write_private(kept, data)
        return kept

    def move(self, path: str, name: str = "") -> str:
        """Moves a file or a folder there, which is on the same disk or a copy of it."""
        kept = os.path.join(self.folder(), name or os.path.basename(path))
        try:
            shutil.move(path, kept)
            sync_directory(self.path)
            sync_directory(os.path.dirname(path))
        except OSError as error:
            raise translate_os_error(error, path) from error
        return kept

    def note(self, name: str, value: object) -> str:
        kept = os.path.join(self.folder(), name)
        write_private(kept, (json.dumps(value, indent=1) + "\n").encode())
        return kept


class Plan(NamedTuple):
    """What would be done about one finding. Making one changes nothing."""

    does: str
    """A sentence in the imperative, with figures: what the user agrees to."""
    copies: str
    """What is copied or kept first; or why nothing need be."""
    run: Callable[[Gardener, Aside], list[str]]
    """Does it; returns what was done as sentences. Raises GardenerError. The home is its own to close and open."""
    settles_s: float = 0.0
    """How long the check may go on finding it: what was started has to come up first."""


class NotHere(NamedTuple):
    """Why Gardener does not mend it, and what to do instead."""

    why: str
    command: str


Planner = Callable[["Gardener", "Finding"], "Plan | NotHere"]
NOTHING_UNIQUE = "Nothing: what is changed is made from your files."
