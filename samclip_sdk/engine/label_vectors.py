"""The vectors that stand for labels: one for each, or one for each kind of a general word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.products import product

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LabelVectors:
    """K labels, each with one vector or more; a label is as like something as its likest vector.

    Attributes:
        rows: float32 [R,E], unit length, those of each label together.
        starts: int64 [K], the index of each label's first row.
    """

    rows: Array
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Array) -> LabelVectors:
        """K labels of one vector each, [K,E]."""
        return cls(rows, np.arange(len(rows)))

    @classmethod
    def joined(cls, groups: Sequence[Array]) -> LabelVectors:
        """K labels, each with its vectors [n,E], of which there is one at least."""
        sizes = [len(group) for group in groups]
        return cls(np.concatenate(groups), np.cumsum([0, *sizes[:-1]]))

    def __len__(self) -> int:
        return len(self.starts)

    def one(self, index: int) -> LabelVectors:
        """One of the labels alone."""
        end = self.starts[index + 1] if index + 1 < len(self) else len(self.rows)
        return LabelVectors.joined([self.rows[self.starts[index] : end]])

    def cosines(self, embeddings_ne: Array) -> Array:
        """The cosine of each label and each embedding [n,E]: float32 [K,n].

        One product for each vector: in a single matrix product the last bits of a label's cosines
        would depend on how many labels stand beside it.
        """
        return self._best(np.stack([product(embeddings_ne, row) for row in self.rows]))

    def cosines_at_once(self, embeddings_ne: Array) -> Array:
        """The same in one product, for thousands of labels: the last bits may depend on all."""
        return self._best(product(self.rows, embeddings_ne.T))

    def _best(self, cosines: Array) -> Array:
        """The highest of each label's rows, of [R,n]."""
        if len(self) == len(self.rows):
            return cosines
        best: Array = np.maximum.reduceat(cosines, self.starts, axis=0)
        return best
