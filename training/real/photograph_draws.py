"""Photographs drawn by their weights, each with a source of chance of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from training.real.photographs import Photographs
from training.real.records import read_or_replace

_REPLACEMENTS = 1

T = TypeVar("T")


class Draw:
    """Draws numbers by their weights.

    Args:
        weights: float [M], which sum to 1.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self._bounds = np.cumsum(weights)

    def __call__(self, rng: np.random.Generator) -> int:
        """A number from 0 to M - 1."""
        place = np.searchsorted(self._bounds, rng.random() * self._bounds[-1], side="right")
        return min(int(place), len(self._bounds) - 1)


class Drawn:
    """Pictures drawn by their weights, each with its own source of chance.

    Args:
        photographs: of which some are drawn.
        pictures: int64 [M], those.
        concepts: of each, what it counts as (`Photographs.weights`).
        seed: of the draws.
        stream: keeps them apart from others of the same seed.
    """

    def __init__(
        self,
        photographs: Photographs,
        pictures: np.ndarray,
        concepts: Sequence[np.ndarray],
        *,
        seed: int,
        stream: int,
    ) -> None:
        self.pictures = pictures
        self.seed = seed
        self.stream = stream
        self._draw = Draw(photographs.weights(pictures, concepts))

    def picture(self, rng: np.random.Generator) -> int:
        """Draws a picture."""
        return int(self.pictures[self._draw(rng)])

    def rng(self, *place: int) -> np.random.Generator:
        """The source of chance of a place in the endless sequence of batches."""
        return np.random.default_rng([self.seed, self.stream, *place])

    def read(
        self,
        index: int,
        row: int,
        read: Callable[[int, np.random.Generator], T],
        broken: Counter[str],
    ) -> T:
        """Reads the picture of a row of a batch; in place of a broken one, another.

        Args:
            index: of the batch.
            row: of the batch.
            read: makes of a picture what is wanted; raises `BrokenRecord`.
            broken: counts the broken ones by kind.
        """
        rng = self.rng(index, row)
        _, found = read_or_replace(
            self._draw(rng),
            lambda place: read(int(self.pictures[place]), rng),
            among=range(len(self.pictures)),
            rng=self.rng(index, row, _REPLACEMENTS),
            broken=broken,
        )
        return found
