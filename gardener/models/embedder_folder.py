"""A sentence-transformers model in a local folder. Slow to load (torch); nothing is ever downloaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import EmbedderUnavailable
from gardener.models.embedder_spec import EmbedderSpec, folder_identity
from gardener.models.embedder_vectors import checked, in_windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHARACTERS_PER_TOKEN = 3
"""Of code, at least: what is cut by this fits a window."""


class FolderEmbedder:
    """Behind models.base.Embedder. One caller at a time: torch uses the cores itself. On a Mac it takes Metal when
    torch offers it (written from the documentation, not tried here)."""

    def __init__(self, spec: EmbedderSpec) -> None:
        """Raises EmbedderUnavailable when the folder is missing or no model."""
        identity = folder_identity(spec.model)
        self._spec = spec
        self._lock = threading.Lock()
        self._model: Any = _load(spec.model)
        tokens = int(getattr(self._model, "max_seq_length", 0) or 256)
        self._window = max(tokens - 2, 16) * CHARACTERS_PER_TOKEN
        prompts = dict(getattr(self._model, "prompts", None) or {})
        # What the model's own configuration asks for, unless the settings say otherwise.
        self._query_prefix = spec.query_prefix or prompts.get("query") or ""
        self._text_prefix = spec.text_prefix or prompts.get("document") or prompts.get("passage") or ""
        self.name = os.path.basename(spec.model)
        self.dimensions = len(self._encode(["x"], "")[0])
        self.fingerprint = spec.fingerprint(identity, self.dimensions)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._text_prefix)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, self._query_prefix)

    def _embed(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        return in_windows(texts, self._window, lambda windows: self._encode(windows, prefix))

    def _encode(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        with self._lock:
            if self._model is None:
                raise EmbedderUnavailable(f"The embedder {self.name} has been closed.", next_step="gardener status")
            clean = [prefix + text.encode("utf-8", "replace").decode() for text in texts]
            try:
                # prompt="" so that the model's default prompt is not put before ours.
                raw = self._model.encode(
                    clean, prompt="", batch_size=16, show_progress_bar=False, convert_to_numpy=True,
                )  # fmt: skip
            except (RuntimeError, ValueError, IndexError) as error:
                raise EmbedderUnavailable(
                    f"The model in {self._spec.model} failed: {str(error)[:200]}", next_step="gardener embedder"
                ) from error
        return checked(raw, len(texts), f"The model in {self._spec.model}", getattr(self, "dimensions", 0))

    def close(self) -> None:
        with self._lock:
            self._model = None


def _load(folder: str) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        return SentenceTransformer(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a damaged file makes torch, safetensors or json raise
        raise EmbedderUnavailable(
            f"The model in {folder} cannot be loaded: {type(error).__name__}: {str(error)[:200]}",
            next_step="gardener embedder use packaged",
        ) from error
