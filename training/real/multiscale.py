"""Batches of varying resolution and a constant number of pixels (Mehta et al., CVNets' sampler).

Nothing but arithmetic: which resolution batch i has, and which indices of an endless sequence of
samples it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.errors import TrainingError

_STREAM = 4  # keeps these draws apart from others of the same seed
_CHUNK = 4096  # steps whose resolutions are drawn at once


class Span(NamedTuple):
    """One batch: its resolution, and the indices of the sequence that it holds."""

    resolution: int
    indices: range


class Multiscale:
    """The batches of a run, by index: one after the other, without gaps or overlaps.

    All batches of a step share a resolution, so that processes are equally busy and a step's mean
    over batches is one over samples.

    Args:
        resolutions: sides of images to draw from, all as likely.
        pixels_per_batch: the budget; a batch at S has budget / S^2 images, rounded down.
        indices_per_step: batches of a step, over all processes and accumulated ones.

    Raises:
        TrainingError: the budget is below one image.
    """

    def __init__(
        self,
        resolutions: Sequence[int],
        *,
        pixels_per_batch: int,
        indices_per_step: int = 1,
        seed: int,
    ) -> None:
        largest = max(resolutions)
        if pixels_per_batch < largest**2:
            raise TrainingError(
                f"{pixels_per_batch} pixels a batch are less than one image of "
                f"{largest} x {largest}"
            )
        self.resolutions = np.array(resolutions, np.int64)
        self.counts = pixels_per_batch // self.resolutions**2
        self.indices_per_step = indices_per_step
        self.seed = seed
        self._starts = [0]  # the index at which each chunk of steps begins, as far as was asked

    def batch(self, index: int) -> Span:
        """Batch `index`, from the seed and the index alone."""
        step, rank = divmod(index, self.indices_per_step)
        chunk, row = divmod(step, _CHUNK)
        while len(self._starts) <= chunk:
            past = self.counts[self._draw(len(self._starts) - 1)]
            self._starts.append(self._starts[-1] + self.indices_per_step * int(past.sum()))
        drawn = self._draw(chunk)
        before = int(self.counts[drawn[:row]].sum())
        count = int(self.counts[drawn[row]])
        first = self._starts[chunk] + self.indices_per_step * before + rank * count
        return Span(int(self.resolutions[drawn[row]]), range(first, first + count))

    def _draw(self, chunk: int) -> np.ndarray:
        """Draws the resolution of each step of a chunk: int64 [_CHUNK]."""
        rng = np.random.default_rng([self.seed, _STREAM, chunk])
        return rng.integers(len(self.resolutions), size=_CHUNK)
