"""What every data set keeps to: a batch depends on its index and the seed alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.data import Dataset

from training.batches import Batch


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def check_reproducible(make: Callable[[int], Dataset[Batch]], *, index: int) -> None:
    """Reads the batch of an index after those before it and alone, and with another seed."""
    dataset = make(0)
    read_before = [dataset[each] for each in range(index + 1)]
    assert equal(make(0)[index], read_before[index])
    assert equal(dataset[0], read_before[0])
    assert not equal(read_before[index - 1], read_before[index])
    assert not equal(make(1)[index], read_before[index])
