"""The CLIP head: classification on the tokens of a ViT (paper section 3.1)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.attention import MASKED_LOGIT, Block, bake_relative_positions
from samclip_sdk.modeling.config import ClipHeadConfig, TinyViTConfig, ViTDetConfig


class ClipHead(nn.Module):
    """Optional token pooling, transformer layers, masked max-pool, LayerNorm, MLP.

    For patch embeddings the same LayerNorm and MLP are applied to every token instead of the pooled
    one.
    """

    def __init__(
        self, encoder: ViTDetConfig | TinyViTConfig, head: ClipHeadConfig, *, embed_dim: int
    ) -> None:
        super().__init__()
        dim, hidden = encoder.embed_dim, head.hidden_dim
        self._pooling_by_grid = {
            resolution // encoder.patch_size: side
            for resolution, side in head.token_pooling.items()
        }
        self.blocks = nn.ModuleList(
            Block(
                dim,
                num_heads=encoder.num_heads,
                mlp_ratio=encoder.mlp_ratio,
                window_size=0,
                grid=encoder.grid,
            )
            for _ in range(head.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, embed_dim),
        )

    def forward(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds the image and each of its patches in CLIP's joint space.

        Args:
            image_tokens: [B,C,g,g], the backbone's tokens before the neck.
            token_mask: float [B,g,g], 1 where the patch holds any image pixel.

        Returns:
            patch_embeddings [B,h*h,E], h = g / pooling, and image_embedding [B,E], L2-normalised.
        """
        patches, mask = self.encode(image_tokens, token_mask)
        pooled = max_pool(patches, mask).unsqueeze(1)
        # In one product, because an exported graph would otherwise have the MLP twice.
        embeddings = self.embed(torch.cat([patches, pooled], dim=1))
        return embeddings[:, :-1], embeddings[:, -1]

    def encode(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the layers; returns patch features [B,h*h,C] and their mask float [B,h*h]."""
        tokens, mask = pool_tokens(
            image_tokens, token_mask, self._pooling_by_grid.get(image_tokens.shape[-1], 1)
        )
        x, key_mask = tokens.flatten(2).transpose(1, 2), mask.flatten(1)
        for block in self.blocks:
            x = block(x, key_mask)
        return x, key_mask

    def embed(self, features: Tensor) -> Tensor:
        """Maps patch or pooled features [...,C] to unit embeddings [...,E]."""
        return F.normalize(self.mlp(self.norm(features)).float(), dim=-1, eps=1e-6)

    def at_resolution(self, resolution: int, *, patch_size: int) -> ClipHead:
        """Returns a copy whose position tables are baked for `resolution` pixels, for export."""
        baked = copy.deepcopy(self)
        grid = resolution // patch_size
        for block in baked.blocks:
            bake_relative_positions(block, grid // self._pooling_by_grid.get(grid, 1))
        return baked


def max_pool(patches_bnc: Tensor, mask_bn: Tensor) -> Tensor:
    """The channel-wise maximum [B,C] of the patches [B,N,C] whose mask [B,N] is 1."""
    return (patches_bnc + (1 - mask_bn).unsqueeze(-1) * MASKED_LOGIT).amax(dim=1)


def pool_tokens(tokens_bchw: Tensor, mask_bhw: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Averages unpadded tokens in cells of side x side.

    Maps tokens [B,C,g,g] and mask [B,g,g] to [B,C,g/side,g/side] and [B,g/side,g/side]. A cell's
    mask is 1 if the mask of any of its tokens is 1.
    """
    if side == 1:
        return tokens_bchw, mask_bhw
    weight = mask_bhw.unsqueeze(1)
    share = F.avg_pool2d(weight, side)
    pooled = F.avg_pool2d(tokens_bchw * weight, side) / share.clamp(min=1 / side**2)
    return pooled, F.max_pool2d(weight, side).squeeze(1)
