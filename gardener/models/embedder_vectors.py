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
MOST_WINDOWS = 4


def checked(raw: Any, count: int, who: str, dimensions: int = 0) -> NDArray[np.float32]:
    """`raw` as float32 of shape (count, dimensions), each row of L2 norm 1.

    `who` names the embedder in errors, `dimensions` is what is expected (0: anything). Raises EmbedderUnavailable for
    another number of vectors, another dimension, NaN, infinity and zero vectors.
    """
    import numpy as np

    def refuse(what: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(f"{who} gave {what}.", next_step="gardener embedder")

    try:
        vectors = np.asarray(raw, np.float32)
    except (TypeError, ValueError) as error:
        raise refuse("something that is not vectors") from error
    if vectors.ndim != 2 or len(vectors) != count or vectors.shape[1] == 0:
        raise refuse(f"{vectors.shape} instead of {count} vectors")
    if dimensions and vectors.shape[1] != dimensions:
        raise refuse(f"vectors with {vectors.shape[1]} numbers instead of {dimensions}: the model has changed")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.isfinite(norms).all() or (norms < 1e-12).any():
        raise refuse("vectors that are zero or not numbers")
    result: NDArray[np.float32] = (vectors / norms[:, None]).astype(np.float32)
    return result


def in_windows(
    texts: Sequence[str], characters: int, embed: Callable[[list[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Embeds texts that may be longer than a model reads: window by window, the first counting twice the others.

    `embed` takes texts of at most `characters` and gives unit rows; so does this.
    """
    import numpy as np

    windows = [
        [text[at : at + characters] for at in range(0, max(len(text), 1), characters)][:MOST_WINDOWS] for text in texts
    ]
    vectors = embed([window for of_text in windows for window in of_text])
    rows = []
    at = 0
    for of_text in windows:
        own = vectors[at : at + len(of_text)]
        at += len(of_text)
        pooled = own[0] + LATER_WEIGHT * own[1:].sum(axis=0)
        rows.append(pooled / np.linalg.norm(pooled))
    return np.stack(rows).astype(np.float32)
