"""Which models are in memory, written down by the process that holds them, so that a switch can say what it will cost.

`gardener switch` must not ask anybody, nor import anything: it reads one small file, if there is one.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gardener.paths import Paths
    from gardener.project_context import ProjectContext


def _file(paths: Paths) -> str:
    return os.path.join(paths.run, "resident.json")


def write_note(paths: Paths, held: Mapping[str, tuple[str, int]], defaults: Mapping[str, str]) -> None:
    """`held`: backend to model and bytes of weights; `defaults`: the model of projects that have not chosen one."""
    import json
    import logging

    from gardener.errors import GardenerError
    from gardener.paths import ensure_directory, write_private

    content = json.dumps({"pid": os.getpid(), "held": held, "defaults": defaults}).encode()
    path = _file(paths)
    try:
        if os.path.exists(path):
            with open(path, "rb") as opened:
                if opened.read() == content:
                    return
        ensure_directory(paths.run)
        write_private(path, content)
    except (OSError, GardenerError) as error:
        logging.getLogger("gardener.models").info("resident note not written: %s", error)  # only a hint is lost


def _read(paths: Paths) -> dict[str, Any]:
    """{} when there is none, or the process that wrote it is gone and its models with it."""
    try:
        with open(_file(paths), encoding="utf-8") as opened:
            import json

            found = json.loads(opened.read(100_000))
        os.kill(int(found["pid"]), 0)
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return {}


def held_models(paths: Paths) -> dict[str, tuple[str, int]]:
    """Backend to the model that a living process holds, and the bytes of its weights."""
    held = _read(paths).get("held")
    found: dict[str, tuple[str, int]] = {}
    for name, entry in held.items() if isinstance(held, dict) else ():
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int):
            found[str(name)] = (str(entry[0]), entry[1])
    return found


def cost_of_switch(paths: Paths, context: ProjectContext) -> str:
    """What the first answer of this project will have to load, in one sentence; "" when its base is resident or nothing
    is known."""
    note = _read(paths)
    held = note.get("held")
    if not isinstance(held, dict) or not held:
        return ""
    names = [context.backend] if context.backend in held else list(held) if context.backend in ("", "auto") else []
    if not names:
        return ""
    from gardener.paths import model_path

    try:
        model, weight_bytes = held[names[0]]
        wanted = context.model or note["defaults"].get(names[0], "")
        if not wanted or os.path.basename(str(wanted)) == os.path.basename(str(model)):
            return ""
        size = _weights(model_path(str(wanted), paths.models)) if names[0] == "mlx" else 0
        what = f"{os.path.basename(str(wanted))} ({size / 1e9:.1f} GB)" if size else str(wanted)
        return (
            f"{context.name!r} uses another model: its first answer loads {what}, "
            f"and {os.path.basename(str(model))} ({int(weight_bytes) / 1e9:.1f} GB) leaves memory."
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _weights(folder: str) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".safetensors"))
    except OSError:
        return 0
