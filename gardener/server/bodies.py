"""The request bodies of /api and /v1. Unknown fields of /api are refused: a misspelt option must not be
ignored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=1_000)]


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def texts_in(value: object) -> Iterator[str]:
    """Every text in a parsed JSON value, the names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inside in value.items():
            yield from texts_in(name)
            yield from texts_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from texts_in(inside)


def cleaned(value: Any) -> Any:
    """The same JSON value with U+FFFD for every character that cannot be stored or sent on."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {cleaned(name): cleaned(inside) for name, inside in value.items()}
    return [cleaned(inside) for inside in value] if isinstance(value, list) else value


class Body(BaseModel):
    """JSON can write NUL and halves of surrogate pairs, which no file name, database or model takes: refused. So are
    values of another type, such as "9" or true for a number: what was meant is not guessed."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def storable(cls, value: object) -> object:
        if any(_UNSTORABLE.search(text) for text in texts_in(value)):
            raise ValueError("a text holds a NUL character or half of a surrogate pair")
        return value


class SearchBody(Body):
    """POST /api/search. Without `project` the active one is searched."""

    query: str = Field("", max_length=100_000, description="May be empty when `symbol` is given")
    project: Name | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="Default: search.limit")
    languages: list[Name] = Field(default_factory=list, max_length=64)
    path: str = Field("", max_length=4_096, description="Glob on paths relative to the project's root")
    symbol: str = Field("", max_length=1_000)
    no_tests: bool = False


class AskBody(Body):
    """POST /api/ask. The answer is written by a job; follow /api/jobs/JOB/events."""

    question: Text
    project: Name | None = None
    hits: Annotated[int, Field(ge=1, le=100)] | None = Field(None, description="Default: answer.hits")
    conversation: str | None = Field(
        "", max_length=100, description="Continue this conversation; empty: a new one; null: keep nothing"
    )


class ContinueBody(Body):
    """POST /api/continue. The last answer of the conversation goes on where it broke off, as a job."""

    conversation: Annotated[str, Field(min_length=1, max_length=100)]
    project: Name | None = None


class ProjectBody(Body):
    """POST /api/switch."""

    project: Name


class IndexBody(Body):
    """POST /api/index. Without `project` the active one is brought up to date."""

    project: Name | None = None
    rebuild: bool = False
    vectors: bool = Field(True, description="Also make the vectors, unless index.background_embedding is off")


class Empty(Body):
    """POST /api/link and /api/jobs/JOB/cancel take nothing."""


class ErrorDetails(BaseModel):
    """Superset of OpenAI's error and of `gardener ... --json`'s."""

    message: str
    type: str
    code: str
    param: str | None
    next_step: str
    exit_code: int


class ErrorAnswer(BaseModel):
    """What every route answers when it does not do what was asked."""

    error: ErrorDetails


# ---- OpenAI's forms: its clients send many fields, so unknown ones are let through and listed in the answer
# ----


class ForeignBody(BaseModel):
    """Pasted code and terminal output hold anything, so what cannot be stored is replaced, not refused."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def storable(cls, value: Any) -> Any:
        return cleaned(value)


class TextPart(ForeignBody):
    type: str
    text: str = ""


class ChatMessage(ForeignBody):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or [] if part.type in ("text", "input_text"))


Stop = Annotated[str, Field(min_length=1, max_length=500)]


class StreamOptions(ForeignBody):
    include_usage: bool = False


class ChatCompletionBody(ForeignBody):
    """POST /v1/chat/completions."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=2_000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | list[Stop] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None


class EmbeddingsBody(ForeignBody):
    """POST /v1/embeddings."""

    input: str | list[str]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
