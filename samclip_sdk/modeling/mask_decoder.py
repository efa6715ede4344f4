"""SAM's mask decoder, for K prompts on one image embedding."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import MaskDecoderConfig
from samclip_sdk.modeling.neck import LayerNorm2d
from samclip_sdk.modeling.prompt_encoder import PositionEmbeddingRandom
from samclip_sdk.modeling.two_way_transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4
"""Token 0 is for a single mask, tokens 1 to 3 are for three masks (multimask)."""

SHARPNESS = 100.0
"""Of the best of three masks: .01 less of predicted IoU make a weight that is e times lower."""


class MaskDecoder(nn.Module):
    """Maps image and prompt embeddings to mask logits and predicted IoUs.

    Attributes:
        positions: the features of the places of a square's cells, see `at_grid`.
    """

    positions: Tensor | None

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.high_resolution = config.high_resolution
        self.dynamic_multimask = config.dynamic_multimask
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.register_buffer("positions", None, persistent=False)
        self.transformer = TwoWayTransformer(
            dim, depth=config.depth, num_heads=config.num_heads, mlp_dim=config.mlp_dim
        )
        self.local_blocks = nn.ModuleList(LocalBlock(dim) for _ in range(config.local_blocks))
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
            image_embeddings: [1,D,h,w], or [K,D,h,w] if each prompt has its own image: the upper
                left of a square. With high resolution there are 4 D channels, and the last 3 D
                enter the upscaling.
            sparse_embeddings: [K,P,D].
            sparse_mask: float [K,P], 0 hides filler.
            dense_embeddings: [K,D,h,w].

        Returns:
            low_res_masks [K,4,4h,4w] (logits) and iou_predictions [K,4]. With dynamic multimask
            the first mask is the best of the other three, except in training.
        """
        prompts = dense_embeddings.shape[0]
        rows, columns = image_embeddings.shape[-2:]
        tokens, token_mask = self.tokens(sparse_embeddings, sparse_mask)
        coarse, finer = image_embeddings, None
        if self.high_resolution:
            width = dense_embeddings.shape[1]
            coarse, finer = image_embeddings[:, :width], image_embeddings[:, width:]
        queries, keys = self.transformer(
            coarse + dense_embeddings, self._positions(rows, columns), tokens, token_mask
        )
        hyper, ious = self.answers(queries)
        for block in self.local_blocks:
            keys = block(keys, size=image_embeddings.shape[-2:])
        upscaled = self._upscale(keys, finer).transpose(1, 2)
        masks = in_rows(hyper @ upscaled, columns=columns)
        return masks.reshape(prompts, NUM_MASK_TOKENS, 4 * rows, 4 * columns), ious

    def tokens(self, sparse_embeddings: Tensor, sparse_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Puts the output tokens before the prompts' [K,P,D]: [K,5+P,D], and the mask [K,5+P]."""
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        output_tokens = output_tokens.unsqueeze(0).expand(sparse_embeddings.shape[0], -1, -1)
        tokens = torch.cat([output_tokens, sparse_embeddings], dim=1)
        return tokens, torch.cat([torch.ones_like(output_tokens[..., 0]), sparse_mask], dim=1)

    def answers(self, queries_ktd: Tensor) -> tuple[Tensor, Tensor]:
        """What the output tokens say, queries [K,T,D]: each mask's weights [K,4,D/8] and IoU [K,4].

        A mask is the product of its weights and the upscaled image.
        """
        hyper = torch.stack(
            [mlp(queries_ktd[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)],
            dim=1,
        )
        ious = self.iou_prediction_head(queries_ktd[:, 0])
        if self.dynamic_multimask and not self.training:
            return _best_first(hyper, ious)
        return hyper, ious

    def at_grid(self, grid: int) -> MaskDecoder:
        """A copy for export, for images in squares of grid x grid cells."""
        baked = copy.deepcopy(self)
        # With a row and a column that no image has: torch.export cannot take what may be the whole.
        baked.positions = F.pad(self.pe_layer.dense(grid), (0, 1, 0, 1))
        return baked

    def _positions(self, rows: int, columns: int) -> Tensor:
        """The features [1,D,h,w] of the places of cells; the longer side is the square's."""
        positions = self.positions
        if positions is None:
            positions = self.pe_layer.dense(max(rows, columns))
        return positions[..., :rows, :columns]

    def upscaling_layers(self) -> tuple[nn.ConvTranspose2d, LayerNorm2d, nn.ConvTranspose2d]:
        """The layers of `output_upscaling` that have weights; GELU follows the last two."""
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(second, nn.ConvTranspose2d)
        return first, norm, second

    def _upscale(self, x: Tensor, finer: Tensor | None) -> Tensor:
        """Applies `output_upscaling` to tokens [K,h*w,D].

        A transposed convolution whose stride equals its kernel is a matrix product. With tokens,
        the norm and the product with the hypernetworks' outputs need no transposition. Each token
        becomes the 4 in its place, and each of these 4 more.

        Args:
            x: the tokens.
            finer: [1,3D,h,w] or [K,3D,h,w], from `HighResolution`. The first D channels are added
                to the output of the first layer, the others to that of the second.

        Returns:
            [K,h*w*4*4,D/8]: of each token the 16 in its place, see `in_rows`.
        """
        first, norm, second = self.upscaling_layers()
        x, y = _spread(x, first), None
        if finer is not None:
            dim = 4 * first.out_channels
            flat = finer.flatten(2)
            x = x + flat[:, :dim].transpose(1, 2)
            # Pixel unshuffle left the four cells of a square in the last place of its channels.
            cells = flat[:, dim:].reshape(flat.shape[0], 4 * second.out_channels, 4, -1)
            y = cells.transpose(1, 2).flatten(1, 2).transpose(1, 2)  # faster than one permutation
        x = x.reshape(x.shape[0], -1, first.out_channels)
        x = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, 1e-6)
        x = _spread(F.gelu(x), second)
        if y is not None:
            x = x + y.reshape(y.shape[0], -1, 4 * second.out_channels)
        return F.gelu(x).reshape(x.shape[0], -1, second.out_channels)


def _best_first(hyper: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
    """Puts the best of tokens 1 to 3 in the place of token 0; [K,4,C] and [K,4] as they came.

    Weights take the place of a choice, so that masks which are about as good blend: the rounding
    of a runtime moves the answer a little, and never to another mask.
    """
    weights = (SHARPNESS * ious[:, 1:]).softmax(dim=1).unsqueeze(1)
    best = (weights @ hyper[:, 1:], (weights @ ious[:, 1:, None]).squeeze(1))
    return torch.cat([best[0], hyper[:, 1:]], dim=1), torch.cat([best[1], ious[:, 1:]], dim=1)


def _spread(tokens_knc: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Applies a layer of kernel and stride 2 to tokens [K,n,C]; returns [K,n,4c].

    Each token has its upper two cells, then the lower two.
    """
    assert layer.bias is not None
    return tokens_knc @ layer.weight.permute(0, 2, 3, 1).flatten(1) + layer.bias.repeat(4)


def in_rows(masks: Tensor, *, columns: int) -> Tensor:
    """Brings the pixels of masks [K,N,h*w*4*4] into rows: [K*N*4h,4w], w being `columns`.

    Each of h x w squares has 2 x 2 smaller ones in consecutive places, and each of these 2 x 2
    pixels.
    """
    # A square's upper half becomes a row of its own, then the lower one; and once more.
    for squares, half in ((columns, 8), (2 * columns, 2)):
        masks = masks.reshape(-1, squares, 2, half).transpose(1, 2)
    return masks.reshape(-1, 4 * columns)


class LocalBlock(nn.Module):
    """A ConvNeXt block over an image's tokens, so that each token sees its neighbours; ours.

    In SAM's decoder a token of the image attends to the prompt's tokens only. That is enough for a
    box, which has the exact extent of an object. A score map has it only roughly, and the
    neighbouring tokens refine it. The block starts as the identity.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.lin1 = nn.Linear(dim, dim)
        self.lin2 = nn.Linear(dim, dim)
        self.start()

    def start(self) -> None:
        """Makes the block the identity."""
        for parameter in self.lin2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens_knd: Tensor, *, size: torch.Size) -> Tensor:
        """Maps tokens [K,h*w,D], row by row of a map of `size` (h, w), to the same shape."""
        around = self.around(tokens_knd.transpose(1, 2).reshape(*tokens_knd.shape[::2], *size))
        y: Tensor = tokens_knd + self.lin2(
            F.gelu(self.lin1(self.norm(around.flatten(2).transpose(1, 2))))
        )
        return y


class MLP(nn.Module):
    """Three linear layers with ReLU between them."""

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
