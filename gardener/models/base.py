"""What an embedder and a chat backend must be. The rest of Gardener knows them only by these protocols.

A chat backend streams typed events for one request and ends with exactly one Done. It may use the messages
(a language model) or the evidence (the extractive backend); it gets both, so the caller need not know which.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from gardener.types import BackendEvent, Message, SearchHit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors, deterministically: a fingerprint and a text determine the vector."""

    @property
    def name(self) -> str:
        """What a person would call it, for example "all-MiniLM-L6-v2"."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would (weights, quantisation, pooling, truncation). Safe as a file
        name.
        """
        ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimensions), float32, each row of L2 norm 1. Raises EmbedderUnavailable."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same for questions, which some models want marked in another way than what they are to find."""
        ...

    def close(self) -> None:
        """Frees the model. Calling it twice is allowed; embedding after it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """One definition that search found, and the chunks that call it."""

    hit: SearchHit
    callers: tuple[SearchHit, ...] = ()


def numbered_sources(evidence: Sequence[Evidence]) -> tuple[SearchHit, ...]:
    """The chunks that an answer may cite; number n is the one at index n - 1.

    The hits come first in their order, then the callers that are not hits themselves. Prompt, extractive
    answer and citation check all number by this one function, so [3] means the same lines to all of them.
    """
    sources: dict[tuple[str, int, int], SearchHit] = {}
    for item in evidence:
        sources.setdefault((item.hit.path, item.hit.start_line, item.hit.end_line), item.hit)
    for item in evidence:
        for caller in item.callers:
            sources.setdefault((caller.path, caller.start_line, caller.end_line), caller)
    return tuple(sources.values())


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A project's adapter on the disk, as a backend needs it. Made by `adapters.AdapterStore`."""

    name: str
    folder: str
    """Holds adapters.safetensors and adapter_config.json in mlx-lm's form."""
    fingerprint: str
    """Changes with every byte of the two files."""
    base: str
    """`model_folder.ModelFolder.identity` of the model that it was trained on."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Deadlines of one generation, in seconds."""

    connect_s: float = 5.0
    first_token_s: float = 120.0
    """Until the first token: the server may have to load the model and read the prompt."""
    idle_s: float = 60.0
    """Longest silence after that."""
    total_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a caller of the API asks of the generation; None leaves it as it is."""

    max_tokens: int | None = None
    """Never more than an answer may have anyway."""
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question in both forms: counted messages for a model, evidence for the extractive backend."""

    messages: tuple[Message, ...]
    question: str
    """The user's own words, unchanged."""
    evidence: tuple[Evidence, ...] = ()
    max_tokens: int = 1024
    """Most tokens to generate."""
    temperature: float = 0.2
    """0.0 is greedy."""
    seed: int | None = None
    """For backends that can draw the same tokens again: Ollama and OpenAI-compatible servers."""
    stop: tuple[str, ...] = ()
    """Strings that end the generation; they are not part of the text."""
    model: str = ""
    """Name within the backend; empty means the backend's default."""
    project: str = ""
    """The project's name, for sentences that mention it."""
    searched_for: str = ""
    """The retrieval query when it differs from the question (a follow-up joined with what it refers to)."""
    scope: str = ""
    """The project's id. What a backend keeps of a request (a prompt cache) is used for the same scope only."""
    adapter: AdapterRef | None = None
    """Given only to backends whose capabilities say `adapters`."""
    json_schema: str = ""
    """A JSON schema that the text must meet; given only to backends whose capabilities say `structured`."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a backend can answer now; if not, why, and the command that helps."""

    ok: bool
    reason: str = ""
    next_step: str = ""
    absent: bool = False
    """Nothing is there at all, so that whoever has not set it up need not hear of it."""
    code: str = ""
    """Of the GardenerError that says so; "" when none did."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the callers of a backend need to know about it. A new field must default to "cannot"."""

    generates: bool = True
    """A language model writes the text. False: it is quoted from the index ("search only")."""
    thinking: bool = False
    """May stream ThinkingDelta events."""
    leaves_machine: bool = False
    """Questions and code are sent to another machine."""
    adapters: bool = False
    """Can swap a project's adapter onto a resident base model."""
    structured: bool = False
    """Can hold the text to a JSON schema."""


class TokenCount(NamedTuple):
    tokens: int
    estimated: bool
    """True when no tokenizer of the model counted."""
    counted_by: str
    """The tokenizer's name, or "estimate"."""


