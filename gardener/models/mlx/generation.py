"""Reading a prompt and writing tokens with MLX, in portions that can be cancelled. Runs on the MLX thread only."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final

from gardener.errors import ConfigError, ModelDamaged
from gardener.models.mlx.loading import Base
from gardener.models.mlx.prefixes import State
from gardener.models.model_folder import text_config
from gardener.types import Message

PORTION: Final = 512
"""Tokens that are read at once; between two portions a cancellation is seen."""


class Cancelled(Exception):
    """Whoever asked does not want it any more, or the time is over."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How keys and values are stored."""

    bits: int
    group: int


def storage_for(base: Base, bits: int) -> Storage | None:
    """None for unquantised. Raises ConfigError when this model's keys cannot be quantised."""
    if not bits:
        return None
    config = text_config(base.folder.config)
    heads = int(config.get("num_attention_heads") or 1)
    dimension = int(config.get("head_dim") or int(config.get("hidden_size") or 0) // heads)
    group = next((size for size in (64, 32) if dimension % size == 0), 0)
    if not group:
        raise ConfigError(
            f"mlx.kv_bits is {bits}, but keys of {base.folder.name} have {dimension} numbers, which cannot be stored "
            "in groups of 32 or 64.",
            next_step="gardener config set mlx.kv_bits 0",
        )
    return Storage(bits, group)


def rendered(base: Base, messages: Sequence[Message], *, answer: bool = True) -> list[int]:
    """The token ids of a conversation in the model's own template. Raises ModelDamaged when that fails.

    Control tokens that stand in a message's text are broken up: code of a repository could otherwise speak as the user.
    """
    turns = [{"role": message.role, "content": _tame(message.content, base.specials)} for message in messages]
    try:
        return _applied(base, turns, answer)
    except Exception as error:
        if "system" in str(error).lower() and len(turns) > 1 and turns[0]["role"] == "system":
            # Some templates (Gemma's) know no system role and say so.
            joined = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            try:
                return _applied(base, [joined, *turns[2:]], answer)
            except Exception as again:
                error = again
        raise ModelDamaged(
            f"The chat template of {base.folder.path} fails: {type(error).__name__}: {str(error)[:200]}",
            next_step="gardener models list",
        ) from error


def _applied(base: Base, turns: list[dict[str, str]], answer: bool) -> list[int]:
    found = base.tokenizer.apply_chat_template(turns, add_generation_prompt=answer, tokenize=True)
    return [int(token) for token in found]


def _tame(text: str, specials: Sequence[str]) -> str:
    clean = text.encode("utf-8", "replace").decode()
    for special in specials:
        if special in clean:
            clean = clean.replace(special, f"{special[0]} {special[1:]}")
    return clean


def prefix_tokens(base: Base, prefix: Sequence[Message]) -> list[int]:
    """The token ids that every conversation with these first messages begins with, whatever comes after them."""
    first = rendered(base, (*prefix, Message("user", "a")))
    second = rendered(base, (*prefix, Message("user", "Why? 1")))
    length = next(
        (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other),
        min(len(first), len(second)),
    )
    return first[:length]


def new_state(base: Base) -> State:
    from mlx_lm.models.cache import make_prompt_cache

    return list(make_prompt_cache(base.model))


def read(base: Base, state: State, tokens: Sequence[int], storage: Storage | None, go_on: Callable[[], None]) -> None:
    """Has the model read tokens into a state. `go_on` is asked before each portion and raises Cancelled."""
    import mlx.core as mx
    from mlx_lm.generate import generation_stream, maybe_quantize_kv_cache

    for start in range(0, len(tokens), PORTION):
        go_on()
        with mx.stream(generation_stream):
            base.model(mx.array(list(tokens[start : start + PORTION]))[None], cache=state)
            if storage:
                maybe_quantize_kv_cache(state, 0, storage.group, storage.bits)
            mx.eval([cache.state for cache in state])
        mx.clear_cache()


def write(
    base: Base,
    state: State,
    tokens: Sequence[int],
    storage: Storage | None,
    *,
    max_tokens: int,
    temperature: float,
    go_on: Callable[[], None],
) -> Generator[int, None, None]:
    """Reads the rest of a prompt (at least one token) and gives token ids as the model writes them, the one that ends
    the answer left out."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step, generation_stream, wired_limit
    from mlx_lm.sample_utils import make_sampler

    def look(done: int, total: int) -> None:
        go_on()

    with wired_limit(base.model, [generation_stream]):
        steps = generate_step(
            mx.array(list(tokens)),
            base.model,
            max_tokens=max_tokens,
            sampler=make_sampler(temp=max(0.0, temperature)),
            prompt_cache=state,
            prefill_step_size=PORTION,
            kv_bits=storage.bits if storage else None,
            kv_group_size=storage.group if storage else 64,
            quantized_kv_start=0,
            prompt_progress_callback=look,
        )
        try:
            for token, _ in steps:
                if token in base.tokenizer.eos_token_ids:
                    return
                yield int(token)
                go_on()
        finally:
            steps.close()


def thinking_marks(base: Base) -> tuple[tuple[str, str], ...]:
    """The pair around what the model thinks, as `TextStream` takes it; () for a model that does not."""
    return ((base.tokenizer.think_start, base.tokenizer.think_end),) if base.tokenizer.has_thinking else ()


def opens_thinking(base: Base, tokens: Sequence[int]) -> bool:
    """Whether the template has ended the prompt with the mark that begins the thinking."""
    if not base.tokenizer.has_thinking:
        return False
    return str(base.tokenizer.decode(list(tokens[-12:]))).rstrip().endswith(base.tokenizer.think_start)


def version() -> str:
    """Of what computes: another one may compute differently."""
    from importlib.metadata import version as of

    return f"{of('mlx')} {of('mlx-lm')}"


class Clock:
    """Deadlines of one generation; raises Cancelled with the reason when one has passed."""

    def __init__(self, first_token_s: float, total_s: float, cancelled: Callable[[], bool]) -> None:
        self._begun = time.monotonic()
        self._first = first_token_s
        self._total = total_s
        self._cancelled = cancelled
        self.wrote = False
        self.reason = ""
        """Which deadline has passed; "" for a cancellation."""

    def go_on(self) -> None:
        if self._cancelled():
            raise Cancelled
        spent = time.monotonic() - self._begun
        if spent > self._total:
            self.reason = f"the answer took longer than {self._total:g} s (models.total_s)"
            raise Cancelled
        if not self.wrote and spent > self._first:
            self.reason = f"no word came within {self._first:g} s (models.first_token_s)"
            raise Cancelled
