"""Ollama's models on its disk and in its memory: list, show, what is loaded, pull, delete.

Short questions go through Ollama's official client; a pull is a stream and is read like an answer, so that it can be
cancelled and its silence has a limit.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gardener.errors import BackendError, BackendTimeout, BackendUnavailable, DiskFull, Interrupted, ModelNotFound
from gardener.models.base import StreamLimits
from gardener.models.server_address import MOST_SMALL_BYTES, checked_url, is_local, within
from gardener.models.server_stream import Cancelled, LineStream

if TYPE_CHECKING:
    import ollama
    from ollama._types import ModelDetails

    from gardener.models.bounded_transport import BoundedTransport

T = TypeVar("T")

ANSWER_S: Final = 10.0
PULL_LIMITS: Final = StreamLimits(connect_s=5.0, first_token_s=120.0, idle_s=1800.0, total_s=float("inf"))
"""Ollama says nothing while it verifies layers, which takes minutes for a large one on a slow disk."""
MOST_PULL_BYTES: Final = 2_000_000_000
"""Sixteen lines a second for days."""
MOST_LAYERS: Final = 10_000
MOST_MODEL_BYTES: Final = 2**50
"""A size beyond this is none: the server is wrong about it."""
RATE_S: Final = 5.0
"""Over how long the rate of a download is taken."""


@dataclass(frozen=True, slots=True)
class OllamaModel:
    name: str
    size: int
    """Bytes; 0 when that is not known."""
    family: str
    parameters: str
    """As Ollama says it: "7.6B"."""
    quantization: str
    context: int
    """Tokens; 0 where the list does not say: `show` does."""
    modified: str
    """As the server says it, ISO 8601; "" when it does not."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    name: str
    size: int
    """Bytes; 0 when that is not known."""
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
    """Of the last seconds; what was here before does not count. 0.0 when nothing comes."""


def list_models(url: str) -> list[OllamaModel]:
    """What is on Ollama's disk. Raises BackendUnavailable or BackendError."""
    found = []
    for entry in _entries(url, "/api/tags"):
        details = entry.get("details")
        known = details if isinstance(details, dict) else {}
        family, parameters, quantization = (
            _text(known.get(key)) for key in ("family", "parameter_size", "quantization_level")
        )
        found.append(
            OllamaModel(
                _name(entry), _bytes(entry.get("size")), family, parameters, quantization, 0,
                _text(entry.get("modified_at")),
            )
        )  # fmt: skip
    return found


def show(url: str, name: str) -> OllamaModel:
    """One model with its window; its size is 0, as Ollama does not say it here. Raises ModelNotFound, BackendError."""
    answer = _ask(url, lambda client: client.show(name), name)
    return _model(name, 0, answer.details, answer.modified_at, context_of(answer.modelinfo or {}))


def writes(url: str, name: str) -> bool:
    """False for a model that only makes vectors. Raises ModelNotFound, BackendUnavailable or BackendError."""
    can = _ask(url, lambda client: client.show(name), name).capabilities
    return not can or "completion" in can


def model_info(url: str, name: str) -> Mapping[str, Any]:
    """What the model's own file says about it ("llama.context_length"). Raises ModelNotFound or BackendError."""
    return _ask(url, lambda client: client.show(name), name).modelinfo or {}


def context_of(info: Mapping[str, Any]) -> int:
    """The longest window that a model was made for; 0 when its file does not say."""
    found = [value for key, value in info.items() if key.endswith(".context_length")]
    return min((value for value in found if type(value) is int and value > 0), default=0)


def loaded(url: str) -> list[LoadedModel]:
    """What is in Ollama's memory. Raises BackendUnavailable or BackendError."""
    return [
        LoadedModel(
            _name(entry),
            _bytes(entry.get("size")),
            _bytes(entry.get("size_vram")),
            _bytes(entry.get("context_length")),
        )
        for entry in _entries(url, "/api/ps")
    ]


def delete(url: str, name: str) -> None:
    """Removes a model from Ollama's disk. Raises ModelNotFound, BackendUnavailable or BackendError."""
    _ask(url, lambda client: client.delete(name), name)


