"""Batches by index: what a data set gives, several of them in step, and read ahead of a step."""

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
"""Of a low-resolution mask, and of the truth that it is held against."""

_STREAM = 24  # keeps these draws apart from others of the same seed

Batch = dict[str, Tensor]


class Joined(Dataset[dict[str, Batch]]):
    """Several datasets read in step: item i holds item i of each, by name."""

    def __init__(self, datasets: dict[str, Dataset[Batch]]) -> None:
        self.datasets = datasets

    def __getitem__(self, index: int) -> dict[str, Batch]:
        return {name: dataset[index] for name, dataset in self.datasets.items()}


class Interleaved(Dataset[Batch]):
    """Batches of several datasets: item i is item i of one of them, drawn by its share.

    Args:
        datasets: to draw from.
        shares: of each, above 0.
        seed: of the draws.
    """

    def __init__(
        self, datasets: Sequence[Dataset[Batch]], *, shares: Sequence[float], seed: int
    ) -> None:
        self.datasets = list(datasets)
        self.shares = np.array(shares) / sum(shares)
        self.seed = seed

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.seed, _STREAM, index])
        return self.datasets[int(rng.choice(len(self.shares), p=self.shares))][index]


def stack_images(images: Sequence[np.ndarray]) -> Tensor:
    """Stacks images uint8 [S,S,3] as [B,3,S,S]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def batches(dataset: Dataset[Any], indices: Sequence[int], *, workers: int) -> Iterator[Any]:
    """Yields the items of these indices, made ahead in `workers` processes."""
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_ignore_interrupts,
        )
    )


def _ignore_interrupts(_: int) -> None:
    """A terminal interrupts the workers too, and the step in hand still needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