@runtime_checkable
class ChatBackend(Protocol):
    """A source of answers. Safe to call from several threads; a backend that can run one generation at a time
    queues the others itself."""

    @property
    def name(self) -> str:
        """The name it is registered under."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def readiness(self, model: str = "") -> Readiness:
        """Whether `model` (empty: the default) can answer now.

        Takes a second at most, loads no weights and never raises.
        """
        ...

    def models(self) -> tuple[str, ...]:
        """What `ChatRequest.model` may name, the default first. Raises BackendError when it cannot tell."""
        ...

    def context_tokens(self, model: str = "") -> int:
        """Tokens that prompt and answer may have together. Raises ModelNotFound."""
        ...

    def count_tokens(self, text: str, model: str = "") -> TokenCount:
        """Tokens of `text` alone, without the chat template. An estimate errs towards too many."""
        ...

    def stream(self, request: ChatRequest, cancel: threading.Event) -> Iterator[BackendEvent]:
        """Text and thinking as they are made, then exactly one Done, which is last.

        Before the first event it may raise BackendError or ModelError (from the call or the first `next`).
        After the first event it raises nothing: a failure is Done(finish="error", error=...) and the text so
        far stands. When `cancel` is set it stops making text soon and ends with Done(finish="cancelled").
        Closing the iterator early also ends the work behind it.
        """
        ...

    def close(self) -> None:
        """Frees what it holds. Calling it twice is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a project needs in memory before its first question."""

    scope: str
    """The project's id."""
    prefix: tuple[Message, ...]
    """The messages that every request of the project begins with: the system prompt."""
    model: str = ""
    adapter: AdapterRef | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `Resident.prepare` did. Times in seconds."""

    state: Literal["ready", "needs load", "nothing resident"]
    """"needs load": another base is resident, or none, and loading was not allowed."""
    adapter_swapped: bool = False
    prefix: Literal["resident", "restored", "read", "none"] = "none"
    """Where the prefix's state came from: memory, the disk, or the model just read it."""
    prefix_tokens: int = 0
    took_s: float = 0.0
    detail: str = ""
    """For the user, when something is not as wished: which adapter does not fit, what a load would cost."""


@dataclass(frozen=True, slots=True)
class ResidentState:
    """What a backend holds in memory, and counters since it was made that only grow."""

    model: str = ""
    """Name of the resident base; "" for none."""
    identity: str = ""
    """Changes whenever the weights in memory are other ones; the same object reloaded is another identity, too."""
    weight_bytes: int = 0
    cache_bytes: int = 0
    """Prompt caches in memory."""
    adapter: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    """base_loads, weight_bytes_read, adapter_swaps, prefixes_read, prefixes_restored, prefixes_saved, reloads (that
    nobody asked for), option_changes …: whatever the backend counts, by its metric name."""


@runtime_checkable
class Resident(Protocol):
    """A chat backend that keeps a model in memory. Safe to call from several threads."""

    def prepare(self, wanted: Preparation, *, may_load: bool, cancel: threading.Event) -> Prepared:
        """Adapter on the resident base, prefix read or restored. Never touches the base unless `may_load`.

        Raises AdapterUnfit or ModelError; what was resident stays whole then.
        """
        ...

    def resident(self) -> ResidentState:
        """Never waits for a generation that is running."""
        ...

    def release_caches(self) -> int:
        """Frees prompt caches when nothing is being generated; returns the bytes given back (0 when it was busy)."""
        ...


# A word of up to five letters, a digit, a mark, a line break with its indentation, a run of blanks (a single
# blank belongs to the word after it), any other character. The byte-pair vocabularies of current models need
# fewer pieces than this for code and prose; what does not fit is left out, so too many is the safe side.
_PIECE = re.compile(r"[A-Za-z]{1,5}|[0-9]|[ \t]*\n\s*|[ \t]{2,}|[\x21-\x7e]|[^\x00-\x7f]")


def estimate_tokens(text: str) -> TokenCount:
    """Tokens of `text` when no tokenizer is at hand; deliberately on the high side."""
    pieces = sum(1 for _ in _PIECE.finditer(text))
    if not text.isascii():
        # A character outside the vocabulary falls apart into its UTF-8 bytes, of which two or three may
        # merge.
        pieces += sum(3 if character > "\uffff" else 1 for character in text if character > "\u07ff")
    return TokenCount(pieces, True, "estimate")