def pull(url: str, name: str, on_progress: Callable[[PullProgress], None], cancel: threading.Event) -> None:
    """Downloads a model, or what is missing of it: Ollama keeps the layers that are whole, and the parts of others.

    Raises Interrupted when `cancel` is set, DiskFull, ModelNotFound, BackendUnavailable, BackendError. After each of
    them calling it again goes on from there.
    """
    url = checked_url(url, "ollama.url")
    where = _where(url)
    again = f"gardener models pull {name}"
    lines = LineStream(
        where, f"{url}/api/pull", {"model": name, "stream": True}, headers={}, limits=PULL_LIMITS,
        cancelled=cancel.is_set, model=name, most_bytes=MOST_PULL_BYTES,
    )  # fmt: skip
    counted = _Counted()
    status = ""

    def refused(code: int, said: str) -> None:
        raise _pull_error(where, name, said)

    try:
        for line in lines.lines(refused):
            if line.strip():
                progress = counted.add(_step(line, where, name))
                lines.useful()
                status = progress.status
                on_progress(progress)
    except Cancelled:
        done, total = counted.sizes()
        raise Interrupted(
            f"The download of {name} was stopped at {done / 1e9:.1f} of {total / 1e9:.1f} GB. Ollama keeps it.",
            next_step=again,
        ) from None
    except BackendTimeout as error:
        raise BackendTimeout(f"{where} was silent for too long while it downloaded {name}.", next_step=again) from error
    except BackendUnavailable as error:
        if not status:  # nobody was there to begin with
            step = "ollama serve" if is_local(url) else "gardener config get ollama.url"
            raise BackendUnavailable(
                f"No Ollama answers at {url}, so {name} was not downloaded. It may not be installed: ollama.com.",
                next_step=step,
            ) from error
        raise BackendUnavailable(f"{error.message} What has come of {name} is kept.", next_step=again) from error
    if status != "success":
        raise BackendUnavailable(
            f"{where} ended the download of {name} before it was whole. What has come is kept.", next_step=again
        )


