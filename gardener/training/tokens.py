"""Examples as token ids in the model's own chat template, and the batches of a run: the same ones every time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gardener.errors import AdapterUnfit
from gardener.types import Message

if TYPE_CHECKING:
    from gardener.models.mlx.loading import Base

_FEWEST_TOKENS = 8
"""Of a completion that remains when an example is cut off; with less it is left out."""
_PAD_TO = 32


class TokenExample(NamedTuple):
    kind: str
    tokens: list[int]
    offset: int
    """Index of the first token of the completion; at least 1."""


class Tokenised(NamedTuple):
    examples: list[TokenExample]
    cut: int
    """Examples that were longer than the limit and lost their end."""
    dropped: int
    """Examples whose prompt alone was too long."""


def read_examples(path: str) -> list[dict[str, str]]:
    """The examples of a JSON lines file. Raises AdapterUnfit when it is damaged or missing."""
    try:
        with open(path, encoding="utf-8") as opened:
            found = [json.loads(line) for line in opened if line.strip()]
        if not all(isinstance(entry[key], str) for entry in found for key in ("kind", "prompt", "completion")):
            raise ValueError("an example is not complete")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterUnfit(
            f"The training data {path} cannot be read: {error}", next_step="gardener train --again"
        ) from error
    return found


def tokenise(base: Base, examples: Sequence[dict[str, str]], most_tokens: int) -> Tokenised:
    """Examples as the model will meet them. Control tokens in the texts are broken up: see `generation.rendered`."""
    from gardener.models.mlx.generation import rendered

    found: list[TokenExample] = []
    cut = dropped = 0
    for example in examples:
        asked = Message("user", example["prompt"])
        prompt = rendered(base, (asked,))
        whole = rendered(base, (asked, Message("assistant", example["completion"])), answer=False)
        # Templates of thinking models end the prompt with marks that a finished turn does not have.
        offset = next(
            (at for at, (one, other) in enumerate(zip(prompt, whole, strict=False)) if one != other),
            min(len(prompt), len(whole)),
        )
        tokens = whole[:most_tokens]
        if len(tokens) - offset < min(_FEWEST_TOKENS, len(whole) - offset) or offset < 1 or len(whole) <= offset:
            dropped += 1
            continue
        cut += len(whole) > most_tokens
        found.append(TokenExample(example["kind"], tokens, offset))
    return Tokenised(found, cut, dropped)


def batches(examples: Sequence[TokenExample], size: int, *, seed: int, first: int) -> Iterator[list[TokenExample]]:
    """Batch number `first` (0-based) and those after it, without end; a function of its arguments only.

    Examples of similar length stand together, because a batch is as long as its longest. The order of the batches is
    another one in each round.
    """
    order = sorted(range(len(examples)), key=lambda at: (len(examples[at].tokens), at))
    size = min(size, len(order))
    starts = [*range(0, len(order) - size + 1, size)]
    if len(order) % size:
        starts.append(len(order) - size)
    step = first
    while True:
        round_, position = divmod(step, len(starts))
        shuffled = starts[:]
        random.Random(f"{seed}:{round_}").shuffle(shuffled)
        for start in shuffled[position:]:
            yield [examples[at] for at in order[start : start + size]]
            step += 1


def padded(batch: Sequence[TokenExample]) -> tuple[Any, Any]:
    """(ids, bounds) for mlx-lm's loss: int32 of shape (examples, length), and for each example the index of the
    completion's first token and of the last one."""
    import mlx.core as mx
    import numpy as np

    longest = max(len(example.tokens) for example in batch)
    # Few different lengths, because every other one is compiled anew.
    ids = np.zeros((len(batch), 1 + _PAD_TO * ((longest + _PAD_TO - 1) // _PAD_TO)), np.int32)
    for row, example in enumerate(batch):
        ids[row, : len(example.tokens)] = example.tokens
    return mx.array(ids), mx.array([(example.offset, len(example.tokens) - 1) for example in batch])
