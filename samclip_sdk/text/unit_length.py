"""Embeddings at unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalize(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales embeddings [...,E] to unit length; a length below 1e-6 counts as 1e-6."""
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (embeddings / np.maximum(length, 1e-6)).astype(np.float32)
    return unit
