"""What `gardener models` asks of gardener.models.ollama_models, and what it says where that is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import threading


class OllamaModel(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def quantization(self) -> str: ...


class LoadedModel(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...


class PullProgress(Protocol):
    @property
    def status(self) -> str: ...
    @property
    def done_bytes(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...


class OllamaModels(Protocol):
    """All raise BackendError or ModelError. Sizes in bytes."""

    def list_models(self, url: str) -> Sequence[OllamaModel]: ...
    def loaded(self, url: str) -> Sequence[LoadedModel]: ...
    def writes(self, url: str, name: str) -> bool: ...
    def delete(self, url: str, name: str) -> None: ...
    def pull(
        self, url: str, name: str, on_progress: Callable[[PullProgress], None], cancel: threading.Event
    ) -> object: ...


def ollama_models() -> OllamaModels:
    """Raises BackendUnavailable when this installation cannot talk to Ollama."""
    import importlib

    from gardener.errors import BackendUnavailable

    name = "gardener.models.ollama_models"
    try:
        return cast("OllamaModels", importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise BackendUnavailable(
            "This installation of Gardener cannot talk to Ollama.", next_step="gardener doctor"
        ) from error
