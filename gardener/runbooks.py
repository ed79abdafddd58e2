"""The runbooks: one page per trouble, shipped with the package so that they can be read where the trouble is.

In a checkout they lie in `runbooks/` beside the package; a wheel carries them inside of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from gardener.errors import GardenerError, RunbookNotFound

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = (os.path.join(_PACKAGE, "runbook_pages"), os.path.join(os.path.dirname(_PACKAGE), "runbooks"))
"""Where they are looked for: inside an installed package, else beside the package in a checkout."""
SECTIONS = ("Symptom", "Check", "Copy first", "Repair", "Check again")
"""The headings that every runbook has, in this order."""


@dataclass(frozen=True, slots=True)
class Runbook:
    """`text` is the whole page in Markdown; `title` its first heading."""

    name: str
    title: str
    text: str


def folder() -> str:
    """Where the runbooks are. Raises GardenerError when this installation has none."""
    for place in FOLDERS:
        if os.path.isdir(place):
            return place
    raise GardenerError(
        f"The runbooks are missing: {' and '.join(FOLDERS)} are not there.", next_step="gardener doctor"
    )


def names() -> list[str]:
    """The names of all runbooks, sorted."""
    return sorted(file[:-3] for file in os.listdir(folder()) if file.endswith(".md") and file != "README.md")


def read(name: str) -> Runbook:
    """One runbook. Raises RunbookNotFound, with the nearest name."""
    known = names()
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise RunbookNotFound(
            f"There is no runbook '{name}'." + (f" Did you mean '{near[0]}'?" if near else ""),
            next_step=f"gardener runbook {near[0]}" if near else "gardener runbook",
        )
    with open(os.path.join(folder(), name + ".md"), encoding="utf-8") as handle:
        text = handle.read()
    return Runbook(name, text.split("\n", 1)[0].lstrip("# ").strip(), text)
