from __future__ import annotations

import numpy as np
import pytest

from training.errors import TrainingError
from training.real.shard_order import Mixture, ShardOrder

# Of 21 shards one is empty and one is large.
STARTS = np.concatenate([[5], 5 + np.array([3, 0, 40, *range(1, 19)]).cumsum()])


def order(seed: int = 0, source: int = 0) -> ShardOrder:
    return ShardOrder(STARTS, seed=seed, source=source)


def test_reading_stays_within_a_few_shards() -> None:
    one = order()
    samples = [one.sample(place) for place in range(len(one))]
    shards = np.searchsorted(STARTS, samples, side="right")
    # Three groups of at most eight shards, and no shard is in two of them.
    spans = [np.flatnonzero(shards == shard) for shard in np.unique(shards)]
    groups = {(int(span.min()), int(span.max())) for span in spans}
    assert len(groups) == 20
    open_at_once = [
        sum(first <= place <= last for first, last in groups) for place in range(len(one))
    ]
    assert max(open_at_once) <= 8


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, float("nan")], [], [1, 1e-9]])
def test_impossible_weights(weights: list[float]) -> None:
    with pytest.raises(TrainingError, match="weights are"):
        Mixture([order()] * len(weights), weights=weights, seed=0)
