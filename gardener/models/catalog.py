"""The catalogue of local models that ships with Gardener (catalog.toml): sizes, context, licence, names."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

Runtime = Literal["mlx", "ollama"]
RUNTIMES: Final[tuple[Runtime, ...]] = ("mlx", "ollama")
KV_BYTES: Final = 2
"""Of one stored key or value: 16 bits."""


@dataclass(frozen=True, slots=True)
class Build:
    """A model as one runtime gets it."""

    runtime: Runtime
    name: str
    """Ollama's tag, or the repository on Hugging Face."""
    bits: float
    """Average of a stored weight."""
    bytes: int
    """Of the weights, on the disk and in memory."""
    estimated: bool
    """True when `bytes` is parameters x bits / 8 and nobody looked it up."""


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One entry. Sizes in bytes, parameters as counts."""

    id: str
    title: str
    purpose: str
    parameters: int
    active: int
    """Parameters that one token uses; the same as `parameters` unless it is a mixture of experts."""
    layers: int
    """Layers whose keys and values grow with the context."""
    window_layers: int
    window: int
    """Tokens that `window_layers` keep at most."""
    kv_heads: int
    head_dim: int
    state_bytes: int
    """Of linear-attention layers, whatever the context is."""
    context: int
    licence: str
    source: str
    checked: str
    """Date of the last comparison with the source, ISO 8601."""
    builds: tuple[Build, ...]

    @property
    def mixture(self) -> bool:
        return self.active < self.parameters

    def build(self, runtime: Runtime) -> Build | None:
        return next((build for build in self.builds if build.runtime == runtime), None)

    def kv_bytes(self, context: int) -> int:
        """Keys and values of `context` tokens at 16 bits: 2 x heads x dimension x 2 bytes, for every layer and every
        token that the layer keeps."""
        each = 2 * self.kv_heads * self.head_dim * KV_BYTES
        return each * (self.layers * context + self.window_layers * min(context, self.window)) + self.state_bytes


@cache
def catalogue() -> tuple[CatalogModel, ...]:
    """All entries, the largest model first."""
    text = resources.files("gardener.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    entries = [_entry(row) for row in tomllib.loads(text)["model"]]
    return tuple(sorted(entries, key=lambda entry: -entry.parameters))


def _entry(row: dict[str, Any]) -> CatalogModel:
    builds = []
    for runtime in RUNTIMES:
        if runtime in row:
            found = row[runtime]
            estimate = int(row["parameters"] * found["bits"] / 8)
            size = int(found.get("bytes", estimate))
            builds.append(Build(runtime, found["name"], float(found["bits"]), size, "bytes" not in found))
    return CatalogModel(
        id=row["id"],
        title=row["title"],
        purpose=row["purpose"],
        parameters=row["parameters"],
        active=row.get("active", row["parameters"]),
        layers=row["layers"],
        window_layers=row.get("window_layers", 0),
        window=row.get("window", 0),
        kv_heads=row["kv_heads"],
        head_dim=row["head_dim"],
        state_bytes=row.get("state_bytes", 0),
        context=row["context"],
        licence=row["licence"],
        source=row["source"],
        checked=row["checked"].isoformat(),
        builds=tuple(builds),
    )


def names_of(model: CatalogModel) -> tuple[str, ...]:
    """Every name by which a person may call it: the id, and each runtime's."""
    names = [model.id]
    for build in model.builds:
        names += [build.name, build.name.rpartition("/")[2]]
    return tuple(dict.fromkeys(names))


def find(name: str) -> tuple[CatalogModel, Runtime | None] | None:
    """The entry of that name in any spelling of letters, and the runtime when the name is one runtime's own."""
    wanted = _plain(name)
    for model in catalogue():
        if _plain(model.id) == wanted:
            return model, None
        for build in model.builds:
            if wanted in (_plain(build.name), _plain(build.name.rpartition("/")[2])):
                return model, build.runtime
    return None


def nearest(name: str, extra: tuple[str, ...] = (), most: int = 3) -> tuple[str, ...]:
    """Names like `name`, of the catalogue and of `extra`, the nearest first; () when none is near."""
    known = {_plain(each): each for model in reversed(catalogue()) for each in (model.id,)}
    known.update({_plain(each): each for each in extra})
    wanted = _plain(name.rpartition("/")[2])
    close = difflib.get_close_matches(wanted, known, n=most, cutoff=0.5)
    if wanted:
        close += [each for each in known if wanted in each and each not in close]
    return tuple(known[each] for each in close[:most])


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(":latest")
