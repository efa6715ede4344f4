"""SAM's mask decoder, for K prompts against one image embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import MaskDecoderConfig
from samclip_sdk.modeling.neck import LayerNorm2d
from samclip_sdk.modeling.prompt_encoder import PositionEmbeddingRandom
from samclip_sdk.modeling.two_way_transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4
"""Token 0 answers when one mask is asked, tokens 1 to 3 when three are (multimask)."""


class MaskDecoder(nn.Module):
    """Image and prompt embeddings to mask logits and predicted IoUs."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.high_resolution = config.high_resolution
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.transformer = TwoWayTransformer(
            dim, depth=config.depth, num_heads=config.num_heads, mlp_dim=config.mlp_dim
        )
        self.local_blocks = nn.Sequential(*(LocalBlock(dim) for _ in range(config.local_blocks)))
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(dim, hidden_dim=dim, output_dim=dim // 8) for _ in range(NUM_MASK_TOKENS)
        )
        self.iou_prediction_head = MLP(
            dim, hidden_dim=config.iou_head_hidden_dim, output_dim=NUM_MASK_TOKENS
        )

    def forward(
        self,
        image_embeddings: Tensor,
        sparse_embeddings: Tensor,
        sparse_mask: Tensor,
        dense_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decodes K prompts.

        Args:
            image_embeddings: [1,D,g,g], or [K,D,g,g] where each prompt has its own image. Of high
                resolution 4 D channels, of which the last 3 D enter the upscaling.
            sparse_embeddings: [K,P,D].
            sparse_mask: float [K,P], 0 for filler that must not take part.
            dense_embeddings: [K,D,g,g].

        Returns:
            low_res_masks [K,4,4g,4g] (logits) and iou_predictions [K,4].
        """
        prompts = dense_embeddings.shape[0]
        grid = image_embeddings.shape[-1]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        output_tokens = output_tokens.unsqueeze(0).expand(prompts, -1, -1)
        tokens = torch.cat([output_tokens, sparse_embeddings], dim=1)
        token_mask = torch.cat([torch.ones_like(output_tokens[..., 0]), sparse_mask], dim=1)
        coarse, finer = image_embeddings, None
        if self.high_resolution:
            width = dense_embeddings.shape[1]
            coarse, finer = image_embeddings[:, :width], image_embeddings[:, width:]
        queries, keys = self.transformer(
            coarse + dense_embeddings, self.pe_layer.dense(grid), tokens, token_mask
        )
        hyper = torch.stack(
            [mlp(queries[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        upscaled = self._upscale(self.local_blocks(keys), finer).transpose(1, 2)
        masks = (hyper @ upscaled).reshape(prompts, NUM_MASK_TOKENS, 4 * grid, 4 * grid)
        return masks, self.iou_prediction_head(queries[:, 0])

    def _upscale(self, x: Tensor, finer: Tensor | None) -> Tensor:
        """`output_upscaling` of tokens [K,g*g,D]: [K,4g*4g,D/8], row by row.

        A transposed convolution whose steps are as long as its kernel is a product of matrices.
        Tokens spare the norm, and the product with what the masks are made of, a transposition.

        Args:
            x: the tokens.
            finer: [1,3D,g,g] or [K,3D,g,g], of `HighResolution`: what is added to the outcome of
                the first layer, D of them, and of the second.
        """
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        stride_8, stride_4 = None, None
        if finer is not None:
            dim = 4 * first.out_channels
            stride_8 = finer[:, :dim].flatten(2).transpose(1, 2)
            stride_4 = F.pixel_shuffle(finer[:, dim:], 2).flatten(2).transpose(1, 2)
        x = _spread(x, first, stride_8)
        x = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, 1e-6)
        return F.gelu(_spread(F.gelu(x), second, stride_4))


def _spread(x: Tensor, layer: nn.ConvTranspose2d, finer: Tensor | None) -> Tensor:
    """Applies a layer of kernel and stride 2 to tokens [K,s*s,C]: [K,2s*2s,c], row by row.

    `finer` [K,s*s,4c], or [1,s*s,4c], is added: of each token the upper two, then the lower two.
    """
    assert layer.bias is not None
    side, width = math.isqrt(x.shape[1]), layer.out_channels
    four = x @ layer.weight.permute(0, 2, 3, 1).flatten(1) + layer.bias.repeat(4)
    if finer is not None:
        four = four + finer
    # Of each token the upper two, then the lower two: a row of tokens becomes two rows.
    rows = four.reshape(-1, side, 2, 2 * width).transpose(1, 2)
    return rows.reshape(x.shape[0], -1, width)


class LocalBlock(nn.Module):
    """Ours: each of an image's tokens looks at those around it, as in a ConvNeXt block.

    In SAM's decoder a token of the image meets the prompt's tokens alone. That is enough for a box,
    which says where a thing ends; a score map says it roughly, and what is near knows better. It
    starts as no change at all.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.lin1 = nn.Linear(dim, dim)
        self.lin2 = nn.Linear(dim, dim)
        self.start()

    def start(self) -> None:
        """Makes it no change."""
        for parameter in self.lin2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [K,g*g,D], row by row, to the same."""
        side = math.isqrt(x.shape[1])
        around = self.around(x.transpose(1, 2).reshape(*x.shape[::2], side, side))
        y: Tensor = x + self.lin2(F.gelu(self.lin1(self.norm(around.flatten(2).transpose(1, 2)))))
        return y


class MLP(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, dim: int, *, hidden_dim: int, output_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Linear(dim, hidden_dim),
                nn.Linear(hidden_dim, hidden_dim),
                nn.Linear(hidden_dim, output_dim),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [...,dim] to [...,output_dim]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y
