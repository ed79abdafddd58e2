"""Which model answers for one project: what there is to choose from, and choosing. Kept with the project, as
`gardener models use NAME --project` does; nothing is loaded before the next question needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gardener.errors import ConfigError, ModelNotFound
from gardener.machine_models import Found, in_ollama, mlx_folders, served, use_found
from gardener.model_listing import models_here
from gardener.models.extractive import EXTRACTIVE
from gardener.models.registry import AUTO

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.types import ProjectContext

RUNTIMES = ("mlx", "ollama", "openai")
ChoiceRow = dict[str, object]


def choices(gardener: Gardener, context: ProjectContext) -> dict[str, object]:
    """What may answer for a project, as `/api/models/choices` gives it: "auto" (what every project uses) first,
    "extractive" (no model) last; and why a runtime's models are not known, by runtime. Asks the model servers."""
    rows, problems = models_here(gardener)
    found = [_row(AUTO, "", f"as every project: {_everywhere(gardener, context)}")]
    found += [_row(row["runtime"], row["name"], row["name"], row["bytes"], row["problem"]) for row in rows]
    found += [_row(name, "", name) for name in gardener.backends.names() if name not in (*RUNTIMES, EXTRACTIVE)]
    found.append(_row(EXTRACTIVE, "", "no model: the code that was found is quoted"))
    chosen = (context.backend or AUTO, context.model)
    if chosen not in [(row["backend"], row["model"]) for row in found]:  # what was chosen is said, here or not
        known = not context.model
        found.insert(1, _row(*chosen, context.model or "its own model", problem="" if known else "is not here now"))
    for row in found:
        row["chosen"] = (row["backend"], row["model"]) == chosen
    return {"project": context.name, "choices": found, "problems": problems}


def choose(gardener: Gardener, context: ProjectContext, backend: str, model: str) -> ProjectContext:
    """Has a model answer for one project from its next question on; "" is the backend's own model.

    Raises ConfigError for an unknown backend, ModelNotFound, ModelDamaged, or ModelTooLarge with the numbers; nothing
    was changed then.
    """
    if backend not in (AUTO, *gardener.backends.names()):
        raise ConfigError(f"There is no chat backend {backend!r}.", next_step="gardener models list")
    if model:
        found, problem = _found(gardener, backend, model)
        if found is None:
            raise ModelNotFound(
                f"{backend} has no model {model!r}. {problem}".strip(), next_step="gardener models list"
            )
        use_found(gardener, found, context.id)
        return gardener.registry.get(context.id)
    return gardener.registry.configure(context.id, backend=backend, model=model)


def _found(gardener: Gardener, backend: str, model: str) -> tuple[Found | None, str]:
    """The model as its runtime has it, or None; and why the runtime could not be asked."""
    if backend == "mlx":
        folders = [Found("mlx", one.name, one.bytes, one) for one in mlx_folders(gardener)]
        return next((one for one in folders if one.name == model), None), ""
    if backend == "ollama":
        listed, problem = in_ollama(gardener)
        return next((Found("ollama", one.name, one.size) for one in listed if one.name == model), None), problem
    if backend == "openai":
        names, problem = served(gardener)
        return (Found("openai", model, 0) if model in names else None), problem
    return None, ""


def _everywhere(gardener: Gardener, context: ProjectContext) -> str:
    settings = gardener.settings_for(context)
    choice = gardener.backends.choose(settings.text("models.backend"), "", settings.texts("models.order"))
    if choice.backend.name == EXTRACTIVE:
        return "the code is quoted now"
    return f"{choice.backend.name} {choice.model_name}".strip()


def _row(backend: str, model: str, title: str, size: int = 0, problem: str = "") -> ChoiceRow:
    return {"backend": backend, "model": model, "title": title, "bytes": size, "problem": problem}
