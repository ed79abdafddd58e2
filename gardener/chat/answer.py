"""From a question to a checked answer: search, evidence, prompt, the backend's stream, proven citations.

Built from callables, so that it knows neither the index's store nor the state's.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gardener.chat.citations import (
    MAX_FILE_BYTES,
    ReadLines,
    citation_warnings,
    reader,
    renumber_markers,
    settle_markers,
    verify,
)
from gardener.chat.evidence import introductions_first, with_callers
from gardener.chat.followup import condense
from gardener.chat.generation import Generation, named
from gardener.chat.planning import Plan, Planner
from gardener.chat.prompt import Prompt, build_prompt
from gardener.chat.remembered import Remember, RememberedAnswer, recall
from gardener.chat.system_prompt import SystemPrompts
from gardener.errors import GardenerError, UsageError
from gardener.models.base import AdapterRef, ChatRequest, Evidence, Sampling
from gardener.models.problems import Failure
from gardener.models.questions import question_kind
from gardener.models.registry import AUTO, BackendRegistry, Choice
from gardener.models.relevance import judge, question_terms
from gardener.types import (
    Answer,
    AnswerEvent,
    ContextReceipt,
    IndexState,
    Message,
    ProjectContext,
    Retrieved,
    SearchHit,
    Usage,
)

MAX_ANSWER_TOKENS = 1024
DEFAULT_SAMPLING = Sampling()
CITES_NOTHING = "The answer cites nothing of the project."
_CANDIDATES = {"overview": 40, "list": 16}
"""A list wants more; an introduction is found by its file, which a search by words ranks anywhere."""
_MISSING_VECTORS = re.compile(r"(?i)\bvectors?\b")
_CUT_BY_SERVER = 0.5
"""A server that counts fewer than half of our tokens has cut the prompt; no estimate is that high."""


class SearchOutcome(Protocol):
    """What the answerer needs of a search result."""

    @property
    def hits(self) -> tuple[SearchHit, ...]: ...
    @property
    def index(self) -> IndexState: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


Search = Callable[[ProjectContext, str, int], SearchOutcome]
Callers = Callable[[ProjectContext, str], Sequence[SearchHit]]


@dataclass(frozen=True, slots=True)
class Found:
    """What the search has for one question."""

    question: str
    searched_for: str
    """The query, when it differs from the question."""
    hits: tuple[SearchHit, ...]
    evidence: tuple[Evidence, ...]
    index: IndexState
    notes: tuple[str, ...]
    weak: bool
    """Nothing that was found has to do with the question."""


class Answerer:
    """Answers questions about a project; holds no state between answers, safe in several threads."""

    def __init__(
        self,
        search: Search,
        callers: Callers,
        backends: BackendRegistry,
        *,
        order: Sequence[str] = (),
        default_backend: str = AUTO,
        stronger: str = "",
        budget_tokens: int = 6_000,
        max_tokens: int = MAX_ANSWER_TOKENS,
        temperature: float = 0.2,
        sampling: Sampling = DEFAULT_SAMPLING,
        redact: Callable[[str, str], str] | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
        read_lines: Callable[[str], ReadLines] | None = None,
        repository_map: Callable[[ProjectContext, int], str] = lambda context, tokens: "",
        conventions: Callable[[ProjectContext, int], str] = lambda context, characters: "",
        project_state: Callable[[ProjectContext], str] = lambda context: "",
        system_prompts: SystemPrompts | None = None,
        adapter: Callable[[ProjectContext], AdapterRef | None] = lambda context: None,
        remember: Remember = lambda context, question: iter(()),
    ) -> None:
        """`search(context, query, limit)` finds, `callers(context, symbol)` gives chunks that call a symbol.

        `order` and `default_backend` choose the backend where the project does not; `stronger` (BACKEND:MODEL, on
        this machine) is asked instead where the search found nothing that fits. `budget_tokens` bounds
        the prompt, `max_tokens` the answer; `sampling` is what the caller wants of it. `read_lines(root)`
        replaces how citations are read from the disk.
        `repository_map(context, tokens)` and `conventions(context, characters)` give what a model is shown of the
        whole project, "" for nothing; `system_prompts` keeps what comes of them while `project_state(context)` is the
        same. `adapter(context)` is the project's adapter, for backends that can use one; it may raise AdapterUnfit.
        `remember(context, question)` gives earlier answers to the same question, for when no model can answer.
        """
        self._search = search
        self._callers = callers
        self._backends = backends
        self._planner = Planner(
            backends,
            order=order,
            default_backend=default_backend,
            stronger=stronger,
            budget_tokens=budget_tokens,
            max_tokens=min(max_tokens, sampling.max_tokens or max_tokens),
            repository_map=repository_map,
            conventions=conventions,
            project_state=project_state,
            system_prompts=system_prompts or SystemPrompts(),
            adapter=adapter,
        )
        self._temperature = temperature if sampling.temperature is None else sampling.temperature
        self._sampling = sampling
        self._remember = remember
        self._read_lines = read_lines or (lambda root: reader(root, redact=redact, max_file_bytes=max_file_bytes))

    def answer(
        self,
        context: ProjectContext,
        question: str,
        history: Sequence[Message] = (),
        *,
        cancel: threading.Event,
        limit: int = 8,
    ) -> Iterator[AnswerEvent]:
        """Retrieved, then text as it comes, then exactly one Answer.

        When `cancel` is set the Answer has what was said until then and `complete=False`. Before Retrieved it
        may raise: UsageError for an empty or oversized question, ConfigError for an unknown backend, and what
        the search raises. After Retrieved it raises nothing that a backend does.
        """
        started = time.perf_counter()
        found = self.retrieve(context, question, history, limit)
        timings = {"search": _milliseconds(started)}
        plan = self.plan(context)
        notes: list[str] = []
        others = self._planner.best_first(context, plan, found.weak, notes)
        plan = next(others)
        prompt, request = self.request(context, plan, found, history)
        choice = plan.choice
        generation = Generation(
            choice.backend.name, choice.model_name, choice.degradation, choice.reason, started,
            warnings=notes, next_step=choice.next_step,
        )  # fmt: skip
        generation.generates = choice.backend.capabilities.generates
        generation.warnings += [*found.notes, *prompt.notes]
        if found.searched_for:
            generation.warnings.append(f"Searched for: {found.searched_for}")
        missing_vectors = [note for note in found.notes if _MISSING_VECTORS.search(note)]
        if missing_vectors and generation.degradation == "full":
            generation.degradation, generation.reason = "no enhancement", " ".join(missing_vectors)
        if plan.adapter_problem:
            generation.warnings.append(plan.adapter_problem)
            if generation.degradation == "full":
                generation.degradation, generation.reason = "no enhancement", plan.adapter_problem
        yield Retrieved(
            found.hits, prompt.receipt, found.index, choice.backend.name, generation.model, generation.generates
        )
        if generation.generates and found.weak:
            generation.warnings.append("The search found nothing that shares words with the question.")

        def instead(failure: Failure) -> tuple[Choice, ChatRequest] | None:
            nonlocal prompt
            for other in others:
                try:
                    prompt, asked = self.request(context, other, found, history)
                except GardenerError as error:  # a window too small for this prompt
                    generation.warnings.append(f"{named(other.choice)}: {error.message}")
                    continue
                return other.choice, asked
            return None

        def remembered() -> RememberedAnswer | None:
            if history or self._planner.wants_no_model(context):  # what it means depends on what was said before
                return None
            return recall(self._remember, context, question, self._read_lines(context.root))

        yield from generation.run(choice, self._backends.last_resort(), request, cancel, instead, remembered)
        timings["total"] = _milliseconds(started)
        yield self.settled(context, found, prompt, generation, timings)

    def retrieve(self, context: ProjectContext, question: str, history: Sequence[Message], limit: int) -> Found:
        """Searches for a question, or for what it means after `history`. Raises what the search raises, and
        UsageError for an empty question."""
        if not question.strip():
            raise UsageError("The question is empty.", next_step='gardener ask "how does it work?"')
        query = condense(question, history, context.name)
        kind = question_kind(question)
        outcome = self._search(context, query, max(limit, _CANDIDATES.get(kind, 0)))
        hits = introductions_first(outcome.hits)[:limit] if kind == "overview" else outcome.hits
        return Found(
            question=question,
            searched_for=query if query != question else "",
            hits=hits,
            evidence=tuple(with_callers(question, query, hits, lambda symbol: self._callers(context, symbol))),
            index=outcome.index,
            notes=outcome.notes,
            weak=not judge(question_terms(query), hits).relevant,
        )

    def request(
        self, context: ProjectContext, plan: Plan, found: Found, history: Sequence[Message], reserve_tokens: int = 0
    ) -> tuple[Prompt, ChatRequest]:
        """The prompt in the planned model's own measure; `reserve_tokens` of its budget stay free.

        Raises UsageError when the question does not fit.
        """
        choice = plan.choice
        prompt = build_prompt(
            found.question,
            found.evidence,
            history,
            system=plan.system,
            count=lambda text: choice.backend.count_tokens(text, choice.model),
            budget_tokens=plan.budget_tokens - reserve_tokens,
            searched_for=found.searched_for,
        )
        return prompt, ChatRequest(
            messages=prompt.messages,
            question=found.question,
            evidence=prompt.evidence,
            max_tokens=plan.max_tokens,
            temperature=self._temperature,
            seed=self._sampling.seed,
            stop=self._sampling.stop,
            model=choice.model,
            project=context.name,
            searched_for=found.searched_for,
            scope=context.id,
            adapter=plan.adapter,
        )

    def settled(
        self, context: ProjectContext, found: Found, prompt: Prompt, generation: Generation, timings: dict[str, float]
    ) -> Answer:
        """The answer with its markers settled and its citations checked against the disk."""
        if kept := generation.remembered:
            marked = renumber_markers(generation.text, {citation.n: citation.n for citation in kept.citations})
            citations = kept.citations
        else:
            marked = settle_markers(generation.text, len(prompt.sources))
            citations = verify(marked.cited, prompt.sources, self._read_lines(context.root))
        generation.warnings += citation_warnings(marked.unknown, citations)
        if generation.generates and generation.text.strip() and not citations:
            generation.warnings.append(CITES_NOTHING)
        receipt, cut = _as_the_server_counted(prompt.receipt, generation.usage)
        generation.warnings += cut
        if generation.first_token_ms is not None:
            timings["first_token"] = generation.first_token_ms
        spoken = generation.text[: generation.model_characters]
        return Answer(
            text=marked.text,
            citations=citations,
            backend=generation.backend,
            model=generation.model,
            degradation=generation.degradation,
            degradation_reason=generation.reason,
            degradation_next_step=generation.next_step,
            usage=generation.counted(prompt.receipt.prompt_tokens),
            timings_ms=timings,
            project=context.name,
            receipt=receipt,
            index=found.index,
            complete=generation.complete,
            error=generation.error,
            warnings=tuple(generation.warnings),
            finish=generation.finish,
            problem=generation.problem,
            generates=generation.generates,
            model_characters=len(settle_markers(spoken, len(prompt.sources)).text),
        )

    def read_lines(self, context: ProjectContext) -> ReadLines:
        """How citations of this project are read from the disk."""
        return self._read_lines(context.root)

    def plan(self, context: ProjectContext) -> Plan:
        """See Planner.plan."""
        return self._planner.plan(context)


def _as_the_server_counted(receipt: ContextReceipt, usage: Usage) -> tuple[ContextReceipt, list[str]]:
    """The receipt with the server's own count, and a warning when that shows that the prompt was cut."""
    if usage.estimated:
        return receipt, []
    counted = replace(receipt, server_prompt_tokens=usage.prompt_tokens)
    if not 0 < usage.prompt_tokens < receipt.prompt_tokens * _CUT_BY_SERVER:
        return counted, []
    return counted, [
        f"The server read {usage.prompt_tokens:,} tokens of about {receipt.prompt_tokens:,} sent: "
        "it has probably cut the prompt."
    ]


def _milliseconds(since: float) -> float:
    return (time.perf_counter() - since) * 1000
