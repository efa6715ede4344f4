"""Batches by index: of one data set, of several at once, and read ahead of a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

PATCH_PX = 16

CELL_PX = 4
"""Pixels of the input for each pixel of a low-resolution mask, and of its truth."""

VALIDATION_SEED = 1_000_000
"""The seed of data for validations, far from all seeds of training."""

Batch = dict[str, Tensor]


class Joined(Dataset[dict[str, Batch]]):
    """Several data sets as one: item i has item i of each of them, by name."""

    def __init__(self, datasets: dict[str, Dataset[Batch]]) -> None:
        self.datasets = datasets

    def __getitem__(self, index: int) -> dict[str, Batch]:
        return {name: dataset[index] for name, dataset in self.datasets.items()}


def stack_images(images: Sequence[np.ndarray]) -> Tensor:
    """Stacks images uint8 [S,S,3] as [B,3,S,S]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def batches(
    dataset: Dataset[Any], indices: Sequence[int], *, workers: int, pinned: bool = False
) -> Iterator[Any]:
    """Yields the items of the indices, prepared by `workers` processes ahead of time.

    With `pinned`, they are in page-locked memory, from which copies to a GPU do not block.
    """
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=pinned,
            worker_init_fn=_ignore_interrupts,
        )
    )


def _ignore_interrupts(_: int) -> None:
    """Ignores Ctrl-C, which reaches the workers too: the current step still needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