class _Counted:
    """Sums the layers of one pull. What was there before reports itself as done at once."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._times: deque[tuple[float, int]] = deque()
        self._came = 0

    def add(self, step: ollama.ProgressResponse) -> PullProgress:
        digest, total = step.digest, step.total or 0
        if digest and 0 <= total < 2**62 and (digest in self._layers or len(self._layers) < MOST_LAYERS):
            known = self._layers.get(digest)
            # What a broken download has to fetch again is not taken back from the bar.
            done = min(max(step.completed or 0, known[0] if known else 0), total)
            if known is not None:
                self._came += done - known[0]
            self._layers[digest] = done, total
        now = time.monotonic()
        self._times.append((now, self._came))
        while len(self._times) > 2 and self._times[0][0] < now - RATE_S:
            self._times.popleft()
        took = now - self._times[0][0]
        rate = (self._came - self._times[0][1]) / took if took > 0 else 0.0
        status = "".join(letter for letter in str(step.status or "") if letter.isprintable())[:100]
        return PullProgress(status, *self.sizes(), rate)

    def sizes(self) -> tuple[int, int]:
        """Bytes that are here, and bytes in all."""
        return sum(done for done, _ in self._layers.values()), sum(total for _, total in self._layers.values())


def _step(line: str, where: str, name: str) -> ollama.ProgressResponse:
    from ollama import ProgressResponse
    from pydantic import ValidationError

    try:
        entry = json.loads(line)
        if isinstance(entry, dict) and "error" in entry:
            raise _pull_error(where, name, str(entry["error"]))
        return ProgressResponse(**entry)
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise BackendError(f"{where} sent something that is not its API.", next_step="gardener doctor") from error


def _pull_error(where: str, name: str, said: str) -> Exception:
    said = " ".join(said.split())[:300]
    lowered = said.lower()
    if "no space left" in lowered or "disk full" in lowered or "not enough space" in lowered:
        return DiskFull(
            f"{where} has no space left on its disk for {name}. What has come is kept.",
            next_step="gardener models rm NAME",
        )
    if "not found" in lowered or "file does not exist" in lowered:
        return ModelNotFound(f"Ollama's library has no model {name!r}: {said}", next_step="gardener models recommend")
    return BackendError(f"{where} could not download {name}: {said}", next_step=f"gardener models pull {name}")


def _model(name: str, size: int, details: ModelDetails | None, modified: Any, context: int) -> OllamaModel:
    return OllamaModel(
        name,
        size,
        str(details.family or "") if details else "",
        str(details.parameter_size or "") if details else "",
        str(details.quantization_level or "") if details else "",
        context,
        modified.isoformat() if modified else "",
    )


def _entries(url: str, path: str) -> list[dict[str, Any]]:
    """The models that a list of the server has, each as it stands there: a wrong value in one must not hide the others.

    Raises BackendUnavailable, BackendTimeout or BackendError.
    """

    def ask(url: str, transport: BoundedTransport) -> list[dict[str, Any]]:
        import httpx
        from ollama import ResponseError

        with httpx.Client(transport=transport, timeout=ANSWER_S, trust_env=False) as client:
            response = client.get(url + path)
        if response.status_code != 200:
            raise ResponseError(response.text, response.status_code)
        # A number of thousands of digits is an error to Python, which would end the whole list.
        models = json.loads(response.content, parse_int=lambda digits: int(digits) if len(digits) < 30 else -1)[
            "models"
        ]
        if not isinstance(models, list | None):
            raise TypeError(type(models).__name__)
        found = [entry for entry in models or [] if isinstance(entry, dict) and _name(entry)]
        if models and not found:
            raise TypeError("no entry has a name")
        return found

    return _bounded(url, ask)


def _name(entry: Mapping[str, Any]) -> str:
    return _text(entry.get("model")) or _text(entry.get("name"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _bytes(value: object) -> int:
    return value if type(value) is int and 0 < value <= MOST_MODEL_BYTES else 0


def _ask(url: str, question: Callable[[ollama.Client], T], name: str = "") -> T:
    """One short question through Ollama's client. Raises what `_bounded` does."""

    def ask(url: str, transport: BoundedTransport) -> T:
        from ollama import Client

        # Its own default is no time limit at all, redirects anywhere, and the proxies of the environment.
        with Client(url, transport=transport, timeout=ANSWER_S, trust_env=False, follow_redirects=False) as client:
            return question(client)

    return _bounded(url, ask, name)


def _bounded(url: str, ask: Callable[[str, BoundedTransport], T], name: str = "") -> T:
    """One short question over HTTP, bounded in time and size; what goes wrong with it becomes an error of ours.

    `name`: the model that it is about. Raises ModelNotFound, BackendUnavailable, BackendTimeout, BackendError.
    """
    import httpx
    from ollama import ResponseError
    from pydantic import ValidationError

    from gardener.models.bounded_transport import BoundedTransport

    url = checked_url(url, "ollama.url")
    where = _where(url)
    # The client sends OLLAMA_API_KEY, which is for ollama.com, to whatever server it is told to ask.
    transport = BoundedTransport(url, MOST_SMALL_BYTES, drop=("Authorization",))
    try:
        return within(ANSWER_S, lambda: ask(url, transport), transport.shut)
    except ResponseError as error:
        said = " ".join(str(error.error).split())[:300]
        if name and error.status_code == 404:
            raise ModelNotFound(f"{where} has no model {name!r}.", next_step="gardener models list") from error
        raise BackendError(f"{where} answered {error.status_code}: {said}", next_step="gardener doctor") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise BackendTimeout(f"{where} did not answer within {ANSWER_S:g} s.", next_step="gardener doctor") from error
    except (httpx.HTTPError, httpx.InvalidURL, ConnectionError) as error:
        raise BackendUnavailable(
            f"Nothing answers at {url}."
            if isinstance(error, ConnectionError | httpx.ConnectError)
            else f"{where} does not answer: {type(error).__name__}.",
            next_step="ollama serve" if is_local(url) else "gardener config get ollama.url",
        ) from error
    except (ValidationError, ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        raise BackendError(f"{where} answered something that is not its API.", next_step="gardener doctor") from error


def _where(url: str) -> str:
    return f"Ollama at {url}"
