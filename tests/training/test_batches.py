from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.batches import Batch, Joined, batches


class Counted(Dataset[Batch]):
    """Item i is the number i, times `times`."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __getitem__(self, index: int) -> Batch:
        return {"number": torch.tensor([self.times * index])}


def numbers(batch: dict[str, dict[str, Tensor]]) -> dict[str, int]:
    return {name: int(each["number"]) for name, each in batch.items()}


def test_joined_data_sets_are_read_in_step() -> None:
    joined = Joined({"pictures": Counted(1), "scenes": Counted(10)})
    assert numbers(joined[3]) == {"pictures": 3, "scenes": 30}


def test_batches_come_in_the_order_asked_for_whoever_makes_them() -> None:
    """What a resume needs: it begins in the middle, and several workers must not mix the order."""
    joined = Joined({"scenes": Counted(1)})
    for workers in (0, 2):
        found = [numbers(each)["scenes"] for each in batches(joined, [5, 6, 9, 7], workers=workers)]
        assert found == [5, 6, 9, 7]
