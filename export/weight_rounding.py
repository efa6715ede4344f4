"""Weights on grids of 8 bits, so that a byte holds one: `external_weights` writes them so.

A grid is that of a few weights of one channel, between equal steps of which they lie.
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
"""Tensors with fewer stay as they are: they take little room, and those at the start of a backbone
lose most by rounding."""

_LEVELS = 127
_IN_A_GROUP = 16
_SMALLEST = np.finfo(np.float16).smallest_normal
"""Groups of less are zeros: graphs that compute in fp16 would not find the same grid in them."""


class Axes(NamedTuple):
    """Of a weight: the axis of the channels that it makes, and the one that its product sums over.

    What is looked up in a table is not summed: all rows of a column are one group.
    """

    channels: int
    summed: int | None


def round_weights(source: Source) -> Source:
    """The same model with the factors of its large products on their grids: another revision.

    Depthwise convolutions stay: they are small too.
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
    """Where weights lie on the grids of their groups.

    Args:
        weight: of any shape.
        axes: which of its axes are which.

    Returns:
        How many steps each weight is from 0, -127..127, whole numbers if it was rounded; and the
        steps. Both in the weight's shape, but that the axis that is summed is parted in two,
        groups and what is in them, of which the steps have 1.
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
    """Of a module's `weight`; None where it is not rounded."""
    match module:
        case nn.Conv2d(groups=1) | nn.Linear():
            return Axes(channels=0, summed=1)
        case nn.ConvTranspose2d(groups=1):
            return Axes(channels=1, summed=0)
        case nn.Embedding():
            return Axes(channels=1, summed=None)
        case _:
            return None
