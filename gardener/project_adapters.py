"""A project's adapters: which there are, which is on, turning one on or off, removing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gardener.errors import ConflictError

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.project_context import ProjectContext


def adapters_json(context: ProjectContext) -> dict[str, Any]:
    """What `gardener adapters list --json` prints. `unfinished` has the step at which each training stopped."""
    from gardener.models.adapters import AdapterStore
    from gardener.project_training import unfinished

    found = AdapterStore(context.home).list()
    shown = [{**entry, "active": entry["name"] == context.adapter} for entry in found]
    return {
        "project": context.name,
        "active": context.adapter,
        "adapters": shown,
        "unfinished": unfinished(context),
    }


def use_adapter(
    gardener: Gardener, context: ProjectContext, name: str, *, even_if_worse: bool = False
) -> ProjectContext:
    """From the next answer on. Raises AdapterUnfit, or ConflictError for one that is worse than its base."""
    from gardener.models.adapters import AdapterStore
    from gardener.training.evaluate import is_worse, sentence

    store = AdapterStore(context.home)
    store.ref(name)  # every byte is compared: what is damaged is refused now, not at a question
    about = store.about(name)
    if is_worse(about) and not even_if_worse:
        raise ConflictError(
            f"The adapter {name} is worse than the base it was trained on: {sentence(about['evaluation'])}.",
            next_step=f"gardener adapters use {name} --even-if-worse",
        )
    return gardener.registry.configure(context.name, adapter=name)


def adapter_off(gardener: Gardener, context: ProjectContext) -> str:
    """The base model alone, from the next answer on; returns the name of the adapter that was on, or ""."""
    if context.adapter:
        gardener.registry.configure(context.name, adapter="")
    return context.adapter


def refuse_in_use(context: ProjectContext, name: str) -> None:
    """Raises ConflictError for the adapter that is on."""
    if context.adapter == name:
        raise ConflictError(f"The adapter {name} is in use by {context.name!r}.", next_step="gardener adapters off")


def remove_adapter(context: ProjectContext, name: str) -> None:
    """For good, with an unfinished training of it. Raises ConflictError while it is on, AdapterUnfit when unknown."""
    import os

    from gardener.models.adapters import AdapterStore
    from gardener.project_training import unfinished

    refuse_in_use(context, name)
    store, begun = AdapterStore(context.home), unfinished(context)
    if name in begun:
        store.discard(name)
    if name not in begun or os.path.isdir(os.path.join(store.folder, name)):
        store.remove(name)
