"""A base model in memory, out of a local folder. Nothing is ever downloaded, no code of a model is run."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gardener.errors import ModelDamaged
from gardener.models.model_folder import ModelFolder

MARKS = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


Stamp = tuple[tuple[str, int, int], ...]
"""Names, sizes and times (ns) of the files that make a model."""


@dataclass(slots=True)
class Base:
    """A model that is resident."""

    folder: ModelFolder
    stamp: Stamp
    """Of the folder when it was loaded: see `stamp_of`."""
    model: Any
    """mlx.nn.Module"""
    tokenizer: Any
    """mlx_lm's TokenizerWrapper"""
    specials: tuple[str, ...]
    """Texts that the tokenizer takes for control tokens."""


def stamp_of(path: str) -> Stamp:
    """Changes when the folder does; costs microseconds."""
    found = []
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if entry.name in MARKS or entry.name.endswith(".safetensors"):
                status = entry.stat()
                found.append((entry.name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def load_base(folder: ModelFolder) -> Base:
    """Loads weights and tokenizer. Raises ModelDamaged saying what MLX said."""
    stamp = stamp_of(folder.path)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may ask the network, whatever a configuration names
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # stdout may be a protocol's
            import mlx.core as mx

            load_model, load_tokenizer = _mlx_lm()
            model, config = load_model(Path(folder.path), trust_remote_code=False)
            tokenizer = load_tokenizer(
                Path(folder.path),
                {"trust_remote_code": False, "local_files_only": True},
                eos_token_ids=config.get("eos_token_id"),
            )
            mx.eval(model.parameters())
    except Exception as error:
        # A folder's content decides which library raises what.
        raise ModelDamaged(
            f"The model {folder.path} could not be loaded: {_said(error)}", next_step="gardener models list"
        ) from error
    if not tokenizer.has_chat_template:
        raise ModelDamaged(
            f"The model {folder.path} has no chat template: it continues texts and answers no questions.",
            next_step="gardener models recommend",
        )
    return Base(folder, stamp, model, tokenizer, _specials(tokenizer))


def _mlx_lm() -> tuple[Any, Any]:
    """mlx-lm's loaders. Importing it lowers the number of files that this process may open (to 2,048 of 4,096 for
    good), which belongs to LanceDB as well: the limit stays what it was."""
    import resource

    setrlimit = resource.setrlimit
    resource.setrlimit = lambda *_: None
    try:
        from mlx_lm.utils import load_model, load_tokenizer
    finally:
        resource.setrlimit = setrlimit
    return load_model, load_tokenizer


def _specials(tokenizer: Any) -> tuple[str, ...]:
    added = getattr(tokenizer, "added_tokens_decoder", {}) or {}
    texts = {str(token) for token in added.values()} | set(map(str, tokenizer.all_special_tokens))
    return tuple(sorted((text for text in texts if len(text) > 1 and text.strip()), key=len, reverse=True))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
