"""The MLX models that lie on this machine's disk: below the models folder, and the configured one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gardener.errors import ModelDamaged, ModelError, ModelNotFound
from gardener.models.model_folder import ModelFolder, read_model_folder
from gardener.paths import model_path, translate_os_error

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTIAL: Final = ".partial"
"""Ending of a folder into which a model is being downloaded."""
_MODEL_FILES: Final = ("config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A folder with an MLX model, usable or not."""

    name: str
    """How the settings name it: the folder's name when it is below the models folder, else its path."""
    path: str
    folder: ModelFolder | None
    problem: str
    """Why it cannot be used; "" when it can."""

    @property
    def bytes(self) -> int:
        return self.folder.weight_bytes if self.folder is not None else _bytes(self.path)


def local_models(models_directory: str, configured: Sequence[str] = ()) -> tuple[LocalModel, ...]:
    """Every MLX model below the models folder, by name, then the configured ones that are elsewhere."""
    found: dict[str, LocalModel] = {}
    for name in sorted(os.listdir(models_directory)) if os.path.isdir(models_directory) else []:
        path = os.path.join(models_directory, name)
        if os.path.isdir(path) and _looks_like_a_model(path):
            found[path] = _look(name, path)
    for name in configured:
        path = model_path(name, models_directory) if name else ""
        if path and path not in found:
            found[path] = _look(name, path)
    return tuple(found.values())


def _looks_like_a_model(path: str) -> bool:
    """Something that was meant to be an MLX model: the embedder and other things lie below the same folder."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    if any(name.endswith(".onnx") for name in names):
        return False
    return all(name in names for name in _MODEL_FILES) or any(name.endswith(".safetensors") for name in names)


def _look(name: str, path: str) -> LocalModel:
    if path.endswith(PARTIAL):
        return LocalModel(name, path, None, "its download has not finished")
    try:
        return LocalModel(name, path, read_model_folder(path), "")
    except (ModelNotFound, ModelDamaged) as error:
        return LocalModel(name, path, None, error.message)
    except OSError as error:
        return LocalModel(name, path, None, f"it cannot be read: {error.strerror}")


def remove_model(model: LocalModel, models_directory: str) -> int:
    """Deletes a model's folder and returns the bytes freed. Raises ModelError for one outside the models folder:
    what Gardener did not put there is not Gardener's to delete."""
    parent = os.path.realpath(models_directory)
    if os.path.islink(model.path) or os.path.dirname(os.path.realpath(model.path)) != parent:
        raise ModelError(
            f"{model.path} is not below {models_directory}; Gardener deletes only what is there.",
            next_step="gardener models list",
        )
    freed = _bytes(model.path)
    try:
        shutil.rmtree(model.path)
    except OSError as error:
        raise translate_os_error(error, model.path) from error
    return freed


def _bytes(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # gone in the meantime
    return total
