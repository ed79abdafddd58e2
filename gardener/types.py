"""The shared nouns. One noun has one home, and this is it; every value here is immutable.

Lines are 1-based and inclusive everywhere. Paths inside a project are POSIX strings relative to its root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gardener.project_context import ProjectContext as ProjectContext

ChatRole = Literal["system", "user", "assistant"]
CitationState = Literal["current", "changed", "missing"]
DegradationLevel = Literal["full", "no enhancement", "small or cached", "search only"]
"""How far an answer is from what was configured; shown in the answer, the page, `gardener status` and /metrics."""
HitSource = Literal["lexical", "vector", "symbol"]
Finish = Literal["stop", "length", "cancelled", "error"]
"""Why a generation ended."""
ProblemKind = Literal[
    "", "network", "rate limit", "validation", "model failure", "timeout", "cancelled", "memory", "unknown"
]
"""What kind of thing went wrong with a generation; "" when nothing did. Each kind has one sentence of advice."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole lines of one file. The chunks of a file cover every line that holds something
    exactly once, in order; none is of whitespace alone."""

    path: str
    start_line: int
    end_line: int
    language: str
    """Lower-case name such as "python", "typescript", "markdown"; "text" when unknown."""
    kind: str
    """function, method, class, interface, struct, enum, trait, type, constant, module, section, rule, table, block or
    text."""
    symbol: str
    """Qualified with "." inside the file ("Model.save"); a section's heading path for prose; "" when it has none."""
    signature: str
    """The declaration in one line, without its body; "" when there is none."""
    docstring: str
    """The documentation attached to the symbol, without comment markers; "" when there is none."""
    parents: tuple[str, ...]
    """Enclosing symbols, outermost first."""
    text: str
    """The exact lines, without the final newline."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One search result: a chunk's place and text, its score, and which retrievers found it."""

    project: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str
    language: str
    signature: str
    docstring: str
    text: str
    score: float
    """Comparable within one result list only; larger is better."""
    sources: tuple[HitSource, ...]
    file_sha256: str
    """SHA-256 of the file's bytes when it was indexed; tells whether the place still says what the hit says."""
    chunk_hash: str = ""
    """Content address of the chunk's embedding text."""
    similarity: float | None = None
    """Cosine with the question, -1 to 1; None where there is no vector."""

    def as_json(self) -> dict[str, object]:
        """The hit as `gardener search --json` prints it."""
        return {
            "path": self.path,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "symbol": self.symbol,
            "kind": self.kind,
            "language": self.language,
            "score": round(self.score, 6),
            "text": self.text,
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far an index has got and how fresh it is: shown with every result, never merely asserted."""

    head: str | None
    """Commit that was checked out when the index was last brought up to date; None outside git."""
    fresh: bool
    """Whether the last comparison with the disk found nothing to do."""
    embedded_fraction: float
    """Share of distinct chunk contents that have a vector, 0.0 to 1.0."""
    files: int = 0
    chunks: int = 0
    current_head: str | None = None
    changed_files: int = 0
    """Files that differ from the index right now: added, changed and deleted."""
    updated_at: float = 0.0
    """Unix time in seconds of the last commit of the index; 0.0 when there is none."""
    watching: str = ""
    """How the running app keeps it fresh ("watching 12 folders", "polling every 10 s: …"); "" when none does."""

    def as_json(self) -> dict[str, object]:
        return {
            "head": self.head,
            "fresh": self.fresh,
            "embedded_fraction": round(self.embedded_fraction, 4),
            "files": self.files,
            "chunks": self.chunks,
            "current_head": self.current_head,
            "changed_files": self.changed_files,
            "updated_at": self.updated_at,
            "watching": self.watching,
        }


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation, as a chat backend sees it."""

    role: ChatRole
    content: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A numbered reference from an answer to lines on the disk, with the proof that they say what was cited."""

    n: int
    path: str
    start_line: int
    end_line: int
    sha256: str
    """SHA-256 of the cited lines (UTF-8, newline-joined) as they were retrieved, after redaction."""
    state: CitationState
    symbol: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "n": self.n,
            "path": self.path,
            "start_line": self.start_line,
            "end_line": self.end_line,
            "sha256": self.sha256,
            "state": self.state,
            "symbol": self.symbol,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation. `estimated` says that no tokenizer of the model counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = True
    cached_tokens: int = 0
    """Of the prompt, those that came out of a cache and were not read again."""
    load_s: float = 0.0
    """Seconds that went into loading the base model for this generation; 0.0 when it was resident."""
    prompt_s: float = 0.0
    """Seconds of reading the prompt, as the backend says; 0.0 when it does not say."""
    completion_s: float = 0.0
    """Seconds of writing the answer, likewise."""
    prefix: Literal["", "resident", "restored", "read"] = ""
    """Where the state of the system prompt came from: memory, the disk, or it was read anew; "" when not told."""


# ---- What a chat backend streams -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """Always the last event of a stream. `finish` is why it ended; "error" keeps the partial text."""

    finish: Finish
    usage: Usage = Usage()
    error: str = ""
    problem: ProblemKind = ""
    """Of which kind `error` is."""


BackendEvent = TextDelta | ThinkingDelta | Done


# ---- What an answer streams: the backend's events, after what retrieval found -----------------------------


@dataclass(frozen=True, slots=True)
class ContextReceipt:
    """What was retrieved, what of it was sent to the model, and what it cost in tokens."""

    retrieved: tuple[dict[str, object], ...]
    """One entry per hit: path, start_line, end_line, symbol, score, sources, sent (bool), tokens (int)."""
    prompt_tokens: int
    budget_tokens: int
    counted_by: str
    """Name of the tokenizer that counted, or "estimate"."""
    server_prompt_tokens: int | None = None
    """The server's own count, when it gives one; a smaller number than ours means that the prompt was cut."""
    map_tokens: int = 0
    """Of the repository map that was sent; 0 when none was."""
    conventions_tokens: int = 0
    """Of the project's own README and rules for contributors that were sent; 0 when none were."""

    def as_json(self) -> dict[str, object]:
        return {
            "retrieved": list(self.retrieved),
            "map_tokens": self.map_tokens,
            "conventions_tokens": self.conventions_tokens,
            "prompt_tokens": self.prompt_tokens,
            "budget_tokens": self.budget_tokens,
            "counted_by": self.counted_by,
            "server_prompt_tokens": self.server_prompt_tokens,
        }


@dataclass(frozen=True, slots=True)
class Retrieved:
    """First event of an answer: the search is done."""

    hits: tuple[SearchHit, ...]
    receipt: ContextReceipt
    index: IndexState
    backend: str = ""
    """Who is about to answer."""
    model: str = ""
    generates: bool = False
    """Whether that is a language model."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Last event of an answer, complete and checked. `complete` is False when the text was cut short."""

    text: str
    citations: tuple[Citation, ...]
    backend: str
    model: str
    degradation: DegradationLevel
    degradation_reason: str
    usage: Usage
    timings_ms: dict[str, float]
    project: str
    receipt: ContextReceipt
    index: IndexState
    conversation_id: str = ""
    message_id: int = 0
    complete: bool = True
    error: str = ""
    warnings: tuple[str, ...] = field(default=())
    finish: Finish = "stop"
    problem: ProblemKind = ""
    """Of which kind the failure was, also when another backend stood in for the one that failed."""
    generates: bool = False
    """Whether a language model wrote the text, or as much of it as was written before it failed."""
    model_characters: int = 0
    """Where in `text` the model's own words end, when it broke off and something of ours follows; else 0."""
    degradation_next_step: str = ""
    """The command that helps against `degradation_reason`, where there is one."""

    def as_json(self) -> dict[str, object]:
        """The answer as `gardener ask --json` prints it."""
        return {
            "answer": self.text,
            "citations": [citation.as_json() for citation in self.citations],
            "backend": self.backend,
            "model": self.model,
            "degradation": self.degradation,
            "degradation_reason": self.degradation_reason,
            "degradation_next_step": self.degradation_next_step,
            "usage": {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "total_tokens": self.usage.prompt_tokens + self.usage.completion_tokens,
                "estimated": self.usage.estimated,
                "cached_tokens": self.usage.cached_tokens,
            },
            "timings_ms": {name: round(value, 2) for name, value in self.timings_ms.items()},
            "project": self.project,
            "complete": self.complete,
            "error": self.error,
            "finish": self.finish,
            "problem": self.problem,
            "warnings": list(self.warnings),
            "receipt": self.receipt.as_json(),
            "index": self.index.as_json(),
            "conversation": self.conversation_id,
        }


AnswerEvent = Retrieved | TextDelta | ThinkingDelta | Answer
