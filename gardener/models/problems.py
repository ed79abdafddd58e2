"""Kinds of problems with a generation, and for each the one sentence of advice with the command that helps."""

from __future__ import annotations

from typing import Final, NamedTuple

from gardener.errors import (
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    GardenerError,
    Interrupted,
    ModelError,
    ModelNotFound,
    ModelTooLarge,
    UsageError,
)
from gardener.types import ProblemKind


class Advice(NamedTuple):
    sentence: str
    """What it means and what to do, for the user. Ends with a full stop."""
    next_step: str
    """A command; "" when there is nothing to type."""


ADVICE: Final[dict[ProblemKind, Advice]] = {
    "": Advice("", ""),
    "network": Advice("The model server cannot be reached: see that it runs and that its address is right.",
                      "gardener doctor"),
    "rate limit": Advice("The model server has too much to do: ask again in a moment.", ""),
    "validation": Advice("The model server does not accept the request: look at its model, key and window.",
                         "gardener config show --origin"),
    "model failure": Advice("The model itself failed: see whether it is whole.", "gardener models check"),
    "timeout": Advice("The model took too long: a smaller one is faster, and models.first_token_s, models.idle_s and "
                      "models.total_s allow more time.", "gardener models recommend"),
    "cancelled": Advice("It was stopped. What had been said is kept, and can be continued.",
                        "gardener ask --continue"),
    "memory": Advice("The model does not fit into memory now: take a smaller one, or close something large.",
                     "gardener models recommend"),
    "unknown": Advice("The log says more.", "gardener doctor"),
}  # fmt: skip
"""Every kind has its row."""

_KINDS: Final[tuple[tuple[ProblemKind, tuple[type[BaseException], ...]], ...]] = (
    ("memory", (ModelTooLarge, MemoryError)),
    ("timeout", (BackendTimeout, TimeoutError)),
    ("rate limit", (BackendBusy,)),
    ("validation", (BackendRefused, ModelNotFound, UsageError, ConfigError)),
    ("network", (BackendUnavailable, ConnectionError)),
    ("model failure", (BackendError, ModelError)),
    ("cancelled", (Interrupted, KeyboardInterrupt)),
)
"""The first row with a class of the error counts, so the more special ones come first."""


def problem_of(error: BaseException) -> ProblemKind:
    """The kind of problem that an error is, for whoever shows or counts it."""
    for kind, classes in _KINDS:
        if isinstance(error, classes):
            return kind
    return "unknown"


class Failure(NamedTuple):
    """Why a backend did not answer to the end."""

    message: str
    kind: ProblemKind
    next_step: str = ""
    """The error's own, where it has one."""

    def advice(self) -> str:
        """What to do, with the command that helps, in Markdown."""
        known = ADVICE[self.kind]
        command = self.next_step or known.next_step
        return f"{known.sentence} Try `{command}`." if command else known.sentence


def failure_of(error: Exception) -> Failure:
    if isinstance(error, GardenerError):
        return Failure(error.message, problem_of(error), error.next_step)
    return Failure(f"{type(error).__name__}: {error}", problem_of(error))
