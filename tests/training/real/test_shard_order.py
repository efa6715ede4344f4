from __future__ import annotations

import numpy as np
import pytest

from training.errors import TrainingError
from training.real.shard_order import Mixture, ShardOrder

# Of 21 shards one is empty and one is large.
STARTS = np.concatenate([[5], 5 + np.array([3, 0, 40, *range(1, 19)]).cumsum()])
ORDER = ShardOrder(STARTS, seed=0, source=0)


def test_reading_stays_within_a_few_shards() -> None:
    samples = [ORDER.sample(index) for index in range(len(ORDER))]
    shards = np.searchsorted(STARTS, samples, side="right")
    # Three groups of at most eight shards, and no shard is in two of them.
    spans = [np.flatnonzero(shards == shard) for shard in np.unique(shards)]
    groups = {(int(span.min()), int(span.max())) for span in spans}
    assert len(groups) == 20
    open_at_once = [
        sum(first <= index <= last for first, last in groups) for index in range(len(ORDER))
    ]
    assert max(open_at_once) <= 8


def test_sources_have_their_shares_and_epochs_of_their_own() -> None:
    small = ShardOrder(np.array([0, 5]), seed=0, source=0)
    large = ShardOrder(np.array([5, 3000, 9000]), seed=0, source=1)
    mixture = Mixture([small, large], weights=[1, 3], seed=0)
    drawn = [mixture.sample(index) for index in range(3 * 4096)]
    for block in range(3):
        sources = [source for source, _ in drawn[block * 4096 : (block + 1) * 4096]]
        assert sources.count(0) == 1024
        assert 3 < max(map(len, "".join(map(str, sources)).split("0"))) < 100, "they are mixed"
    of_small = [sample for source, sample in drawn if source == 0]
    assert of_small == [small.sample(index) for index in range(3 * 1024)]
    of_large = [sample for source, sample in drawn if source == 1]
    assert sorted(of_large[: len(large)]) == list(range(5, 9000))
    assert Mixture([small, large], weights=[0.25, 0.75], seed=0).sample(9999) == drawn[9999]


def test_a_weight_that_is_too_small() -> None:
    with pytest.raises(TrainingError, match="weights are"):
        Mixture([ORDER, ORDER], weights=[1, 1e-9], seed=0)
