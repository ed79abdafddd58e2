"""What an Ollama server says about its models, asked at most every two seconds: names, windows, what is loaded.

Without an HTTP client to import, as `gardener status` asks.
"""

from __future__ import annotations

import difflib
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from gardener.errors import BackendError, BackendUnavailable, GardenerError, ModelNotFound
from gardener.models.server_address import is_local, quick_get

PROBE_S: Final = 1.0
FRESH_S: Final = 2.0
"""What the server said is believed for so long, an error too."""


class OllamaFacts:
    """Thread-safe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._where = f"Ollama at {url}"
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, dict[str, Any] | GardenerError]] = {}
        self._windows: dict[str, int] = {}

    def names(self) -> tuple[str, ...]:
        """Of all models that are there. Raises BackendUnavailable or BackendError."""
        return tuple(str(entry["name"]) for entry in self._tags())

    def model(self, wanted: str) -> str:
        """The full name of a model that the server has; "" takes the chat model that was changed last.

        Raises ModelNotFound with the nearest names, BackendUnavailable or BackendError.
        """
        entries = self._tags()
        names = [str(entry["name"]) for entry in entries]
        if not wanted:
            # Nobody has named one: not one that runs at ollama.com, and not one that only makes vectors.
            usable = [entry for entry in entries if not _is_remote(entry) and _writes(entry)]
            if usable:
                return str(max(usable, key=lambda entry: str(entry.get("modified_at", "")))["name"])
            raise ModelNotFound(
                f"{self._where} has no {'chat ' if names else ''}models.", next_step="gardener models recommend"
            )
        for name in (wanted, f"{wanted}:latest"):
            if name in names:
                return name
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4)
        near = near or [name for name in names if name.split(":")[0] == wanted.split(":")[0]][:3]
        hint = f" Near: {', '.join(near)}." if near else ""
        raise ModelNotFound(f"{self._where} has no model {wanted!r}.{hint}", next_step=f"gardener models pull {wanted}")

    def window(self, name: str) -> int:
        """The longest window that a model was made for; 0 when it does not say. Raises ModelNotFound, BackendError."""
        if name not in self._windows:
            from gardener.models.ollama_models import context_of, model_info

            self._windows[name] = context_of(model_info(self._url, name))
        return self._windows[name]

    def loaded(self) -> list[dict[str, Any]]:
        """The entries of /api/ps. Raises BackendUnavailable or BackendError."""
        return _entries(self._get("/api/ps"))

    def loaded_changed(self) -> None:
        """Somebody has just loaded a model: what /api/ps said is old."""
        with self._lock:
            self._answers.pop("/api/ps", None)

    def _tags(self) -> list[dict[str, Any]]:
        return [entry for entry in _entries(self._get("/api/tags")) if entry.get("name")]

    def _get(self, path: str) -> dict[str, Any]:
        with self._lock:
            kept = self._answers.get(path)
        if kept is None or time.monotonic() - kept[0] >= FRESH_S:
            try:
                answer: dict[str, Any] | GardenerError = self._ask(path)
            except GardenerError as error:
                answer = error
            kept = time.monotonic(), answer
            with self._lock:
                self._answers[path] = kept
        if isinstance(kept[1], GardenerError):
            raise kept[1]
        return kept[1]

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            status, content = quick_get(self._url, path, {}, PROBE_S)
            answer = json.loads(content) if status == 200 else None
        except (OSError, ValueError, RecursionError) as error:
            raise BackendUnavailable(
                f"Nothing answers at {self._url}."
                if isinstance(error, ConnectionRefusedError)
                else f"{self._where} does not answer properly: {str(error)[:200]}",
                next_step="ollama serve" if is_local(self._url) else "gardener config get ollama.url",
            ) from error
        if not isinstance(answer, dict):
            raise BackendError(f"{self._where} answered {status} to {path}.", next_step="gardener doctor")
        return answer


def is_cloud(name: str) -> bool:
    """Whether a model by its name only passes questions on to ollama.com: "gpt-oss:120b-cloud"."""
    return name.rpartition(":")[2].endswith("cloud")


def _is_remote(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("remote_host")) or is_cloud(str(entry.get("name", "")))


def _writes(entry: Mapping[str, Any]) -> bool:
    """False for a model that only makes vectors."""
    can = entry.get("capabilities")
    if isinstance(can, list) and can:
        return "completion" in can
    details = entry.get("details")
    family = str(details.get("family", "")) if isinstance(details, dict) else ""
    return not family.endswith("bert") and "embed" not in str(entry.get("name", ""))


def _entries(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = answer.get("models")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
