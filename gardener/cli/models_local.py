"""The models that are here: `gardener models list` and `ps`."""

from __future__ import annotations

from gardener.cli.console import Console, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gardener.app import Gardener


def list_models(args: argparse.Namespace, gardener: Gardener, console: Console) -> int:
    from gardener.model_listing import models_here

    rows, problems = models_here(gardener)
    if console.as_json:
        console.json({"models": rows, "problems": problems})
        return 0
    if rows:
        console.table([_shown(row) for row in rows], ["", "runtime", "name", "size", "state"])
    else:
        console.line("There is no model here.")
        console.note("Which fit this machine: gardener models recommend")
    for name, text in problems.items():
        console.note(f"{name}: {text}")
    if rows and not any(row["used"] for row in rows) and "openai" in problems:
        console.note("Choose one of these: gardener models use NAME")
    return 0


def _shown(row: dict[str, Any]) -> dict[str, str]:
    bits = f"{row['bits']} bits" if row["bits"] else str(row.get("quantization", ""))
    return {
        "": "*" if row["used"] else "",
        "runtime": row["runtime"],
        "name": row["name"],
        "size": "" if row["runtime"] == "openai" else size(row["bytes"]) if row["bytes"] else "unknown",
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
    rows += ollama_rows(gardener, problems)
    if console.as_json:
        console.json({"resident": rows, "problems": problems})
        return 0
    if rows:
        from gardener.machine_models import adapter_names

        adapters = adapter_names(gardener)
        shown = [
            {
                **row,
                "adapter": adapters.get(row["adapter"], row["adapter"][:12]),
                "weights": size(row["weight_bytes"]) if row["weight_bytes"] else "unknown",
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


def ollama_rows(gardener: Gardener, problems: dict[str, str]) -> list[dict[str, Any]]:
    from gardener.machine_models import loaded_in_ollama

    found, problem = loaded_in_ollama(gardener)
    if problem:
        problems["ollama"] = problem
    return [
        {"where": "ollama", "backend": "ollama", "model": model.name, "weight_bytes": model.size,
         "cache_bytes": 0, "adapter": "", "counters": {}}
        for model in found
    ]  # fmt: skip
