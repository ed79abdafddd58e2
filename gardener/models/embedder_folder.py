"""A sentence-transformers model in a local folder. Slow to load (torch); nothing is ever downloaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import EmbedderUnavailable
from gardener.models.embedder_spec import EmbedderSpec
from gardener.models.embedder_vectors import by_characters, checked, in_windows
from gardener.models.folder_identity import folder_identity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLACK_TOKENS = 8
"""A word that is cut in two at the edge of a window can have more tokens than before."""
SHORTEST_WINDOW = 16


class FolderEmbedder:
    """Behind models.base.Embedder. One caller at a time: torch uses the cores itself. On a Mac it takes Metal when
    torch offers it (written from the documentation, not tried here)."""

    def __init__(self, spec: EmbedderSpec, models_dir: str = "") -> None:
        """Raises EmbedderUnavailable when the folder is missing or no model."""
        identity = folder_identity(spec.model, models_dir)
        self._spec = spec
        self._lock = threading.Lock()
        self._model: Any = _load(spec.model)
        tokens = getattr(self._model, "max_seq_length", None)
        self._tokens = tokens if isinstance(tokens, int) and tokens > 0 else 0
        """That the model reads at once; 0: as many as there are (static vectors)."""
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
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return in_windows(
            clean, lambda text: self._windows(text, prefix), lambda windows: self._encode(windows, prefix)
        )

    def _windows(self, text: str, prefix: str) -> list[str]:
        """By the model's own tokens: of dense code or Chinese a window holds a third of the characters of prose."""
        if not self._tokens or len(text.encode()) + len(prefix.encode()) + SLACK_TOKENS <= self._tokens:
            return [text]
        with self._lock:
            tokenizer: Any = getattr(self._model, "tokenizer", None)
        if not getattr(tokenizer, "is_fast", False):
            # Without places of tokens: one character can be several tokens, but hardly more than one on average.
            return by_characters(text, max(self._tokens - len(prefix) - SLACK_TOKENS, SHORTEST_WINDOW))
        room = self._tokens - len(tokenizer(prefix, truncation=False)["input_ids"]) - SLACK_TOKENS
        room = max(room, SHORTEST_WINDOW)
        places = tokenizer(text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
        starts = [start for start, _ in places["offset_mapping"]][::room] or [0]
        starts[0] = 0
        return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]

    def _encode(self, texts: Sequence[str], prefix: str) -> NDArray[np.float32]:
        with self._lock:
            if self._model is None:
                raise EmbedderUnavailable(f"The embedder {self.name} has been closed.", next_step="gardener status")
            clean = [prefix + text for text in texts]
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
