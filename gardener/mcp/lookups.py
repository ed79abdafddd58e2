"""What each tool does, without the protocol: a chosen project and plain arguments in, a result model out. Blocking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gardener.errors import GardenerError, NotFoundError, PathNotFound, UsageError
from gardener.mcp.bounds import HIT_CHARACTERS, Budget, label, shown
from gardener.mcp.results import (
    AnswerCitation,
    AskOutput,
    Callee,
    CalleesOutput,
    Caller,
    CallersOutput,
    Hit,
    IndexFacts,
    IndexStateOutput,
    MapOutput,
    ProjectEntry,
    ProjectsOutput,
    SearchOutput,
    SourceOutput,
    SwitchOutput,
    Symbol,
    SymbolsOutput,
)

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.index.search import SearchRequest
    from gardener.index.symbol_store import Definition
    from gardener.mcp.choice import Chosen
    from gardener.mcp.engine import Engine
    from gardener.types import ProjectContext

_NO_LINES = {
    "secret-file": "it is a kind of file that holds secrets, and those are never shown",
    "binary": "it is not text",
    "too-large": "it is larger than index.max_file_bytes",
}


class Lookups:
    """Thread-safe. Every method may raise GardenerError."""

    def __init__(self, gardener: Gardener, engine: Engine) -> None:
        self.gardener = gardener
        self.engine = engine

    def search(self, chosen: Chosen, request: SearchRequest) -> SearchOutput:
        if not request.query.strip() and not request.symbol:
            raise UsageError("The query is empty.", next_step="give `query` or `symbol`")
        found = self.engine.search(chosen.context, request)
        budget = self._budget()
        hits = [_hit(hit, budget) for hit in found["hits"]]
        return SearchOutput(
            **_head(chosen),
            index=IndexFacts(**found["index"]),
            query=shown(request.query)[:1_000],
            hits=hits,
            notes=[label(note) for note in found.get("notes", ())],
            truncated=budget.cut,
        )

    def source(self, chosen: Chosen, path: str, start_line: int, end_line: int) -> SourceOutput:
        if end_line < start_line:
            raise UsageError(f"Line {end_line} is before line {start_line}.", next_step="give end_line >= start_line")
        path = _inside(chosen.context.root, path)
        view = self.gardener.source(chosen.context, path, start_line, end_line)
        if not view.exists:
            why = _NO_LINES.get(view.reason, view.reason)
            raise PathNotFound(
                f"{path} of '{chosen.context.name}' cannot be read: {why}.",
                next_step="search for it, or check the path",
            )
        budget = self._budget()
        lines = budget.take_lines(list(view.lines))
        return SourceOutput(
            **_head(chosen),
            path=shown(view.path),
            start_line=view.start_line,
            end_line=view.start_line + len(lines) - 1,
            total_lines=view.total_lines,
            language=view.language,
            text="\n".join(lines),
            truncated=budget.cut,
        )

    def symbols(self, chosen: Chosen, pattern: str, kind: str, path: str, limit: int) -> SymbolsOutput:
        found = self.gardener.symbols(chosen.context).search(pattern, kind=kind, path=path, limit=limit + 1)
        return SymbolsOutput(
            **self._indexed(chosen), symbols=[_symbol(one) for one in found[:limit]], more=len(found) > limit
        )

    def callers(self, chosen: Chosen, symbol: str, limit: int) -> CallersOutput:
        found = self.gardener.symbols(chosen.context).callers(symbol)
        return CallersOutput(
            **self._indexed(chosen),
            symbol=shown(symbol),
            definitions=[_symbol(one) for one in found.definitions[:limit]],
            callers=[
                Caller(
                    path=shown(edge.path),
                    line=edge.line,
                    caller=label(edge.caller.qualified) if edge.caller else "",
                    callee=label(edge.callee.qualified),
                    resolution=edge.resolution,
                    candidates=edge.candidates,
                    relation="call" if edge.called else "reference",
                )
                for edge in found.edges[:limit]
            ],
            unattributed=found.unattributed,
            more=len(found.edges) > limit,
        )

    def callees(self, chosen: Chosen, symbol: str, limit: int) -> CalleesOutput:
        found = self.gardener.symbols(chosen.context).callees(symbol)
        return CalleesOutput(
            **self._indexed(chosen),
            symbol=shown(symbol),
            callees=[
                Callee(
                    callee=label(edge.callee.qualified),
                    path=shown(edge.callee.path),
                    start_line=edge.callee.start_line,
                    line=edge.line,
                    resolution=edge.resolution,
                    candidates=edge.candidates,
                    relation="call" if edge.called else "reference",
                )
                for edge in found[:limit]
            ],
            more=len(found) > limit,
        )

    def repository_map(self, chosen: Chosen, tokens: int, focus: str) -> MapOutput:
        drawn = self.gardener.repository_map(chosen.context, tokens, focus)
        budget = self._budget()
        text, cut = budget.take(drawn.text)
        return MapOutput(
            **self._indexed(chosen),
            focus=shown(focus),
            text=text,
            tokens=drawn.tokens,
            definitions=drawn.definitions,
            files=drawn.files,
            truncated=cut,
        )

    def answer(self, chosen: Chosen, said: dict[str, Any]) -> AskOutput:
        """The result of an answer from its last event."""
        budget = self._budget()
        text, cut = budget.take(said["answer"])
        return AskOutput(
            **_head(chosen),
            index=IndexFacts(**said["index"]),
            answer=text,
            citations=[
                AnswerCitation(
                    n=cited["n"],
                    path=shown(cited["path"]),
                    start_line=cited["start_line"],
                    end_line=cited["end_line"],
                    symbol=label(cited["symbol"]),
                    state=cited["state"],
                )
                for cited in said["citations"]
            ],
            complete=said["complete"],
            error=label(said["error"]),
            backend=said["backend"],
            model=label(said["model"]),
            degradation=said["degradation"],
            degradation_reason=label(said["degradation_reason"]),
            warnings=[label(warning) for warning in said["warnings"]],
            truncated=cut,
        )

    def projects(self, chosen: Chosen | None) -> ProjectsOutput:
        active = self.gardener.registry.active()
        return ProjectsOutput(
            projects=[
                ProjectEntry(
                    project=context.name,
                    root=shown(context.root),
                    active=active is not None and active.id == context.id,
                    indexed=_is_indexed(context),
                )
                for context in self.gardener.projects_by_use()
            ],
            default=chosen.context.name if chosen else "",
            chosen_by=chosen.by if chosen else None,
        )

    def index_state(self, chosen: Chosen) -> IndexStateOutput:
        if not _is_indexed(chosen.context):
            raise NotFoundError(
                f"'{chosen.context.name}' has no index yet.",
                next_step=f'gardener index --project "{chosen.context.name}"',
            )
        return IndexStateOutput(**self._indexed(chosen))

    def switch(self, chosen: Chosen) -> SwitchOutput:
        before = self.gardener.registry.active()
        self.gardener.switch(chosen.context.id)
        return SwitchOutput(**_head(chosen), before=before.name if before else "")

    def _indexed(self, chosen: Chosen) -> dict[str, Any]:
        state = self.gardener.index_state(chosen.context)
        return {**_head(chosen), "index": IndexFacts.model_validate(state.as_json())}

    def _budget(self) -> Budget:
        return Budget(self.gardener.settings.integer("mcp.result_characters"))


def _head(chosen: Chosen) -> dict[str, Any]:
    return {
        "project": chosen.context.name,
        "root": shown(chosen.context.root),
        "chosen_by": chosen.by,
        "note": shown(chosen.note),
    }


def _hit(hit: dict[str, Any], budget: Budget) -> Hit:
    text, cut = budget.take(hit["text"], HIT_CHARACTERS)
    return Hit(
        path=shown(hit["path"]),
        start_line=hit["start_line"],
        end_line=hit["end_line"],
        symbol=label(hit["symbol"]),
        kind=hit["kind"],
        language=hit["language"],
        score=hit["score"],
        text=text,
        text_truncated=cut,
    )


def _symbol(one: Definition) -> Symbol:
    return Symbol(
        symbol=label(one.qualified),
        kind=one.kind,
        language=one.language,
        path=shown(one.path),
        start_line=one.start_line,
        end_line=one.end_line,
        signature=label(one.signature),
    )


def _inside(root: str, path: str) -> str:
    """The path relative to the root, for clients that give whole paths or "./"; what leads elsewhere stays as it is and
    is refused by the reader."""
    path = path.removeprefix("./")
    if os.path.isabs(path) and path.startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")) + 1 :]
    return path


def _is_indexed(context: ProjectContext) -> bool:
    """Whether there is something to search; an index that cannot be read is there, and says so when it is used."""
    from gardener.index.facts import summary
    from gardener.paths import index_directory

    try:
        return bool(summary(index_directory(context.home)).get("updated_at"))
    except GardenerError:
        return True
