"""Who answers a question of a project, and what every prompt of it begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gardener.chat.generation import QUOTED_ANSWER_TOKENS
from gardener.chat.system_prompt import CONVENTIONS_SHARE, MAP_SHARE, SystemPrompt, SystemPrompts, system_prompt
from gardener.errors import GardenerError
from gardener.models.base import AdapterRef, TokenCount
from gardener.models.extractive import EXTRACTIVE
from gardener.models.registry import AUTO, BackendRegistry, Choice, PassedOver
from gardener.types import ProjectContext


@dataclass(frozen=True, slots=True)
class Plan:
    """Who answers, and what every prompt begins with."""

    choice: Choice
    system: SystemPrompt
    budget_tokens: int
    max_tokens: int
    adapter: AdapterRef | None = None
    adapter_problem: str = ""
    """Why the project's adapter is not used; "" when it is, or when there is none."""


class Planner:
    """Chooses backends; the arguments are those of Answerer. Safe in several threads."""

    def __init__(
        self,
        backends: BackendRegistry,
        *,
        order: Sequence[str],
        default_backend: str,
        stronger: str,
        budget_tokens: int,
        max_tokens: int,
        repository_map: Callable[[ProjectContext, int], str],
        conventions: Callable[[ProjectContext, int], str],
        project_state: Callable[[ProjectContext], str],
        system_prompts: SystemPrompts,
        adapter: Callable[[ProjectContext], AdapterRef | None],
    ) -> None:
        self._backends = backends
        self._order = tuple(order)
        self._default_backend = default_backend
        self._stronger = stronger
        self._budget_tokens = budget_tokens
        self._max_tokens = max_tokens
        self._repository_map = repository_map
        self._conventions = conventions
        self._project_state = project_state
        self._system_prompts = system_prompts
        self._adapter = adapter

    def best_first(self, context: ProjectContext, plan: Plan, weak: bool, notes: list[str]) -> Iterator[Plan]:
        """Who answers, best first: the stronger model where the search found little, the planned one, the fallback.

        Each is looked for when the one before it has failed. `notes` gets what the user must know of it.
        """
        tried = plan.choice
        if weak and self._stronger and (stronger := self._stronger_choice(tried, notes)) is not None:
            yield self._plan_with(context, stronger)
        yield plan
        if not tried.backend.capabilities.generates or tried.degradation == "small or cached":
            return
        passed_over = [PassedOver(tried.backend.name, "it failed.")]
        fallback = self._backends.fallback(passed_over, tried)
        if fallback is not None:
            yield self._plan_with(context, fallback)
        notes += [f"{item.name}: {item.reason}" for item in passed_over[1:]]

    def _stronger_choice(self, tried: Choice, notes: list[str]) -> Choice | None:
        stronger = self._backends.named(self._stronger, "full", "", [], tried)
        if stronger is None or not tried.backend.capabilities.generates:
            return None
        if stronger.backend.capabilities.leaves_machine:
            notes.append(f"models.stronger is not used: {self._stronger} is not on this machine.")
            return None
        notes.append(f"The search found little for this question, so the stronger model {self._stronger} was asked.")
        return stronger

    def wants_no_model(self, context: ProjectContext) -> bool:
        """Whether quoting is what was chosen, and no way out."""
        return self._wanted(context) == EXTRACTIVE

    def _wanted(self, context: ProjectContext) -> str:
        return self._default_backend if context.backend in ("", AUTO) else context.backend

    def plan(self, context: ProjectContext) -> Plan:
        """Who would answer a question of this project now, and what its prompt begins with.

        The last resort answers when the chosen backend cannot even be asked. At least half of the window is the
        prompt's. Raises ConfigError for an unknown backend.
        """
        return self._plan_with(context, self._backends.choose(self._wanted(context), context.model, self._order))

    def _plan_with(self, context: ProjectContext, choice: Choice) -> Plan:
        try:
            window = choice.backend.context_tokens(choice.model)
        except GardenerError as error:
            passed_over = [PassedOver(choice.backend.name, error.message, error.next_step)]
            fallback = self._backends.fallback(passed_over, choice) if choice.degradation == "full" else None
            if fallback is not None:
                return self._plan_with(context, fallback)
            reason = " ".join(f"{item.name}: {item.reason}" for item in passed_over)
            choice = Choice(self._backends.last_resort(), "", "search only", reason, error.next_step)
            window = choice.backend.context_tokens()
        backend = choice.backend
        generates = backend.capabilities.generates
        max_tokens = min(self._max_tokens if generates else QUOTED_ANSWER_TOKENS, window // 2)
        room = window - max_tokens
        budget = min(self._budget_tokens, room) if generates else room

        def count(text: str) -> TokenCount:
            return backend.count_tokens(text, choice.model)

        if not generates:  # the last resort quotes its evidence and has no use for anything else
            return Plan(choice, system_prompt(context.name, count, budget), budget, max_tokens)
        system = self._system_prompts.get(
            (context.id, context.name, context.root, backend.name, choice.model, budget),
            self._project_state(context),
            lambda: system_prompt(
                context.name,
                count,
                budget,
                repository_map=self._repository_map(context, int(budget * MAP_SHARE / 2)),
                # At three characters a token, which is few for prose; what is too much all the same is left out.
                conventions=self._conventions(context, int(budget * CONVENTIONS_SHARE) * 3),
            ),
        )
        adapter, problem = None, ""
        if backend.capabilities.adapters:
            try:
                adapter = self._adapter(context)
            except GardenerError as error:
                problem = f"The adapter is not used: {error.message}"
        return Plan(choice, system, budget, max_tokens, adapter, problem)
