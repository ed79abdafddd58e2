"""Which model makes the vectors, and changing it: what `gardener embedder` and /api/embedder do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import EmbedderUnavailable, NotFoundError

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.models.embedder_registry import KnownEmbedder
    from gardener.models.embedder_spec import EmbedderSpec

_TRIAL = (
    "def parse_cookie(header: str) -> dict[str, str]:\n    return dict(part.split('=') for part in header.split(';'))",
    "class RetryPolicy:\n    def __init__(self, attempts: int, wait_s: float) -> None:\n        self.wait_s = wait_s",
)
_SAMPLE = 16


def embedder_json(gardener: Gardener) -> dict[str, Any]:
    """The embedder, what is wrong with it, and whose vectors each project is searched with."""
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    service = gardener.embedding
    spec, problem = service.spec, service.problem(ask=True)
    wanted = service.fingerprint
    rows = []
    for context in gardener.registry.list():
        facts = summary(index_directory(context.home))
        if not facts.get("table_version"):
            continue
        serving = gardener.serving_embedder(context)
        known = service.known(serving)
        rows.append(
            {
                "project": context.name,
                "searched with": known.spec.text if known else serving,
                "vectors": "complete" if service.finished(facts) else _progress(facts, wanted, serving == wanted),
            }
        )
    return {"embedder": spec.text, "fingerprint": wanted, "problem": problem, "projects": rows}


def _progress(facts: dict[str, str], wanted: str, serving: bool) -> str:
    done, total = int(facts.get("vectors", "0")), int(facts.get("contents", "0"))
    if not serving and facts.get("vectors_counted_of") != wanted:
        return "none of the new ones made"  # what was counted is the former embedder's
    share = f"{100 * done // total} %" if total else "none yet"
    return f"{share} made" if serving else f"{share} of the new ones made"


class Trial(NamedTuple):
    """An embedder that was loaded and works."""

    spec: EmbedderSpec
    fingerprint: str
    dimensions: int
    seconds_per_text: float

    def as_json(self) -> dict[str, object]:
        return {"embedder": self.spec.text, "fingerprint": self.fingerprint, "dimensions": self.dimensions}


def try_embedder(gardener: Gardener, spec: EmbedderSpec) -> Trial:
    """Loads the embedder and has it embed texts of our own: the user's code stays here until it is chosen.

    Raises EmbedderUnavailable or ModelDamaged.
    """
    from gardener.models.embedder_registry import load

    made = load(spec, gardener.paths.models)
    try:
        vectors = made.embed(list(_TRIAL))
        begun = time.monotonic()
        # As long as a usual chunk, and as many as are sent at once.
        made.embed([f"# {number}\n" + "\n".join(_TRIAL) * 3 for number in range(_SAMPLE)])
        seconds = (time.monotonic() - begun) / _SAMPLE
        if float(vectors[0] @ vectors[1]) > 0.9999:
            raise EmbedderUnavailable(
                f"{spec.text} gives the same vector for two different texts; it is not a text embedder.",
                next_step="gardener embedder",
            )
        return Trial(spec, made.fingerprint, made.dimensions, seconds)
    finally:
        made.close()


def former_embedder(gardener: Gardener) -> KnownEmbedder:
    """The embedder that still answers while a change is under way. Raises NotFoundError when none is."""
    service = gardener.embedding
    wanted = service.spec
    for context in gardener.projects_by_use():
        known = service.known(gardener.serving_embedder(context))
        if known is not None and known.spec != wanted:
            return known
    raise NotFoundError(
        f"No change is under way: every project is searched with {wanted.text}.", next_step="gardener embedder"
    )


def choose_embedder(gardener: Gardener, spec: EmbedderSpec) -> None:
    """Writes it into the user's settings; a running app follows by itself. Raises ConfigError."""
    from gardener.models.embedder_spec import PACKAGED
    from gardener.settings_edit import set_value

    values = {
        "embedder.url": spec.url if spec.kind != PACKAGED else "",
        "embedder.key_variable": spec.key_variable,
        "embedder.query_prefix": spec.query_prefix,
        "embedder.text_prefix": spec.text_prefix,
        "embedder.name": spec.text,
    }
    for key, value in values.items():
        set_value(gardener.paths, gardener.paths.config, key, value)
