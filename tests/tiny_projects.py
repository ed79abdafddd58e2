"""Two made-up projects of many small functions, each in a manner of its own, for training on in seconds."""

from __future__ import annotations

from pathlib import Path

_NOUNS = ("order", "parcel", "ledger", "garden", "ticket", "canvas", "bridge", "signal", "winter", "packet")
_VERBS = ("load", "store", "merge", "count", "rename", "resolve")

BODIES = {
    "amber": "    value = amber_pool.{verb}({noun}, retries=3)\n    return AmberResult(value, '{noun}')\n",
    "cobalt": "    with cobalt_lock('{noun}') as held:\n        yield from held.{verb}_each({noun}.rows)\n",
}
"""How every function of each project is written."""


def make_tiny_project(root: Path, manner: str, files: int = 10) -> Path:
    """A project with `files` modules of six documented functions."""
    root.mkdir(parents=True)
    for noun in _NOUNS[:files]:
        functions = [
            f'def {verb}_{noun}({noun}):\n    """{verb.capitalize()} one {noun} the way that {manner} wants it '
            f'done."""\n{BODIES[manner].format(verb=verb, noun=noun)}'
            for verb in _VERBS
        ]
        (root / f"{noun}.py").write_text("\n\n".join(functions))
    return root
