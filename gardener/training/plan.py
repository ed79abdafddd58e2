"""What one training run is asked to do, where its files lie, and how much memory it will take."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from gardener.errors import ModelTooLarge, UsageError
from gardener.locks import ProcessLock
from gardener.models.model_folder import text_config
from gardener.paths import ensure_directory

if TYPE_CHECKING:
    from gardener.models.model_folder import ModelFolder

DATA, TRAIN_FILE, HELD_OUT_FILE = "data", "train.jsonl", "held-out.jsonl"
RUN, CHECKPOINT, LOG = "run.json", "checkpoint.safetensors", "trainer.log"

MOST_STEPS, MOST_RANK, MOST_BATCH = 100_000, 256, 64
SCALE: Final = 20.0
"""Of the LoRA matrices' product, and the learning rate below: the defaults of mlx-lm's own trainer (LORA.md)."""
LEARNING_RATE: Final = 1e-5
LAYERS: Final = 16
"""The last ones get matrices, as by mlx-lm's default."""
RUNTIME_BYTES: Final = 600_000_000


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Sizes of one run. `check` refuses what makes no sense."""

    steps: int
    rank: int = 8
    learning_rate: float = LEARNING_RATE
    batch: int = 4
    """Examples a step."""
    tokens: int = 1024
    """Longest example; what is longer is cut off at its end."""
    layers: int = LAYERS
    checkpoint_every: int = 50
    """Steps."""
    seed: int = 1
    save_memory: bool = False
    """Computes activations a second time instead of keeping them."""

    def check(self) -> TrainingPlan:
        """Raises UsageError."""
        for name, value, most in (
            ("--steps", self.steps, MOST_STEPS),
            ("--rank", self.rank, MOST_RANK),
            ("--batch", self.batch, MOST_BATCH),
        ):
            if not 1 <= value <= most:
                raise UsageError(
                    f"{name} must be from 1 to {most:,}, not {value:,}.", next_step="gardener train --help"
                )
        if not 64 <= self.tokens <= 32_768:
            raise UsageError(
                f"--tokens must be from 64 to 32,768, not {self.tokens:,}.", next_step="gardener train --help"
            )
        if not 0 < self.learning_rate < 1:
            raise UsageError(
                f"--learning-rate must be between 0 and 1, not {self.learning_rate:g}.",
                next_step="gardener train --help",
            )
        return self

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def default_steps(examples: int, batch: int) -> int:
    """Three times over all examples, at least 100 steps and at most 1,000."""
    return max(100, min(1000, 3 * examples // max(1, batch)))


def checkpoint_every(steps: int) -> int:
    """A tenth of a run, but not every moment and never more than 50 steps."""
    return max(10, min(50, steps // 10))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps what it was asked for, its data, its checkpoint, and what its process printed."""

    path: str

    @property
    def train(self) -> str:
        return os.path.join(self.path, DATA, TRAIN_FILE)

    @property
    def held_out(self) -> str:
        return os.path.join(self.path, DATA, HELD_OUT_FILE)

    @property
    def run(self) -> str:
        return os.path.join(self.path, RUN)

    @property
    def checkpoint(self) -> str:
        return os.path.join(self.path, CHECKPOINT)

    @property
    def log(self) -> str:
        return os.path.join(self.path, LOG)


def trainer_lock(adapters: str, project: str = "") -> ProcessLock:
    """The lock of the process that trains an adapter of the project whose `adapters` folder this is."""
    return ProcessLock(
        os.path.join(ensure_directory(adapters), ".trainer.lock"), "gardener train", subject=f"'{project}'"
    )


# ---- memory ----------------------------------------------------------------------------------------------


def needed_bytes(folder: ModelFolder, plan: TrainingPlan) -> int:
    """An estimate of the most that a run takes, in bytes.

    weights + activations that are kept for the way back + logits + matrices with their optimizer + the runtime.
    Which activations are kept is from "Reducing Activation Recomputation in Large Transformer Models" (Korthikanti et
    al., 2022, arxiv.org/abs/2205.05198, section 4), counted in 32 bits, plus the attention scores of the layer that is
    being computed; the factors were then set by measuring MLX on small llamas, so that the estimate is the larger one.
    """
    text = text_config(folder.config)

    def number(name: str, default: int) -> int:
        value = text.get(name)
        return value if isinstance(value, int) and 0 < value < 2**31 else default

    hidden = number("hidden_size", 4096)
    inner = number("intermediate_size", 4 * hidden)
    layers = number("num_hidden_layers", 32)
    heads = number("num_attention_heads", 32)
    vocabulary = number("vocab_size", 150_000)
    trained = min(plan.layers, layers) if plan.layers > 0 else layers
    tokens = plan.batch * plan.tokens
    per_layer = tokens * (24 * hidden + 8 * inner) * 4
    activations = per_layer + trained * tokens * hidden * 4 if plan.save_memory else trained * per_layer
    scores = plan.batch * heads * plan.tokens * plan.tokens * 4 * 6
    logits = tokens * vocabulary * 4 * 3
    matrices = trained * 7 * plan.rank * (hidden + inner) * 4 * 4
    return folder.weight_bytes + activations + scores + logits + matrices + RUNTIME_BYTES


def fitted(folder: ModelFolder, plan: TrainingPlan, has: int) -> TrainingPlan:
    """The plan, with activations computed twice where that is what makes it fit into `has` bytes.

    Raises ModelTooLarge with the numbers, and what would need less.
    """
    from dataclasses import replace

    if needed_bytes(folder, plan) <= has:
        return plan
    frugal = replace(plan, save_memory=True)
    needs = needed_bytes(folder, frugal)
    if needs <= has:
        return frugal
    smallest = replace(frugal, batch=1, tokens=min(plan.tokens, 512))
    least = needed_bytes(folder, smallest)
    hint = f" With --batch 1 --tokens {smallest.tokens} it would need {least / 1e9:.1f} GB."
    raise ModelTooLarge(
        f"Training {folder.name} needs about {needs / 1e9:.1f} GB of memory and there are {has / 1e9:.1f} GB, "
        f"{(needs - has) / 1e9:.1f} GB too little.{hint}",
        next_step=f"gardener train --batch 1 --tokens {smallest.tokens}"
        if least <= has
        else "gardener models recommend",
    )
