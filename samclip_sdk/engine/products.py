"""Matrix products that leave the other cores to the graphs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_MAX = 1 << 18
"""The most multiply-adds that OpenBLAS, behind numpy, computes in the calling thread alone."""


def product(matrix: Array, other: Array) -> Array:
    """`matrix @ other`, a product with a matrix or a vector, in the calling thread alone.

    OpenBLAS shares larger products with threads of its own. These wait for the next product some
    20 ms long, spinning, on cores that an image encoder needs then: on two cores a pass of 40 ms
    takes 55.
    """
    if other.ndim == 1:
        return np.concatenate([part @ other for part in _rows(matrix, _MAX // len(other))])
    side = max(1, math.isqrt(_MAX // len(other)))
    return np.concatenate(
        [
            np.concatenate([part @ column.T for column in _rows(other.T, side)], axis=1)
            for part in _rows(matrix, side)
        ]
    )


def _rows(matrix: Array, count: int) -> list[Array]:
    """A matrix, a few rows at a time; an empty one as it is."""
    return [matrix[at : at + count] for at in range(0, len(matrix) or 1, max(1, count))]
