"""SAM's prompt encoder, with a batch axis K over prompts."""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import MaskDecoderConfig
from samclip_sdk.modeling.neck import LayerNorm2d


class PromptEncoder(nn.Module):
    """Maps points, boxes (as two corner points) and masks to sparse and dense embeddings.

    `point_labels`: 1 foreground, 0 background, 2 and 3 a box's top-left and bottom-right corner,
    -1 SAM's padding token (takes part in attention), -2 filler for a static P (does not).
    """

    def __init__(self, config: MaskDecoderConfig, *, resolution: int, patch_size: int) -> None:
        super().__init__()
        dim, chans = config.embed_dim, config.mask_in_chans
        self.resolution = resolution
        self.patch_size = patch_size
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling: nn.Module = nn.Sequential(
            nn.Conv2d(1, chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(chans // 4),
            nn.GELU(),
            nn.Conv2d(chans // 4, chans, kernel_size=2, stride=2),
            LayerNorm2d(chans),
            nn.GELU(),
            nn.Conv2d(chans, dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, mask_input: Tensor, has_mask_input: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes K prompts.

        Args:
            point_coords: float [K,P,2], (x, y) in model pixels; SAM's half pixel is added here.
            point_labels: int [K,P].
            mask_input: float [K,1,4g,4g], logits.
            has_mask_input: float [K], 1 if `mask_input` is used.

        Returns:
            sparse_embeddings [K,P,D], sparse_mask [K,P] (0 for filler), dense_embeddings [K,D,g,g].
        """
        sparse = self.embed_points(point_coords, point_labels)
        sparse_mask = (point_labels != -2).to(sparse.dtype)
        no_mask = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        has_mask = has_mask_input.reshape(-1, 1, 1, 1) > 0.5
        dense = torch.where(has_mask, self.mask_downscaling(mask_input), no_mask)
        return sparse, sparse_mask, dense

    def at_cells(self) -> PromptEncoder:
        """A copy for export, which takes masks to cells in one step; see `CellDownscaling`."""
        baked = copy.deepcopy(self)
        assert isinstance(baked.mask_downscaling, nn.Sequential)
        baked.mask_downscaling = CellDownscaling(baked.mask_downscaling)
        return baked

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Embeds points [K,P,2] with labels [K,P] as [K,P,D]; filler is zero."""
        position = self.pe_layer((coords + 0.5) / self.resolution)
        label = labels.unsqueeze(-1)
        sparse = torch.where(label == -1, self.not_a_point_embed.weight, torch.zeros_like(position))
        for index, embedding in enumerate(self.point_embeddings):
            sparse = torch.where(label == index, position + embedding.weight, sparse)
        return sparse


class CellDownscaling(nn.Module):
    """`mask_downscaling` with the same outputs in less time, for export.

    Its convolutions halve a mask twice, and no two cells of 4 x 4 pixels meet in them. So here the
    first one gives what it has in a cell's four quarters as channels of one cell, and maps of few
    channels and many places are never made. What a norm subtracts, the convolution before it does.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        halve, norm, _, again, norm_again, _, self.widen = layers
        assert isinstance(halve, nn.Conv2d)
        assert isinstance(again, nn.Conv2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(norm_again, LayerNorm2d)
        width, wider = halve.out_channels, again.out_channels
        kernel, bias = _centred(halve)
        quarters = kernel.new_zeros(2, 2, width, 2, 2, 2, 2)
        for y, x in itertools.product(range(2), repeat=2):
            quarters[y, x, :, y, :, x, :] = kernel[:, 0]
        self.cells = nn.Conv2d(1, 4 * width, kernel_size=4, stride=4)
        self.cells.weight = nn.Parameter(quarters.reshape(4 * width, 1, 4, 4))
        self.cells.bias = nn.Parameter(bias.repeat(4))
        self.norm = CentredNorm(norm, groups=4)
        kernel, bias = _centred(again)
        self.join = nn.Conv2d(4 * width, wider, kernel_size=1)
        self.join.weight = nn.Parameter(kernel.permute(0, 2, 3, 1).reshape(wider, -1, 1, 1))
        self.join.bias = nn.Parameter(bias)
        self.norm_again = CentredNorm(norm_again, groups=1)

    def forward(self, mask_input: Tensor) -> Tensor:
        """Maps logits [K,1,4g,4g] to [K,D,g,g]."""
        x = F.gelu(self.norm(self.cells(mask_input)))
        y: Tensor = self.widen(F.gelu(self.norm_again(self.join(x))))
        return y


class CentredNorm(nn.Module):
    """A LayerNorm2d of each of some groups of channels, whose means are zero already."""

    share: Tensor

    def __init__(self, norm: LayerNorm2d, *, groups: int) -> None:
        super().__init__()
        width = len(norm.weight)
        same = torch.kron(torch.eye(groups), torch.full((width, width), 1 / width))
        self.register_buffer("share", same[..., None, None])
        self.weight = nn.Parameter(norm.weight.detach().repeat(groups)[:, None, None])
        self.bias = nn.Parameter(norm.bias.detach().repeat(groups)[:, None, None])
        self.eps = norm.eps

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,H,W] to [B,C,H,W]."""
        over_deviation = torch.rsqrt(F.conv2d(features_bchw * features_bchw, self.share) + self.eps)
        # Weighted here: of a product with a constant and a sum, coremltools makes a batch_norm of
        # two types where the plan has fp16.
        y: Tensor = features_bchw * (over_deviation * self.weight) + self.bias
        return y


def _centred(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A convolution's weights and bias, with outputs whose mean over channels is zero."""
    assert conv.bias is not None
    weight, bias = conv.weight.detach(), conv.bias.detach()
    return weight - weight.mean(dim=0, keepdim=True), bias - bias.mean()


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of positions in the unit square."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def forward(self, coords: Tensor) -> Tensor:
        """Maps (x, y) in 0..1, [...,2], to features [...,2*num_pos_feats]."""
        centred, matrix = 2 * coords - 1, self.positional_encoding_gaussian_matrix
        # No matrix product: autocast would run it in half precision, with errors of a pixel or two.
        phases = 2 * math.pi * (centred[..., :1] * matrix[0] + centred[..., 1:] * matrix[1])
        return torch.cat([phases.sin(), phases.cos()], dim=-1)

    def dense(self, grid: int) -> Tensor:
        """Features [1,2*num_pos_feats,grid,grid] of the centres of a grid's cells."""
        device = self.positional_encoding_gaussian_matrix.device
        centres = (torch.arange(grid, dtype=torch.float32, device=device) + 0.5) / grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        features: Tensor = self(torch.stack([x, y], dim=-1))
        return features.permute(2, 0, 1).unsqueeze(0)
