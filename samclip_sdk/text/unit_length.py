"""Embeddings at unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-3


def normalize(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales embeddings [...,E] to unit length; a length below 1e-6 counts as 1e-6."""
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (embeddings / np.maximum(length, 1e-6)).astype(np.float32)
    return unit


def find_wrong_length(rows: NDArray[np.float32]) -> tuple[int, float] | None:
    """The first row of [K,E] that does not have unit length, and its length; None if all have."""
    with np.errstate(invalid="ignore"):  # NaN has no length
        lengths = np.sqrt(np.einsum("ke,ke->k", rows, rows, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _TOLERANCE))
    return (int(wrong[0]), float(lengths[wrong[0]])) if len(wrong) else None
