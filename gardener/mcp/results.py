"""What the MCP tools give back: one model per tool, from which the published output schemas are made.

Lines are 1-based and inclusive, paths relative to the project's root with "/". Texts of the repository are bounded, and
whatever acts on a screen or hides from one (control, bidirectional, invisible characters) stands there as an escape.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

ChosenBy = Literal["argument", "option", "workspace", "working-directory", "active"]


class IndexFacts(BaseModel):
    """How far the index has got and how fresh it is."""

    fresh: bool = Field(description="The last comparison with the disk found nothing to do")
    changed_files: int = Field(description="Files that differ from the index now")
    files: int
    chunks: int
    embedded_fraction: float = Field(description="Share of chunks with a vector, 0 to 1; words are searched anyway")
    head: str | None = Field(description="Commit of the index; null outside git")
    current_head: str | None = Field(description="Commit that is checked out now")
    updated_at: float = Field(description="Unix time of the index's last change; 0 when there is none")
    watching: str = Field(description="How the running app keeps the index fresh; empty when it does not")


class OfProject(BaseModel):
    """Every result says which project it is about, why that one, and how fresh its index is."""

    project: str
    root: str = Field(description="Absolute path of the project's folder")
    chosen_by: ChosenBy = Field(description="Why this project: the argument, the client's folder, or the active one")
    note: str = Field(description="What to know about that choice; empty when nothing")


class Indexed(OfProject):
    index: IndexFacts


class Hit(BaseModel):
    path: str
    start_line: int
    end_line: int
    symbol: str = Field(description="Qualified name of the definition; empty for other text")
    kind: str
    language: str
    score: float
    text: str
    text_truncated: bool = Field(description="The text is cut; read_range has the rest")


class SearchOutput(Indexed):
    query: str
    hits: list[Hit] = Field(description="Best first")
    notes: list[str] = Field(description="What to know about how they were found")
    truncated: bool = Field(description="Some text was cut to stay within the limit on characters")


class SourceOutput(OfProject):
    path: str
    start_line: int
    end_line: int = Field(description="The last line given; start_line - 1 when there is none")
    total_lines: int
    language: str
    text: str = Field(description="The lines as they are on the disk now, secrets left out")
    truncated: bool = Field(description="Fewer lines than asked for, or a cut line, because of the limit on characters")


class Symbol(BaseModel):
    symbol: str = Field(description="Qualified name")
    kind: str
    language: str
    path: str
    start_line: int
    end_line: int
    signature: str


class SymbolsOutput(Indexed):
    symbols: list[Symbol] = Field(description="Best match first")
    more: bool = Field(description="There are more than `limit`")


Resolution = Annotated[str, Field(description="How the place was tied to the definition, from sure to a guess by name")]
Candidates = Annotated[int, Field(description="How many definitions the place may mean; 1 is sure")]


class Caller(BaseModel):
    path: str
    line: int
    caller: str = Field(description="The definition around the place; empty at the top level of a file")
    callee: str
    resolution: Resolution
    candidates: Candidates
    relation: str = Field(description="call, or reference where it is only named")


class CallersOutput(Indexed):
    symbol: str
    definitions: list[Symbol] = Field(description="What the name stands for")
    callers: list[Caller]
    unattributed: int = Field(description="Further places with that name on an object of unknown type")
    more: bool


class Callee(BaseModel):
    callee: str
    path: str = Field(description="Where the callee is defined")
    start_line: int
    line: int = Field(description="Where in the symbol it is called")
    resolution: Resolution
    candidates: Candidates
    relation: str


class CalleesOutput(Indexed):
    symbol: str
    callees: list[Callee] = Field(description="Only what the project itself defines")
    more: bool


class MapOutput(Indexed):
    focus: str
    text: str = Field(description="Files and definitions, the most important first")
    tokens: int
    definitions: int = Field(description="Of the whole project")
    files: int
    truncated: bool


class AnswerCitation(BaseModel):
    n: int = Field(description="Stands as [n] in the answer")
    path: str
    start_line: int
    end_line: int
    symbol: str
    state: str = Field(description="current, changed or missing: compared with the disk when the answer was made")


class AskOutput(Indexed):
    answer: str
    citations: list[AnswerCitation]
    complete: bool
    error: str = Field(description="Why the answer is incomplete; empty when it is whole")
    backend: str
    model: str
    degradation: str = Field(description="full, or at which lower level the answer was made")
    degradation_reason: str
    warnings: list[str]
    truncated: bool


class ProjectEntry(BaseModel):
    project: str
    root: str
    active: bool
    indexed: bool


class ProjectsOutput(BaseModel):
    projects: list[ProjectEntry] = Field(description="The active one first, then those used last")
    default: str = Field(description="The project that a tool takes when it is given none; empty when there is none")
    chosen_by: ChosenBy | None


class IndexStateOutput(Indexed):
    pass


class SwitchOutput(OfProject):
    before: str = Field(description="The project that was active; empty when none was")
