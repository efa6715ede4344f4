"""SAM's neck: from the backbone's tokens to the embeddings that the mask decoder reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def build_neck(dim: int, *, out_chans: int) -> nn.Sequential:
    """Maps image_tokens [B,dim,g,g] to image_embeddings [B,out_chans,g,g]."""
    return nn.Sequential(
        nn.Conv2d(dim, out_chans, kernel_size=1, bias=False),
        LayerNorm2d(out_chans),
        nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_chans),
    )


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of [B,C,H,W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = 1e-6

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,H,W] to [B,C,H,W]."""
        y = F.layer_norm(
            features_bchw.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return y.permute(0, 3, 1, 2)
