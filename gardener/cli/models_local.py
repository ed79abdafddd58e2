"""The models that are here: `gardener models list` and `ps`."""

from __future__ import annotations

from gardener.cli.console import Console, one_line, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from gardener.app import Gardener
    from gardener.cli.ollama_link import OllamaModel
    from gardener.errors import ModelNotFound
    from gardener.models.local_models import LocalModel


def mlx_folders(gardener: Gardener) -> tuple[LocalModel, ...]:
    from gardener.models.local_models import local_models

    settings = gardener.settings
    configured = [settings.text("mlx.model")]
    configured += [context.model for context in gardener.registry.list() if context.backend == "mlx"]
    return local_models(gardener.paths.models, [name for name in configured if name])


def in_ollama(gardener: Gardener) -> tuple[list[OllamaModel], str]:
    """Ollama's models, or why they are not known."""
    from gardener.errors import GardenerError

    url = gardener.settings.text("ollama.url")
    if not url:
        return [], "ollama.url is empty"
    from gardener.cli.ollama_link import ollama_models

    try:
        return list(ollama_models().list_models(url)), ""
    except GardenerError as error:
        return [], error.message


def _served(gardener: Gardener) -> tuple[Sequence[str], str]:
    """The models of the OpenAI-compatible server, or why they are not known; nothing when none is configured."""
    from gardener.errors import GardenerError

    if not gardener.settings.text("openai.url"):
        return (), ""
    try:
        return gardener.backends.get("openai").models(), ""
    except GardenerError as error:
        return (), error.message


def unknown_model(name: str, gardener: Gardener, next_step: str = "") -> ModelNotFound:
    """No such model, with the names that are nearest to it, and `next_step` instead of looking at them."""
    from gardener.errors import ModelNotFound
    from gardener.models.catalog import nearest

    here = [model.name for model in mlx_folders(gardener)] + [model.name for model in in_ollama(gardener)[0]]
    near = nearest(name, tuple(here))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ModelNotFound(
        f"There is no model {one_line(name)}, neither in the catalogue nor here.{hint}",
        next_step=next_step or (f"gardener models check {near[0]}" if near else "gardener models recommend"),
    )


def list_models(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    folders = mlx_folders(gardener)
    ollama, ollama_problem = in_ollama(gardener)
    served, served_problem = _served(gardener)
    settings = gardener.settings
    chosen = {"mlx": settings.text("mlx.model"), "ollama": settings.text("ollama.model")}
    chosen["openai"] = settings.text("openai.model")
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
    rows += [{"runtime": "openai", "name": name, "bytes": 0, "problem": "", "bits": 0} for name in served]
    for row in rows:
        row["used"] = row["name"] == chosen[row["runtime"]]
    problems = {"ollama": ollama_problem, "openai": served_problem}
    if console.as_json:
        console.json({"models": rows, "problems": {name: text for name, text in problems.items() if text}})
        return 0
    if rows:
        console.table([_shown(row) for row in rows], ["", "runtime", "name", "size", "state"])
    else:
        console.line("There is no model here.")
        console.note("Which fit this machine: gardener models recommend")
    for name, text in problems.items():
        if text:
            console.note(f"{name}: {text}")
    return 0


def _shown(row: dict[str, Any]) -> dict[str, str]:
    bits = f"{row['bits']} bits" if row["bits"] else str(row.get("quantization", ""))
    return {
        "": "*" if row["used"] else "",
        "runtime": row["runtime"],
        "name": row["name"],
        "size": size(row["bytes"]) if row["bytes"] else "",
        "state": row["problem"] or bits,
    }


def ps(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.errors import GardenerError
    from gardener.resident_note import held_models
    from gardener.server.client import AppClient, find_app

    app = find_app(gardener.paths)
    rows: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    states: dict[str, dict[str, Any]] = {}
    if app is not None:
        try:
            states = dict(AppClient(app, timeout_s=5.0).request("GET", "/api/models/resident")["backends"])
        except (GardenerError, KeyError, TypeError) as error:
            problems["app"] = f"it does not say what it holds: {error}"
    else:
        held = held_models(gardener.paths)
        states = {name: {"model": model, "weight_bytes": weights} for name, (model, weights) in held.items()}
    for name, state in states.items():
        if state.get("model") and name != "ollama":  # which is asked itself below
            rows.append(
                {"where": "app" if app else "command", "backend": name, "model": state["model"],
                 "weight_bytes": state.get("weight_bytes", 0), "cache_bytes": state.get("cache_bytes", 0),
                 "adapter": state.get("adapter", ""), "counters": state.get("counters", {})}
            )  # fmt: skip
    rows += loaded_in_ollama(gardener, problems)
    if console.as_json:
        console.json({"resident": rows, "problems": problems})
        return 0
    if rows:
        adapters = _adapter_names(gardener)
        shown = [
            {
                **row,
                "adapter": adapters.get(row["adapter"], row["adapter"][:12]),
                "weights": size(row["weight_bytes"]),
                "caches": size(row["cache_bytes"]) if row["cache_bytes"] else "",
            }
            for row in rows
        ]
        console.table(shown, ["where", "backend", "model", "weights", "caches", "adapter"])
    else:
        console.line("No model is in memory.")
    for name, text in problems.items():
        console.note(f"{name}: {text}")
    return 0


def _adapter_names(gardener: Gardener) -> dict[str, str]:
    """Every project's adapters by fingerprint, as "NAME of PROJECT"."""
    from gardener.models.adapters import AdapterStore

    return {
        str(entry.get("fingerprint")): f"{entry['name']} of {context.name}"
        for context in gardener.registry.list()
        for entry in AdapterStore(context.home).list()
    }


def loaded_in_ollama(gardener: Gardener, problems: dict[str, str]) -> list[dict[str, Any]]:
    from gardener.errors import GardenerError

    url = gardener.settings.text("ollama.url")
    if not url:
        return []
    from gardener.cli.ollama_link import ollama_models

    try:
        return [
            {"where": "ollama", "backend": "ollama", "model": model.name, "weight_bytes": model.size,
             "cache_bytes": 0, "adapter": "", "counters": {}}
            for model in ollama_models().loaded(url)
        ]  # fmt: skip
    except GardenerError as error:
        problems["ollama"] = error.message
        return []
