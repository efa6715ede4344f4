"""Rounds weights to grids of 8 bits, so that `external_weights` can store each in a byte.

A group of a few weights of one channel has one grid, whose steps are equal.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.source import Source

FEWEST_WEIGHTS = 65536
"""Smaller tensors stay unchanged: they take little space, and rounding does most harm at the start
of a backbone."""

_LEVELS = 127
_IN_A_GROUP = 16
_SMALLEST = np.finfo(np.float16).smallest_normal
"""Groups of smaller weights become zeros: a graph that computes in fp16 would have another grid."""


class Axes(NamedTuple):
    """The axis of a weight's output channels, and the axis that its product sums over.

    A look-up in a table has no sum: all rows of a column are one group.
    """

    channels: int
    summed: int | None


def round_weights(source: Source) -> Source:
    """Rounds the factors of a model's large products to their grids; the revision changes.

    Depthwise convolutions stay unchanged, because they are small.
    """
    model = deepcopy(source.model)
    round_modules(model)
    revision = hashlib.sha256(f"{source.revision} int8".encode()).hexdigest()[:16]
    return replace(source, model=model, revision=revision)


def round_modules(model: nn.Module) -> None:
    """Rounds the weights of a module's convolutions, linear layers and tables in place."""
    for module in model.modules():
        axes = _axes(module)
        weight = getattr(module, "weight", None)
        if axes is not None and isinstance(weight, Tensor) and weight.numel() >= FEWEST_WEIGHTS:
            weight = weight.detach().numpy()
            counts, steps = on_grid(weight, axes=axes)
            rounded = (counts.round() * steps).reshape(weight.shape)
            module.weight = nn.Parameter(torch.from_numpy(rounded), requires_grad=False)


def on_grid(
    weight: NDArray[np.floating], *, axes: Axes
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Computes the places of weights on the grids of their groups.

    Args:
        weight: any shape.
        axes: the roles of its axes.

    Returns:
        The number of steps of each weight from 0, in -127..127, whole numbers if the weight was
        rounded; and the steps. Both have the weight's shape, but the axis of the sum is split into
        two, the groups and the weights of a group; the second has length 1 in the steps.
    """
    shape, alone = list(weight.shape), {axes.channels}
    if axes.summed is not None:
        length = shape[axes.summed]
        size = next(n for n in range(min(_IN_A_GROUP, length), length + 1) if length % n == 0)
        shape[axes.summed : axes.summed + 1] = [length // size, size]
        alone = {axes.channels + (axes.channels > axes.summed), axes.summed}
    grouped = weight.astype(np.float32).reshape(shape)
    shared = tuple(axis for axis in range(len(shape)) if axis not in alone)
    peaks = np.abs(grouped).max(axis=shared, keepdims=True)
    steps = np.where(peaks < _SMALLEST, 0, peaks / _LEVELS).astype(np.float32)
    counts = grouped / np.where(steps > 0, steps, np.inf)
    return counts.astype(np.float32), steps


def _axes(module: nn.Module) -> Axes | None:
    """The axes of a module's `weight`; None if it is not rounded."""
    match module:
        case nn.Conv2d(groups=1) | nn.Linear():
            return Axes(channels=0, summed=1)
        case nn.ConvTranspose2d(groups=1):
            return Axes(channels=1, summed=0)
        case nn.Embedding():
            return Axes(channels=1, summed=None)
        case _:
            return None
