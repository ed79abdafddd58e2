"""Ollama's models on its disk and in its memory: list, show, load state, pull, delete. Through its official client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from gardener.errors import BackendError, BackendUnavailable, DiskFull, Interrupted, ModelNotFound

ANSWER_S = 10.0
SILENCE_S = 120.0
"""A pull that says nothing for so long is over: Ollama verifies large layers for a minute."""


@dataclass(frozen=True, slots=True)
class OllamaModel:
    name: str
    size: int
    """Bytes."""
    family: str
    parameters: str
    """As Ollama says it: "7.6B"."""
    quantization: str
    modified: str
    """ISO 8601."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    name: str
    size: int
    vram: int
    """Bytes of it that are in the GPU's memory."""
    context: int


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Of all layers together."""

    status: str
    done_bytes: int
    total_bytes: int
    """Of the layers that are known so far: it grows at the beginning."""
    bytes_per_s: float


def list_models(url: str) -> list[OllamaModel]:
    """What is on Ollama's disk. Raises BackendUnavailable or BackendError."""
    with _client(url, ANSWER_S) as client:
        found = []
        for entry in client.list().models:
            details = entry.details
            found.append(
                OllamaModel(
                    str(entry.model or ""),
                    int(entry.size or 0),
                    str(details.family or "") if details else "",
                    str(details.parameter_size or "") if details else "",
                    str(details.quantization_level or "") if details else "",
                    entry.modified_at.isoformat() if entry.modified_at else "",
                )
            )
        return found


def loaded(url: str) -> list[LoadedModel]:
    """What is in Ollama's memory. Raises BackendUnavailable or BackendError."""
    with _client(url, ANSWER_S) as client:
        return [
            LoadedModel(
                str(entry.model or entry.name or ""),
                int(entry.size or 0),
                int(entry.size_vram or 0),
                int(getattr(entry, "context_length", 0) or 0),
            )
            for entry in client.ps().models
        ]


def delete(url: str, name: str) -> None:
    """Removes a model from Ollama's disk. Raises ModelNotFound, BackendUnavailable or BackendError."""
    with _client(url, ANSWER_S) as client:
        client.delete(name)


def pull(url: str, name: str, on_progress: Callable[[PullProgress], None], cancel: threading.Event) -> None:
    """Downloads a model, or what is missing of it: Ollama keeps the layers that are whole, and the parts of others.

    Raises Interrupted when `cancel` is set, DiskFull, ModelNotFound, BackendUnavailable, BackendError.
    """
    layers: dict[str, tuple[int, int]] = {}
    begun, already = time.monotonic(), -1
    with _client(url, SILENCE_S) as client, ExitStack() as stack:
        status = ""
        steps = stack.enter_context(closing(client.pull(name, stream=True)))
        for step in steps:
            status = str(step.status or "")
            if step.digest:
                # A layer that was there before reports itself as done at once: its bytes were not downloaded now.
                layers[step.digest] = int(step.completed or 0), int(step.total or 0)
            done, total = (sum(sizes) for sizes in zip(*layers.values(), strict=True)) if layers else (0, 0)
            if already < 0 and layers:
                already = done
            rate = max(0, done - max(0, already)) / max(0.001, time.monotonic() - begun)
            on_progress(PullProgress(status, done, total, rate))
            if cancel.is_set():
                raise Interrupted(
                    f"The download of {name} was stopped at {done / 1e9:.1f} of {total / 1e9:.1f} GB. Ollama keeps it.",
                    next_step=f"gardener models pull {name}",
                )
        if status != "success":
            raise BackendError(
                f"Ollama ended the download of {name} without saying that it is whole ({status or 'no word'}).",
                next_step=f"gardener models pull {name}",
            )


@contextmanager
def _client(url: str, timeout_s: float) -> Iterator[Any]:
    """Ollama's client, whose errors become ours."""
    import httpx
    from ollama import Client, ResponseError
    from pydantic import ValidationError

    where = f"Ollama at {url}"
    try:
        # Its own default is no time limit at all, and the proxies of the environment.
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        with Client(url, timeout=timeout, trust_env=False, follow_redirects=False) as client:
            yield client
    except ResponseError as error:
        said = " ".join(str(error.error).split())[:300]
        lowered = said.lower()
        if "no space left" in lowered or "disk full" in lowered:
            raise DiskFull(f"{where}: its disk is full: {said}", next_step="ollama list") from error
        if error.status_code == 404 or "not found" in lowered or "does not exist" in lowered:
            raise ModelNotFound(f"{where}: {said}", next_step="gardener models recommend") from error
        raise BackendError(f"{where}: {said}", next_step="gardener doctor") from error
    except (httpx.HTTPError, httpx.InvalidURL, ConnectionError) as error:
        raise BackendUnavailable(
            f"{where} does not answer: {type(error).__name__}.", next_step="ollama serve"
        ) from error
    except (ValidationError, ValueError, RecursionError, TypeError) as error:
        raise BackendError(f"{where} answered something that is not its API.", next_step="gardener doctor") from error
