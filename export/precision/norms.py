"""Divides what layer norms take, so that their sums of squares fit in half precision.

A phone's GPU computes all of a graph in fp16, sums included. A layer norm gives the same for its
input divided by any number, if its epsilon is divided by that number's square. The number is a
power of two here, so that not even the last digit changes in fp32.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.graphs import Arrays, Graph
from export.precision.plan import SAFE_PEAK
from samclip_sdk.modeling.neck import LayerNorm2d

Norm: TypeAlias = "nn.LayerNorm | LayerNorm2d"

SAFE_SUM = SAFE_PEAK
"""The largest safe sum of squares on a few feeds; on others it may be larger."""

_MEASURED = 24  # feeds, at most


def divide_norms(graph: Graph, *, feeds: Sequence[Arrays]) -> Graph:
    """Divides the inputs of a graph's layer norms whose sums of squares are above `SAFE_SUM`.

    Args:
        graph: the graph, which is not changed.
        feeds: inputs by name; of many, some are run.
    """
    sums = _sums_of_squares(graph, feeds=feeds[:: -(-len(feeds) // _MEASURED)])
    divisors = {name: _divisor(seen) for name, seen in sums.items() if seen > SAFE_SUM}
    if not divisors:
        return graph
    module = copy.deepcopy(graph.module)
    for name, divisor in divisors.items():
        norm = module.get_submodule(name)
        assert isinstance(norm, nn.LayerNorm | LayerNorm2d)
        module.set_submodule(name, DividedNorm(norm, divisor=divisor))
    return replace(graph, module=module)


class DividedNorm(nn.Module):
    """Computes a layer norm on its input divided by a power of two.

    Args:
        norm: the layer norm, over the last axis of its input or over channels.
        divisor: the power of two.
    """

    def __init__(self, norm: Norm, *, divisor: float) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self._channels_first = isinstance(norm, LayerNorm2d)
        self._factor = 1 / divisor
        self._eps = norm.eps / divisor**2

    def forward(self, x: Tensor) -> Tensor:
        """Maps the norm's input to its output."""
        x = x * self._factor
        if self._channels_first:
            x = x.permute(0, 2, 3, 1)
        y = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self._eps)
        return y.permute(0, 3, 1, 2) if self._channels_first else y


def _sums_of_squares(graph: Graph, *, feeds: Sequence[Arrays]) -> dict[str, float]:
    """Layer norm -> the largest sum of squares over the numbers that it normalises together."""
    sums: dict[str, float] = {}

    def watch(name: str, norm: Norm) -> torch.utils.hooks.RemovableHandle:
        axis = 1 if isinstance(norm, LayerNorm2d) else -1

        def see(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            found = float(args[0].square().sum(dim=axis).max())
            sums[name] = max(sums.get(name, 0.0), found)

        return norm.register_forward_pre_hook(see)

    hooks = [
        watch(name, module)
        for name, module in graph.module.named_modules()
        if isinstance(module, nn.LayerNorm | LayerNorm2d)
    ]
    try:
        with torch.inference_mode():
            for feed in feeds if hooks else ():
                graph.module(*(torch.tensor(feed[spec.name]) for spec in graph.inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def _divisor(sum_of_squares: float) -> float:
    """The smallest power of two by which numbers are divided for a sum of at most `SAFE_SUM`."""
    return 2.0 ** math.ceil(math.log2(sum_of_squares / SAFE_SUM) / 2)
