"""BatchNorms with statistics of their own: fresh ones change nothing, which would hide faults."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def draw_batch_norms(module: nn.Module, *, seed: int) -> None:
    """Draws the statistics and the weights of every BatchNorm."""
    generator = torch.Generator().manual_seed(seed)
    for norm in batch_norms(module):
        shape = (norm.num_features,)
        norm.running_mean.copy_(0.1 * torch.randn(shape, generator=generator))
        norm.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
        norm.weight.copy_(1 + 0.2 * torch.randn(shape, generator=generator))
        norm.bias.copy_(0.1 * torch.randn(shape, generator=generator))


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
