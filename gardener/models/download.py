"""Downloads a catalogue model for MLX from Hugging Face, only when a user has said so.

Written from huggingface_hub's documentation; it has not been run here, where nothing is downloaded.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from gardener.errors import BackendUnavailable, DiskFull, ModelError
from gardener.models.hardware import free_disk
from gardener.models.local_models import PARTIAL
from gardener.models.model_folder import read_model_folder
from gardener.paths import ensure_directory, translate_os_error

if TYPE_CHECKING:
    from gardener.models.catalog import Build

FILES: Final = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "README.md")
"""Never Python: a model's own code is not run."""
SPARE_BYTES: Final = 1_000_000_000
"""Must stay free on the disk."""


def folder_name(build: Build) -> str:
    return build.name.rpartition("/")[2]


def command(build: Build, models_directory: str) -> str:
    """What to type to get the same files by hand, with the tool that huggingface_hub installs."""
    target = os.path.join(models_directory, folder_name(build))
    return f"hf download {build.name} --local-dir {shlex.quote(target)}"


def check_disk(build: Build, models_directory: str) -> None:
    """Raises DiskFull when there is not enough room; nothing was written then."""
    free = free_disk(models_directory)
    if free < build.bytes + SPARE_BYTES:
        raise DiskFull(
            f"{build.name} takes about {build.bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free where "
            f"{models_directory} is; 1 GB must stay.",
            next_step="gardener disk",
        )


def download(build: Build, models_directory: str) -> str:
    """Puts the model below the models folder and returns its path; huggingface_hub's own command shows its progress
    on stderr. What an interrupted download has got stays, and the next one goes on from there.

    Raises DiskFull, BackendUnavailable, ModelError, ModelDamaged; what was there before is whole in each case.
    """
    target = os.path.join(models_directory, folder_name(build))
    if os.path.lexists(target):
        raise ModelError(f"{target} is there already.", next_step=f"gardener models use {folder_name(build)}")
    check_disk(build, models_directory)
    ensure_directory(models_directory)
    partial = target + PARTIAL
    words = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", build.name, "--local-dir", partial, "--quiet"]
    for pattern in FILES:
        words += ["--include", pattern]
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode != 0:
        raise BackendUnavailable(
            f"{build.name} was not downloaded; the reason stands above. What has come so far stays for the next try.",
            next_step=command(build, models_directory),
        )
    read_model_folder(partial)
    try:
        os.rename(partial, target)
    except OSError as error:
        raise translate_os_error(error, target) from error
    return target
