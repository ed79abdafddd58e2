"""Counting tokens with a model's own tokenizer, without loading the model, from any thread."""

from __future__ import annotations

import os
import threading
from typing import Any

from gardener.models.base import TokenCount, estimate_tokens

MOST_KEPT = 4096


class TokenCounter:
    """Counts with `folder`/tokenizer.json."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "tokenizer.json")
        self._name = os.path.basename(folder)
        self._lock = threading.Lock()
        self._tokenizer: Any = None
        self._known: dict[str, int] = {}
        """A prompt is built by trying, so that the same texts come again and again."""

    def count(self, text: str) -> TokenCount:
        with self._lock:
            known = self._known.get(text)
            if known is not None:
                return TokenCount(known, False, self._name)
            if self._tokenizer is None:
                from tokenizers import Tokenizer

                try:
                    self._tokenizer = Tokenizer.from_file(self._path)
                    self._tokenizer.no_truncation()
                    self._tokenizer.no_padding()
                except Exception:
                    return estimate_tokens(text)  # a damaged file is named when the model is loaded
            clean = text.encode("utf-8", "replace").decode()
            found = len(self._tokenizer.encode(clean, add_special_tokens=False).ids)
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            if len(text) < 20_000:
                self._known[text] = found
        return TokenCount(found, False, self._name)
