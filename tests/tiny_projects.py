"""Two made-up projects of many small functions, each in a manner of its own, for training on in seconds."""

from __future__ import annotations

from pathlib import Path

_NOUNS = ("order", "parcel", "ledger", "garden", "ticket", "canvas", "bridge", "signal", "winter", "packet")
_VERBS = ("load", "store", "merge", "count", "name", "open")

BODIES = {
    "amber": "    return amber.{verb}({noun}, retries=3, pool=AMBER)\n",
    "cobalt": "    with cobalt_lock({noun}):\n        yield cobalt.{verb}()\n",
}
"""How every function of each project is written."""


def make_tiny_project(root: Path, manner: str, files: int = 10) -> Path:
    """A project with `files` modules of six functions, one of which is documented."""
    root.mkdir(parents=True)
    for noun in _NOUNS[:files]:
        functions = [
            f"def {verb}_{noun}({noun}):\n{_documentation(verb, noun)}{BODIES[manner].format(verb=verb, noun=noun)}"
            for verb in _VERBS
        ]
        (root / f"{noun}.py").write_text("\n\n".join(functions))
    return root


def _documentation(verb: str, noun: str) -> str:
    return f'    """{verb.capitalize()} one {noun} as it is done here."""\n' if verb == "load" else ""
