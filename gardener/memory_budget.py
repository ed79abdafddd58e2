"""What of Gardener holds memory that can be given back, told to the governor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.models.fit import budget_bytes
from gardener.models.governor import Governor, Part, machine_probe
from gardener.models.hardware import read_hardware

if TYPE_CHECKING:
    from gardener.app import Gardener

MEGABYTE = 1_000_000
EMBEDDER_BYTES = 90_000_000
"""The packaged embedder, loaded: its weights and its runtime's arenas (measured as RSS, docs/performance.md)."""


def governor_of(gardener: Gardener) -> Governor:
    """The governor over this process's models, prompt caches and embedder; background work waits when it says so.

    What Ollama or another server holds is another process's, and not counted.
    """

    def pause(reason: str) -> None:
        gardener.background_waits = reason

    def resume() -> None:
        gardener.background_waits = ""

    def embedder() -> int:
        return EMBEDDER_BYTES * gardener.embedding.loaded_count()

    def unload() -> int:
        held = embedder()
        gardener.embedding.unload()
        return held

    configured = gardener.settings.integer("models.memory_mb") * MEGABYTE
    governor = Governor(budget_bytes(read_hardware(), configured), machine_probe, pause=pause, resume=resume)
    governor.register(Part("weights", "weights", lambda: gardener.models.held_bytes("weights")))
    governor.register(
        Part(
            "prompt caches",
            "cache",
            lambda: gardener.models.held_bytes("caches"),
            gardener.models.release_caches,
        )
    )
    governor.register(Part("embedder", "embedder", embedder, unload))
    return governor
