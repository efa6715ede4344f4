"""Matrix products that leave the other cores to the graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_OF_MATRICES, _OF_A_VECTOR = 1 << 20, 1 << 18
"""The most multiply-adds that OpenBLAS, behind numpy, computes in the calling thread alone."""


def product(matrix: Array, other: Array) -> Array:
    """`matrix @ other`, a product with a matrix or a vector, in the calling thread alone.

    OpenBLAS shares larger products with threads of its own. These wait for the next product some
    20 ms long, spinning, on cores that an image encoder needs then: on two cores a pass of 40 ms
    takes 55.
    """
    most = _OF_MATRICES if other.ndim == 2 else _OF_A_VECTOR
    rows = max(1, most // other.size)
    blocks: list[Any] = [matrix[at : at + rows] @ other for at in range(0, len(matrix), rows)]
    return np.concatenate(blocks) if blocks else matrix @ other
