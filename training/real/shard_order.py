"""In which order a run sees the samples of its sources: a function of the seed and the index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.errors import TrainingError

_SHARDS_STREAM, _SAMPLES_STREAM, _SOURCES_STREAM = 5, 6, 7  # apart from others of the same seed
_GROUP = 8  # shards whose samples are shuffled together
_BLOCK = 4096  # places over which the sources keep their shares exactly


class ShardOrder:
    """One source, epoch after epoch: each sees every sample once.

    In each epoch the shards are permuted, and the samples shuffled within groups of eight of
    them: reading touches few files at a time, and only one group's order is in memory.

    Args:
        starts: int64 [n+1], the first sample of each shard, and the end of the last one.
        source: the source's number, so that no two have the same.
    """

    def __init__(self, starts: np.ndarray, *, seed: int, source: int) -> None:
        self.starts = starts
        self.seed = seed
        self.source = source
        self._epoch = self._group = -1
        self._shards = self._ends = self._samples = np.empty(0, np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1] - self.starts[0])

    def sample(self, index: int) -> int:
        """The sample at a place, counted from 0 through all epochs."""
        epoch, within = divmod(index, len(self))
        if epoch != self._epoch:
            self._shuffle_shards(epoch)
        group = int(np.searchsorted(self._ends, within, side="right"))
        if group != self._group:
            self._shuffle_samples(group)
        first = int(self._ends[group - 1]) if group else 0
        return int(self._samples[within - first])

    def _shuffle_shards(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, _SHARDS_STREAM, self.source, epoch])
        self._shards = rng.permutation(len(self.starts) - 1)
        ends = np.diff(self.starts)[self._shards].cumsum()
        lasts = np.arange(_GROUP, len(ends) + _GROUP, _GROUP).clip(max=len(ends)) - 1
        self._ends = ends[lasts]  # where each group ends
        self._epoch, self._group = epoch, -1

    def _shuffle_samples(self, group: int) -> None:
        rng = np.random.default_rng([self.seed, _SAMPLES_STREAM, self.source, self._epoch, group])
        shards = self._shards[group * _GROUP : (group + 1) * _GROUP]
        samples = [np.arange(self.starts[shard], self.starts[shard + 1]) for shard in shards]
        self._samples = rng.permutation(np.concatenate(samples))
        self._group = group


class Mixture:
    """Several sources in one sequence, each with its share of every 4,096 places in random order.

    A source that is small for its share goes through more epochs than others do.

    Args:
        orders: one a source.
        weights: the shares, up to a common factor. The sources' sizes give their union.

    Raises:
        TrainingError: a weight is too small for a place in 4,096.
    """

    def __init__(
        self, orders: Sequence[ShardOrder], *, weights: Sequence[float], seed: int
    ) -> None:
        self.orders = list(orders)
        self.quotas = _apportion(weights)
        self.seed = seed
        self._block = -1
        self._turns = np.empty(0, np.int64)

    def sample(self, index: int) -> tuple[int, int]:
        """The source at a place of the sequence, and the sample of it."""
        block, within = divmod(index, _BLOCK)
        if block != self._block:
            rng = np.random.default_rng([self.seed, _SOURCES_STREAM, block])
            self._turns = rng.permutation(np.repeat(np.arange(len(self.quotas)), self.quotas))
            self._block = block
        source = int(self._turns[within])
        before = int(np.count_nonzero(self._turns[:within] == source))
        return source, self.orders[source].sample(block * int(self.quotas[source]) + before)


def _apportion(weights: Sequence[float]) -> np.ndarray:
    """Places of each source in a block, int64 [n], by largest remainders."""
    shares = np.array(weights, np.float64)
    exact = _BLOCK * shares / shares.sum()
    quotas: np.ndarray = np.floor(exact).astype(np.int64)
    largest = np.argsort(quotas - exact, kind="stable")[: _BLOCK - int(quotas.sum())]
    quotas[largest] += 1
    if not quotas.all():
        raise TrainingError(f"weights are {list(weights)}; one is below 1/{_BLOCK} of their sum")
    return quotas
