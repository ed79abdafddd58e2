"""Models as data: the catalogue with what fits, one model's needs, and what is here. See gardener.machine_models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gardener.app import Gardener
    from gardener.errors import GardenerError
    from gardener.machine_models import Found, Machine
    from gardener.models.catalog import CatalogModel, Runtime
    from gardener.models.fit import Fit


def recommendation_json(machine: Machine) -> dict[str, Any]:
    """What `gardener models recommend --json` prints."""
    from gardener.machine_models import best_of, recommended

    found = recommended(machine)
    best = best_of(found)
    return {
        "hardware": machine.hardware.as_json(),
        "budget_bytes": machine.has,
        "runtime": machine.runtime,
        "recommended": None if best is None else best.id,
        "models": [catalogue_entry(model, machine.runtime, fit) for model, fit in found],
    }


def catalogue_entry(model: CatalogModel, runtime: Runtime, fit: Fit) -> dict[str, object]:
    build = model.build(runtime)
    assert build is not None
    return {
        "id": model.id,
        "title": model.title,
        "name": build.name,
        "runtime": runtime,
        "purpose": model.purpose,
        "parameters": model.parameters,
        "active_parameters": model.active,
        "download_bytes": build.bytes,
        "download_estimated": build.estimated,
        "model_context_tokens": model.context,
        "licence": model.licence,
        "source": model.source,
        "checked": model.checked,
        "fit": fit.as_json(),
    }


class Checked(NamedTuple):
    """What one model needs on this machine. `longest` is the model's own window, in tokens."""

    entry: dict[str, object]
    title: str
    fit: Fit
    longest: int


def check_model(gardener: Gardener, machine: Machine, name: str, runtime: Runtime | None = None) -> Checked:
    """By a name of the catalogue, of a model that is here, or a folder. Raises ModelNotFound with the nearest names."""
    from gardener.models.catalog import find

    known = find(name)
    if known is None:
        return _check_folder(gardener, machine, name)
    model, own = known
    chosen: Runtime = runtime or own or machine.runtime
    fit = machine.fit(model, chosen)
    assert fit is not None  # every entry has a build for every runtime
    return Checked(
        catalogue_entry(model, chosen, fit), f"{model.title} ({chosen}), {model.licence}", fit, model.context
    )


def _check_folder(gardener: Gardener, machine: Machine, name: str) -> Checked:
    import os

    from gardener.machine_models import find_here
    from gardener.models.fit import fit_folder
    from gardener.models.model_folder import read_model_folder
    from gardener.paths import model_path

    path = os.path.abspath(os.path.expanduser(name))
    if not os.path.isdir(path):
        path = model_path(name, gardener.paths.models)
    if not os.path.isdir(path):
        raise _runs_elsewhere(find_here(name, gardener), gardener)
    folder = read_model_folder(path)
    fit = fit_folder(
        folder, machine.hardware, has=machine.has, context=machine.context("mlx"), kv_bits=machine.kv_bits("mlx")
    )
    entry: dict[str, object] = {
        "path": folder.path,
        "runtime": "mlx",
        "model_type": folder.model_type,
        "bits": folder.bits,
        "model_context_tokens": folder.context_tokens,
        "identity": folder.identity,
        "fit": fit.as_json(),
    }
    bits = f", {folder.bits} bits" if folder.bits else ""
    return Checked(entry, f"{folder.name} ({folder.model_type}{bits})", fit, folder.context_tokens)


def _runs_elsewhere(found: Found, gardener: Gardener) -> GardenerError:
    """Why what a model needs cannot be told, though it is here."""
    from gardener.errors import ModelDamaged, ModelError
    from gardener.machine_models import LONGEST_NAME
    from gardener.models.inert import one_line
    from gardener.projects.names import shell_word
    from gardener.sizes import size

    if found.local is not None:  # a folder elsewhere, by its name alone
        return ModelDamaged(
            found.local.problem or f"{found.local.path} is not there.", next_step="gardener models list"
        )
    name = one_line(found.name, LONGEST_NAME)
    use = f"gardener models use {shell_word(found.name)}"
    if found.runtime == "openai":
        server = one_line(gardener.settings.text("openai.url"), LONGEST_NAME)
        return ModelError(
            f"{name} runs at the server {server}, so what it needs there is not known here.", next_step=use
        )
    weights = f" Its files are {size(found.size)}; it needs somewhat more." if found.size else ""
    return ModelError(
        f"{name} is in Ollama and not in the catalogue, so what it needs is not known.{weights}", next_step=use
    )


def models_here(gardener: Gardener) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Every model that could answer, and why a runtime's are not known, by runtime."""
    from gardener.machine_models import in_ollama, mlx_folders, served

    folders = mlx_folders(gardener)
    ollama, ollama_problem = in_ollama(gardener)
    offered, offered_problem = served(gardener)
    settings = gardener.settings
    chosen = {runtime: settings.text(f"{runtime}.model") for runtime in ("mlx", "ollama", "openai")}
    rows: list[dict[str, Any]] = [
        {"runtime": "mlx", "name": model.name, "bytes": model.bytes, "path": model.path, "problem": model.problem,
         "bits": model.folder.bits if model.folder else 0}
        for model in folders
    ]  # fmt: skip
    rows += [
        {"runtime": "ollama", "name": model.name, "bytes": model.size, "problem": "", "bits": 0,
         "quantization": model.quantization}
        for model in ollama
    ]  # fmt: skip
    rows += [{"runtime": "openai", "name": name, "bytes": 0, "problem": "", "bits": 0} for name in offered]
    for row in rows:
        row["used"] = row["name"] == chosen[row["runtime"]]
    problems = {"ollama": ollama_problem, "openai": offered_problem}
    return rows, {name: text for name, text in problems.items() if text}
