"""The request bodies of /api and /v1. Unknown fields of /api are refused: a misspelt option must not be
ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Name = Annotated[str, Field(min_length=1, max_length=1_000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


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


# ---- OpenAI's forms: its clients send many fields, so unknown ones are let through and listed in the answer
# ----


class ForeignBody(BaseModel):
    model_config = ConfigDict(extra="allow")


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


class StreamOptions(ForeignBody):
    include_usage: bool = False


class ChatCompletionBody(ForeignBody):
    """POST /v1/chat/completions."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=2_000)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None


class EmbeddingsBody(ForeignBody):
    """POST /v1/embeddings."""

    input: str | list[str]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
