"""The CLIP head of a convolutional encoder: a classifier's last layers, and their correction.

The paper's head has a ViT's layers. A convolutional backbone that was trained as a classifier has
its own last layers, which are a better start than random ones: this head starts with them.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import ClassifierHeadConfig, PyramidConfig
from samclip_sdk.modeling.neck import LayerNorm2d


class ClassifierHead(nn.Module):
    """Maps a classifier's features to the joint space: pooled for the image, corrected per patch.

    Attributes:
        expand: the classifier's convolution before its pooling, with BatchNorm folded in.
        project: a linear map from the pooled features to the joint space.
        cells: the layers that correct each patch.
    """

    def __init__(
        self, encoder: PyramidConfig, head: ClassifierHeadConfig, *, embed_dim: int
    ) -> None:
        super().__init__()
        self.widths = encoder.widths
        self.expand = nn.Conv2d(encoder.widths[-1], head.features, kernel_size=1)
        self.project = nn.Conv2d(head.features, embed_dim, kernel_size=1)
        self.cells: nn.Module = CellHead(encoder.token_dim, head=head, embed_dim=embed_dim)

    def forward(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds the image and each of its patches in CLIP's joint space.

        Args:
            image_tokens: [B,C,h,w], the backbone's features of strides 8, 16 and 32 at stride 16;
                h and w are even.
            token_mask: float [B,h,w], 1 where the patch holds any image pixel.

        Returns:
            patch_embeddings [B,h*w,E] and image_embedding [B,E], L2-normalised.
        """
        features = self.features(image_tokens)
        pooled = self.embed(pool_unpadded(features, token_mask))
        return self.cells(image_tokens, self.project(features)), pooled

    def classified(self, image_tokens: Tensor) -> Tensor:
        """Maps tokens [B,C,g,g] to the classifier's own answer for each place, [B,E,g/2,g/2]."""
        coarse: Tensor = self.project(self.features(image_tokens))
        return coarse

    def features(self, image_tokens: Tensor) -> Tensor:
        """Maps tokens [B,C,g,g] to the features [B,F,g/2,g/2] that the classifier pools."""
        coarse = F.avg_pool2d(image_tokens[:, -self.widths[-1] :], 2)  # undoes the repetition
        return F.relu6(self.expand(coarse))

    def embed(self, pooled: Tensor) -> Tensor:
        """Maps pooled features [B,F] to unit embeddings [B,E]."""
        return _unit(self.project(pooled[..., None, None])).flatten(1)

    def at_resolution(self, resolution: int, *, patch_size: int) -> ClassifierHead:
        """Returns a faster copy for export; it runs at any other resolution too."""
        baked = copy.deepcopy(self)
        assert isinstance(baked.cells, CellHead)
        baked.cells = TokenCellHead(baked.cells)
        return baked


class CellHead(nn.Module):
    """Corrects the classifier's answer for each cell by finer features and the neighbouring cells.

    It starts without any correction.
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

    def forward(self, tokens: Tensor, coarse: Tensor) -> Tensor:
        """Corrects the classifier's answer for each patch.

        Args:
            tokens: [B,C,g,g].
            coarse: the classifier's answer [B,E,g/2,g/2].

        Returns:
            Unit vectors [B,g*g,E].
        """
        plain = _unit(_twice(coarse))
        # The entries of a unit vector are small beside the output of a norm.
        seen = torch.cat([self.norm(tokens), plain * plain.shape[1] ** 0.5], dim=1)
        x = self.blocks(F.gelu(self.inward(seen)))
        return _to_tokens(_unit(plain + self.outward(x)))


class ContextBlock(nn.Module):
    """ConvNeXt's block: a wide depthwise convolution, then an MLP in each cell."""

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
    """A CellHead with the same outputs in less time, for export.

    Tokens are [B,N,C], which runtimes keep in one layout; they transpose [B,C,g,g] between a norm
    and a convolution. `inward` is applied to the classifier's answer before the upsampling, in a
    quarter of the places. Its result is divided by the length of the upsampled answer.

    Args:
        cells: the head to copy; the weights are shared.
    """

    def __init__(self, cells: CellHead) -> None:
        super().__init__()
        weight, embed_dim = cells.inward.weight.detach(), cells.outward.out_channels
        width, token_dim = weight.shape[0], weight.shape[1] - embed_dim
        self.norm = _layer_norm(cells.norm)
        self.inward = _linear(cells.inward, inputs=token_dim)
        self.inward_coarse = nn.Conv2d(embed_dim, width, kernel_size=1, bias=False)
        self.inward_coarse.weight = nn.Parameter(weight[:, token_dim:] * embed_dim**0.5)
        self.blocks = nn.ModuleList(map(TokenContextBlock, cells.blocks))
        self.outward = _linear(cells.outward)

    def forward(self, tokens: Tensor, coarse: Tensor) -> Tensor:
        """Corrects the classifier's answer for each patch; see `CellHead.forward`."""
        plain = _to_tokens(_twice(coarse)).float()
        length = torch.linalg.vector_norm(plain, dim=-1, keepdim=True).clamp(min=1e-6)
        seen = _to_tokens(_twice(self.inward_coarse(coarse))) / length
        x = F.gelu(self.inward(self.norm(_to_tokens(tokens))) + seen)
        for block in self.blocks:
            x = block(x, size=tokens.shape[-2:])
        moved = plain / length + self.outward(x)
        return F.normalize(moved.float(), dim=-1, eps=1e-6)


class TokenContextBlock(nn.Module):
    """A ContextBlock for tokens [B,N,C]; see `TokenCellHead`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, ContextBlock)
        first, activation, last = block.mlp
        self.around = block.around
        self.norm = _layer_norm(block.norm)
        self.mlp = nn.Sequential(_linear(first), activation, _linear(last))

    def forward(self, x: Tensor, *, size: torch.Size) -> Tensor:
        """Maps [B,h*w,C], row by row of a map of `size` (h, w), to the same shape."""
        around = self.around(x.transpose(1, 2).reshape(*x.shape[::2], *size))
        y: Tensor = x + self.mlp(self.norm(_to_tokens(around)))
        return y


def pool_unpadded(features: Tensor, token_mask: Tensor) -> Tensor:
    """Averages features [B,F,g/2,g/2] to [B,F], without the padding: 0 in the mask [B,g,g]."""
    share = F.avg_pool2d(token_mask.unsqueeze(1), 2)
    return (features * share).mean(dim=(2, 3)) / share.mean(dim=(2, 3))


def _to_tokens(x: Tensor) -> Tensor:
    """Maps [B,C,g,g] to [B,g*g,C]."""
    return x.flatten(2).transpose(1, 2)


def _layer_norm(norm: LayerNorm2d) -> nn.LayerNorm:
    """The same norm for tokens [B,N,C]."""
    same = nn.LayerNorm(norm.weight.shape, eps=1e-6)
    same.weight, same.bias = norm.weight, norm.bias
    return same


def _linear(layer: nn.Module, *, inputs: int | None = None) -> nn.Linear:
    """A 1 x 1 convolution as a linear layer for tokens, or for their first `inputs` channels."""
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
    length = torch.linalg.vector_norm(x.float(), dim=1, keepdim=True)
    unit: Tensor = x.float() / length.clamp(min=1e-6)
    return unit
