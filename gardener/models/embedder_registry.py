"""Loads whatever embedder a spec means, and remembers which fingerprint belongs to which."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from gardener.models.embedder_spec import FOLDER, PACKAGED, EmbedderSpec
from gardener.paths import ensure_directory, write_private

if TYPE_CHECKING:
    from gardener.models.base import Embedder

FILE = "embedders.json"


class KnownEmbedder(NamedTuple):
    """An embedder that has worked on this machine."""

    spec: EmbedderSpec
    fingerprint: str
    dimensions: int


def load(spec: EmbedderSpec, models_dir: str, *, threads: int | None = None) -> Embedder:
    """Raises EmbedderUnavailable or ModelDamaged."""
    if spec.kind == PACKAGED:
        from gardener.models.embeddings import load_embedder

        return load_embedder(models_dir, threads=threads)
    made: Embedder
    if spec.kind == FOLDER:
        from gardener.models.embedder_folder import FolderEmbedder

        made = FolderEmbedder(spec, models_dir)
    else:
        from gardener.models.embedder_server import ServerEmbedder

        same = [one for one in known(models_dir).values() if one.spec == spec]

        def dimensions_of(identity: str) -> int:
            fits = (one.dimensions for one in same if spec.fingerprint(identity, one.dimensions) == one.fingerprint)
            return next(fits, 0)

        made = ServerEmbedder(spec, dimensions_of=dimensions_of)
    remember(models_dir, KnownEmbedder(spec, made.fingerprint, made.dimensions))
    return made


def packaged() -> KnownEmbedder:
    from gardener.models.embeddings import packaged_fingerprint
    from gardener.models.onnx_export import DIMENSIONS

    return KnownEmbedder(EmbedderSpec(), packaged_fingerprint(), DIMENSIONS)


def known(models_dir: str) -> dict[str, KnownEmbedder]:
    """Every embedder that has worked here, by fingerprint, those used last at the end. The packaged one always."""
    found = {packaged().fingerprint: packaged()}
    try:
        with open(os.path.join(models_dir, FILE), encoding="utf-8") as opened:
            entries = json.load(opened)
        for fingerprint, entry in entries.items():
            found[fingerprint] = KnownEmbedder(EmbedderSpec(**entry["spec"]), fingerprint, int(entry["dimensions"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        pass  # it only saves asking the model: what is not known is found out by loading it
    return found


def fingerprint_of(spec: EmbedderSpec, models_dir: str) -> KnownEmbedder | None:
    """What is known of a spec without loading its model; None when it has to be loaded to find out.

    Raises EmbedderUnavailable when a model's folder cannot be read.
    """
    if spec.kind == PACKAGED:
        return packaged()
    remembered = [one for one in known(models_dir).values() if one.spec == spec]
    if spec.kind == FOLDER:
        from gardener.models.folder_identity import folder_identity

        identity = folder_identity(spec.model, models_dir)
        return next((one for one in remembered if spec.fingerprint(identity, one.dimensions) == one.fingerprint), None)
    return remembered[-1] if remembered else None


def remember(models_dir: str, embedder: KnownEmbedder) -> None:
    entries = {
        one.fingerprint: {"spec": one.spec.as_json(), "dimensions": one.dimensions}
        for one in known(models_dir).values()
        if one.spec.kind != PACKAGED and one.fingerprint != embedder.fingerprint
    }
    entries[embedder.fingerprint] = {"spec": embedder.spec.as_json(), "dimensions": embedder.dimensions}
    ensure_directory(models_dir)
    write_private(os.path.join(models_dir, FILE), json.dumps(entries, indent=1).encode())
