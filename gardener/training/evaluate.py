"""What an adapter has learnt: the loss of base and adapter over the same held-out examples, and which is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gardener.training.tokens import TokenExample

BETTER, WORSE = "better", "worse"


class Losses(NamedTuple):
    """Summed cross entropy in nats, and the tokens over which it was summed, by kind of example."""

    nats: dict[str, float]
    tokens: dict[str, int]

    @property
    def mean(self) -> float:
        """Per token, over all kinds."""
        return sum(self.nats.values()) / max(1, sum(self.tokens.values()))

    def of(self, kind: str) -> float:
        return self.nats[kind] / max(1, self.tokens[kind])

    def as_json(self) -> dict[str, Any]:
        return {"nats": self.nats, "tokens": self.tokens}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Losses:
        return cls(
            {str(kind): float(nats) for kind, nats in value["nats"].items()},
            {str(kind): int(tokens) for kind, tokens in value["tokens"].items()},
        )


def measure(
    model: Any,
    examples: Sequence[TokenExample],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Losses:
    """Cross entropy of the completions' tokens, one example after the other; prompts do not count."""
    import mlx.core as mx
    import mlx.nn as nn

    model.eval()
    nats: dict[str, float] = {}
    tokens: dict[str, int] = {}
    for done, example in enumerate(examples):
        progress(done, len(examples))
        ids = mx.array([example.tokens])
        logits = model(ids[:, :-1])[:, example.offset - 1 :].astype(mx.float32)
        loss = nn.losses.cross_entropy(logits, ids[:, example.offset :], reduction="sum")
        found = float(loss.item())
        nats[example.kind] = nats.get(example.kind, 0.0) + (found if math.isfinite(found) else 1e9)
        tokens[example.kind] = tokens.get(example.kind, 0) + len(example.tokens) - example.offset
    return Losses(nats, tokens)


def verdict(base: Losses, adapter: Losses) -> dict[str, Any]:
    """The evaluation as gardener.json keeps it. "worse" is what does not lower the loss per token at all."""
    return {
        "verdict": BETTER if adapter.mean < base.mean else WORSE,
        "base_loss": round(base.mean, 5),
        "adapter_loss": round(adapter.mean, 5),
        "base_perplexity": _perplexity(base.mean),
        "adapter_perplexity": _perplexity(adapter.mean),
        "tokens": sum(base.tokens.values()),
        "kinds": {
            kind: {
                "tokens": base.tokens[kind],
                "base_loss": round(base.of(kind), 5),
                "adapter_loss": round(adapter.of(kind), 5),
            }
            for kind in base.tokens
        },
    }


def _perplexity(loss: float) -> float:
    return round(math.exp(min(loss, 50.0)), 3)


def is_worse(about: Mapping[str, Any]) -> bool:
    """Whether gardener.json says that an adapter did worse than its base."""
    evaluation = about.get("evaluation")
    return isinstance(evaluation, Mapping) and evaluation.get("verdict") == WORSE


def sentence(evaluation: Mapping[str, Any]) -> str:
    """The numbers in words; of a file that somebody has changed, that they cannot be read."""
    try:
        return (
            f"held-out loss {evaluation['base_loss']:.3f} with the base, {evaluation['adapter_loss']:.3f} with the "
            f"adapter (perplexity {evaluation['base_perplexity']:.2f} and {evaluation['adapter_perplexity']:.2f}, "
            f"{evaluation['tokens']:,} tokens)"
        )
    except (KeyError, ValueError, TypeError):
        return "its numbers cannot be read"
