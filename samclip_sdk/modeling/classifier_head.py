"""The CLIP head of a convolutional encoder: a classifier's last layers, and their correction.

The paper's head has a ViT's layers. A convolutional backbone that was taught to classify has layers
of its own behind it, which know more than layers drawn anew: this head begins as those.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import PATCH_OBJECTS, ClassifierHeadConfig, PyramidConfig
from samclip_sdk.modeling.neck import LayerNorm2d


class ClassifierHead(nn.Module):
    """Picture: what the classifier pools, mapped to the joint space. Patch: that there, corrected.

    Attributes:
        expand: the classifier's convolution before its pooling, BatchNorm folded in.
        project: from what is pooled to the joint space, a linear map.
        cells: what corrects each patch.
    """

    def __init__(
        self, encoder: PyramidConfig, head: ClassifierHeadConfig, *, embed_dim: int
    ) -> None:
        super().__init__()
        self.widths = encoder.widths
        self.expand = nn.Conv2d(encoder.widths[-1], head.features, kernel_size=1)
        self.project = nn.Conv2d(head.features, embed_dim, kernel_size=1)
        self.cells: nn.Module = CellHead(encoder.token_dim, head=head, embed_dim=embed_dim)

    def forward(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, ...]:
        """Embeds the image and each of its patches in CLIP's joint space.

        Args:
            image_tokens: [B,C,g,g], the backbone's features: strides 8, 16 and 32 at stride 16.
            token_mask: float [B,g,g], 1 where the patch holds any image pixel.

        Returns:
            patch_embeddings [B,g*g,E] and image_embedding [B,E], L2-normalised; and, of a head that
            tells of objects, patch_objects [B,g*g,`PATCH_OBJECTS`].
        """
        features = self.features(image_tokens)
        pooled = self.embed(pool_unpadded(features, token_mask))
        patches, *objects = self.cells(image_tokens, self.project(features))
        return patches, pooled, *objects

    def features(self, image_tokens: Tensor) -> Tensor:
        """What the classifier pools of tokens [B,C,g,g]: [B,F,g/2,g/2]."""
        coarse = F.avg_pool2d(image_tokens[:, -self.widths[-1] :], 2)  # as it was: it is repeated
        return F.relu6(self.expand(coarse))

    def embed(self, pooled: Tensor) -> Tensor:
        """Maps pooled features [B,F] to unit embeddings [B,E]."""
        return _unit(self.project(pooled[..., None, None])).flatten(1)

    def at_resolution(self, resolution: int, *, patch_size: int) -> ClassifierHead:
        """Returns a copy for export, with less work in it; it runs at any other resolution too."""
        baked = copy.deepcopy(self)
        assert isinstance(baked.cells, CellHead)
        baked.cells = TokenCellHead(baked.cells)
        return baked


class CellHead(nn.Module):
    """Corrects what a classifier says of each cell by finer features and by what is around.

    It starts as no correction at all.
    """

    def __init__(self, token_dim: int, *, head: ClassifierHeadConfig, embed_dim: int) -> None:
        super().__init__()
        width, mlp_dim = head.hidden_dim, head.mlp_dim
        self.norm = LayerNorm2d(token_dim)
        self.inward = nn.Conv2d(token_dim + embed_dim, width, kernel_size=1)
        self.blocks = nn.Sequential(*(ContextBlock(width, mlp_dim=mlp_dim) for _ in range(2)))
        self.outward = nn.Conv2d(width, embed_dim, kernel_size=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)
        self.objects: nn.Conv2d | None = None
        if head.objects:
            self.objects = nn.Conv2d(width, PATCH_OBJECTS, kernel_size=1)

    def forward(self, tokens: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        """Maps tokens [B,C,g,g] and the classifier's answer [B,E,g/2,g/2] to unit [B,g*g,E].

        And to patch_objects [B,g*g,`PATCH_OBJECTS`], if it tells of them.
        """
        plain = _unit(_twice(coarse))
        # The entries of a unit vector are small beside what a norm leaves.
        seen = torch.cat([self.norm(tokens), plain * plain.shape[1] ** 0.5], dim=1)
        x = self.blocks(F.gelu(self.inward(seen)))
        patches = _to_tokens(_unit(plain + self.outward(x)))
        return (patches,) if self.objects is None else (patches, _to_tokens(self.objects(x)))


class ContextBlock(nn.Module):
    """As ConvNeXt's block: a wide convolution in each channel, then an MLP in each cell."""

    def __init__(self, width: int, *, mlp_dim: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, mlp_dim, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(mlp_dim, width, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,C,g,g]."""
        y: Tensor = x + self.mlp(self.norm(self.around(x)))
        return y


class TokenCellHead(nn.Module):
    """A CellHead that answers the same in less time, for export.

    Tokens are [B,N,C], which runtimes keep in one layout: they move [B,C,g,g] to and fro between a
    norm and a convolution. And what `inward` makes of the classifier's answer is made before that
    is upsampled, in a quarter of the places, and divided by the length that it has there.

    Args:
        cells: shares its weights.
    """

    def __init__(self, cells: CellHead) -> None:
        super().__init__()
        weight, embed_dim = cells.inward.weight.detach(), cells.outward.out_channels
        width, token_dim = weight.shape[0], weight.shape[1] - embed_dim
        self.norm = _layer_norm(cells.norm)
        self.inward = _linear(cells.inward, inputs=token_dim)
        self.inward_coarse = nn.Conv2d(embed_dim, width, kernel_size=1, bias=False)
        self.inward_coarse.weight = nn.Parameter(weight[:, token_dim:] * embed_dim**0.5)
        self.blocks = nn.Sequential(*map(TokenContextBlock, cells.blocks))
        self.outward = _linear(cells.outward)
        self.objects = None if cells.objects is None else _linear(cells.objects)

    def forward(self, tokens: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        """As `CellHead.forward`."""
        plain = _twice(coarse)
        length = _length(plain)
        seen = _to_tokens(_twice(self.inward_coarse(coarse)) / length)
        x = self.blocks(F.gelu(self.inward(self.norm(_to_tokens(tokens))) + seen))
        moved = _to_tokens(plain / length) + self.outward(x)
        patches = F.normalize(moved.float(), dim=-1, eps=1e-6)
        return (patches,) if self.objects is None else (patches, self.objects(x))


class TokenContextBlock(nn.Module):
    """A ContextBlock for tokens [B,N,C] of a square map; see `TokenCellHead`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, ContextBlock)
        first, activation, last = block.mlp
        self.around = block.around
        self.norm = _layer_norm(block.norm)
        self.mlp = nn.Sequential(_linear(first), activation, _linear(last))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,N,C] to [B,N,C]."""
        side = math.isqrt(x.shape[1])
        around = self.around(x.transpose(1, 2).reshape(*x.shape[::2], side, side))
        y: Tensor = x + self.mlp(self.norm(_to_tokens(around)))
        return y


def pool_unpadded(features: Tensor, token_mask: Tensor) -> Tensor:
    """Averages features [B,F,g/2,g/2] over what a mask [B,g,g] says is no padding: [B,F]."""
    share = F.avg_pool2d(token_mask.unsqueeze(1), 2)
    return (features * share).mean(dim=(2, 3)) / share.mean(dim=(2, 3))


def _to_tokens(x: Tensor) -> Tensor:
    """Maps [B,C,g,g] to [B,g*g,C]."""
    return x.flatten(2).transpose(1, 2)


def _layer_norm(norm: LayerNorm2d) -> nn.LayerNorm:
    """The same of tokens."""
    same = nn.LayerNorm(norm.weight.shape, eps=1e-6)
    same.weight, same.bias = norm.weight, norm.bias
    return same


def _linear(layer: nn.Module, *, inputs: int | None = None) -> nn.Linear:
    """What a convolution of 1 x 1 does with tokens, or with the first of their channels."""
    assert isinstance(layer, nn.Conv2d)
    weight = layer.weight.detach()[:, :inputs, 0, 0]
    same = nn.Linear(weight.shape[1], weight.shape[0])
    same.weight = nn.Parameter(weight)
    if layer.bias is not None:
        same.bias = nn.Parameter(layer.bias.detach())
    return same


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear")


def _unit(x: Tensor) -> Tensor:
    return x.float() / _length(x)


def _length(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x.float(), dim=1, keepdim=True)
    return length.clamp(min=1e-6)
