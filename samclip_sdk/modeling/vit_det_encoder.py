"""SAM's ViT-Det image encoder: the backbone that both heads share (paper section 3.1)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from samclip_sdk.modeling.attention import Block, bake_relative_positions
from samclip_sdk.modeling.config import ViTDetConfig
from samclip_sdk.modeling.neck import build_neck

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class ViTDetEncoder(nn.Module):
    """Maps an image to tokens for the CLIP head and, by the neck, to embeddings for SAM's.

    It runs at any resolution that is a multiple of the patch size: positions are interpolated from
    the tables, which are stored for `config.image_size_px`.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ViTDetConfig, *, out_chans: int) -> None:
        super().__init__()
        dim, grid = config.embed_dim, config.grid
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)
        self.patch_embed = PatchEmbed(dim, patch_size=config.patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, dim))
        self.blocks = nn.ModuleList(
            Block(
                dim,
                num_heads=config.num_heads,
                mlp_ratio=config.mlp_ratio,
                window_size=0 if index in config.global_attn_indexes else config.window_size,
                grid=grid,
            )
            for index in range(config.depth)
        )
        self.neck = build_neck(dim, out_chans=out_chans)
        self.grad_checkpointing = False

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes letterboxed images.

        Args:
            image: [B,3,S,S], RGB 0..255, uint8 or float.

        Returns:
            image_tokens [B,C,g,g] and image_embeddings [B,out_chans,g,g], g = S / patch size.
        """
        image_bchw = self.patch_embed(
            (image.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        )
        grid = image_bchw.shape[1]
        image_bchw = (image_bchw + absolute_positions(self.pos_embed, grid)).flatten(1, 2)
        for block in self.blocks:
            if self.grad_checkpointing and torch.is_grad_enabled():
                image_bchw = checkpoint(block, image_bchw, use_reentrant=False)
            else:
                image_bchw = block(image_bchw)
        tokens = image_bchw.unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
        return tokens, self.neck(tokens)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns gradient checkpointing of the layers on or off: less memory, more time."""
        self.grad_checkpointing = enable

    def at_resolution(self, resolution: int) -> ViTDetEncoder:
        """Returns a copy whose position tables are baked for `resolution` pixels, for export."""
        baked = copy.deepcopy(self)
        grid = resolution // self.patch_embed.proj.kernel_size[0]
        baked.pos_embed = nn.Parameter(absolute_positions(self.pos_embed, grid).detach())
        for block in baked.blocks:
            bake_relative_positions(block, grid)
        return baked


class PatchEmbed(nn.Module):
    """Cuts the image into patches and projects each to a token."""

    def __init__(self, dim: int, *, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, image_bchw: Tensor) -> Tensor:
        """Maps [B,3,S,S] to [B,g,g,C]."""
        tokens: Tensor = self.proj(image_bchw)
        return tokens.permute(0, 2, 3, 1)


def absolute_positions(table: Tensor, grid: int) -> Tensor:
    """Absolute position embeddings [1,grid,grid,C]: the table, resized bicubically if needed."""
    if table.shape[1] == grid:
        return table
    resized = F.interpolate(table.permute(0, 3, 1, 2), size=(grid, grid), mode="bicubic")
    return resized.permute(0, 2, 3, 1)
