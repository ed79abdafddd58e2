"""What every embedder but the packaged one has to do with raw vectors: check them, normalise them, keep long tails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gardener.errors import EmbedderUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LATER_WEIGHT = 0.5
"""Of windows after the first, as measured for the packaged embedder (models/embeddings.py)."""
MOST_DIMENSIONS = 8_192
"""Twice what the largest known models have."""
LONGEST_TEXT = 16_384
"""Characters of a text that are looked at; the index embeds at most 6,000 of a chunk."""


def checked(raw: Any, count: int, who: str, dimensions: int = 0) -> NDArray[np.float32]:
    """`raw` as float32 of shape (count, dimensions), each row of L2 norm 1.

    `who` names the embedder in errors, `dimensions` is what is expected (0: anything). Raises EmbedderUnavailable for
    another number of vectors, another dimension, NaN, infinity and zero vectors.
    """
    import numpy as np

    def refuse(what: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"{who} gave {what}.", next_step="gardener embedder")

    try:
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused below
            vectors = np.asarray(raw, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse("something that is not vectors") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise refuse(f"{vectors.shape} instead of {count} vectors")
    if vectors.shape[1] > MOST_DIMENSIONS:
        raise refuse(f"vectors with {vectors.shape[1]:,} numbers, of at most {MOST_DIMENSIONS:,}")
    if dimensions and vectors.shape[1] != dimensions:
        raise refuse(f"vectors with {vectors.shape[1]} numbers instead of {dimensions}: the model has changed")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.isfinite(norms).all() or (norms < 1e-12).any():
        raise refuse("vectors that are zero or not numbers")
    result: NDArray[np.float32] = (vectors / norms[:, None]).astype(np.float32)
    return result


def in_windows(
    texts: Sequence[str], cut: Callable[[str], list[str]], embed: Callable[[list[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Embeds texts that may be longer than a model reads, window by window: see `joined`.

    `cut` gives the windows of a text, at least one; `embed` takes windows and gives unit rows; so does this.
    """
    import numpy as np

    windows = [cut(text[:LONGEST_TEXT]) for text in texts]
    vectors = embed([window for of_text in windows for window in of_text])
    rows = []
    at = 0
    for of_text in windows:
        rows.append(joined(vectors[at : at + len(of_text)]))
        at += len(of_text)
    return np.stack(rows).astype(np.float32)


def joined(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """One unit vector for a text out of its windows', shape (n, dimensions); the first counts twice the others."""
    import numpy as np

    pooled = windows[0] + LATER_WEIGHT * windows[1:].sum(axis=0)
    norm = np.linalg.norm(pooled)
    # Opposite windows can cancel out; the beginning says most.
    return np.asarray(pooled / norm if norm > 1e-6 else windows[0], np.float32)


def by_characters(text: str, characters: int) -> list[str]:
    """Windows of at most so many characters; the empty text has one, which is empty."""
    return [text[at : at + characters] for at in range(0, max(len(text), 1), characters)]


def halves(text: str) -> tuple[str, str]:
    """Cut at the line break nearest to the middle, if there is one in the middle half."""
    middle = len(text) // 2
    breaks = (text.rfind("\n", middle // 2, middle) + 1, text.find("\n", middle, middle + middle // 2) + 1)
    at = min((place for place in breaks if place), key=lambda place: abs(place - middle), default=middle)
    return text[:at], text[at:]
