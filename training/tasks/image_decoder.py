"""The prompt encoder and the mask decoder of a training step, for all prompts of some images.

The answers are those of the modules' own forwards. What the prompts of an image share is computed
once an image, and masks stay in the order of the image's tokens, which a loss does not mind. Under
autocast the image's tokens stay in half precision, while the few tokens of prompts keep fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.attention import MASKED_LOGIT
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.mask_decoder import in_rows
from samclip_sdk.modeling.two_way_transformer import ImageToTokenAttention, TwoWayAttentionBlock
from training.batches import PATCH_PX
from training.tasks.label_prompts import LabelPrompts


class ImageDecoder:
    """Decodes prompts of B images.

    Args:
        student: whose prompt encoder and mask decoder are used.
        embeddings: [B,D,g,g] of the image encoder; with high resolution [B,4*D,g,g].
    """

    def __init__(self, student: SamClipModel, embeddings: Tensor) -> None:
        self.encoder, self.decoder = student.prompt_encoder, student.mask_decoder
        self.grid = embeddings.shape[-1]
        self.embeddings = embeddings
        tokens, width = embeddings.flatten(2).transpose(1, 2), self.encoder.no_mask_embed.weight
        self._coarse = tokens[..., : width.shape[1]].contiguous()
        positions = self.decoder.pe_layer.dense(self.grid).flatten(2).transpose(1, 2)
        self._positions = positions.to(embeddings.dtype)
        self._finer = self._share(tokens[..., width.shape[1] :])

    def __call__(
        self, owners: Tensor, prompts: LabelPrompts, masked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decodes K prompts.

        Args:
            owners: int64 [K], the image of each prompt, in ascending order.
            prompts: the prompts, with the masks [M,1,4g,4g] of some of them.
            masked: int64 [M], which prompts these masks are of, in ascending order.

        Returns:
            Mask logits fp32 [K,4,16*g*g], see `in_token_order`, and predicted IoUs fp32 [K,4].
        """
        counts = torch.bincount(owners, minlength=len(self.embeddings)).tolist()
        # The prompt encoder counts in pixels of the model's own resolution.
        scale = self.encoder.resolution / (PATCH_PX * self.grid)
        sparse = self.encoder.embed_points((prompts.coords + 0.5) * scale - 0.5, prompts.labels)
        tokens, shown = self.decoder.tokens(sparse, (prompts.labels != -2).to(sparse.dtype))
        queries, keys = self._attend(self._keys(counts, prompts.mask_input, masked), tokens, shown)
        hyper, iou = self.decoder.answers(queries)
        for block in self.decoder.local_blocks:
            keys = block(keys, size=torch.Size([self.grid, self.grid]))
        masks = hyper @ self._upscale(keys, counts).transpose(1, 2)
        return masks.float(), iou.float()

    def _share(self, finer: Tensor) -> tuple[Tensor, Tensor]:
        """What is added behind the two steps of the upscaling, [B,n,D] and [B,4n,D/2], once each.

        That is the layers' biases, and the features [B,n,3D] of `HighResolution`, if there are any.
        """
        first, _, second = self.decoder.upscaling_layers()
        assert first.bias is not None
        assert second.bias is not None
        eight, four = first.bias.repeat(4), second.bias.repeat(4)
        images, tokens, channels = finer.shape
        if channels:
            width = len(eight)
            # Pixel unshuffle left the four cells of a square in the last place of its channels.
            cells = finer[..., width:].reshape(images, tokens, len(four), 4).transpose(2, 3)
            eight = finer[..., :width] + eight.to(finer.dtype)
            four = cells.reshape(images, 4 * tokens, len(four)) + four.to(finer.dtype)
            return eight, four
        return (
            eight.to(finer.dtype).expand(images, tokens, -1),
            four.to(finer.dtype).expand(images, 4 * tokens, -1),
        )

    def _keys(self, counts: list[int], masks: Tensor, masked: Tensor) -> Tensor:
        """The image's tokens of each prompt, with its mask if it has one: [K,n,D]."""
        keys = _for_each(self._coarse, counts)
        if len(masked):
            layers = self.encoder.mask_downscaling
            assert isinstance(layers, nn.Sequential)
            widen = layers[-1]
            assert isinstance(widen, nn.Conv2d)
            x = layers[:-1](masks).flatten(2).transpose(1, 2)
            x = F.linear(x, widen.weight.flatten(1), widen.bias).to(keys.dtype)
            if len(masked) == len(keys):
                return keys + x
            keys = keys.index_add(0, masked, x)
        without = keys.new_ones(len(keys), 1, 1).index_fill(0, masked, 0)
        return keys + without * self.encoder.no_mask_embed.weight.to(keys.dtype)

    def _attend(self, keys: Tensor, tokens: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the two-way transformer; see `TwoWayTransformer.forward`."""
        bias = ((1 - shown) * MASKED_LOGIT)[:, None, None, :]
        queries, transformer = tokens, self.decoder.transformer
        for layer in transformer.layers:
            assert isinstance(layer, TwoWayAttentionBlock)
            queries, k = layer.update_tokens(queries, keys, tokens, self._positions, bias)
            attended = attend_to_tokens(
                layer.cross_attn_image_to_token, k, queries + tokens, queries, bias
            )
            keys = layer.norm4(keys + attended)
        attended = transformer.final_attn_token_to_image(
            queries + tokens, keys + self._positions, keys
        )
        return transformer.norm_final_attn(queries + attended), keys

    def _upscale(self, keys: Tensor, counts: list[int]) -> Tensor:
        """Maps tokens [K,n,D] to [K,16n,D/8]; see `MaskDecoder._upscale`."""
        first, norm, second = self.decoder.upscaling_layers()
        x, prompts = keys, len(keys)
        for layer, shared in zip((first, second), self._finer, strict=True):
            weight = layer.weight.permute(0, 2, 3, 1).flatten(1)
            more = _for_each(shared, counts).flatten(0, 1)
            x = torch.addmm(more, x.reshape(-1, len(weight)), weight)
            if layer is first:
                x = x.reshape(-1, len(norm.weight))
                x = F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)
            x = F.gelu(x)
        return x.reshape(prompts, -1, second.out_channels)


def attend_to_tokens(
    attention: ImageToTokenAttention, q: Tensor, k: Tensor, v: Tensor, bias: Tensor
) -> Tensor:
    """As `ImageToTokenAttention.forward`, with the image's tokens in the last axis of the logits.

    A softmax over few numbers is slow where these are neighbours in memory.
    """
    heads = attention.num_heads
    k, v = (
        attention.split(attention.k_proj(k)) * attention.scale,
        attention.split(attention.v_proj(v)),
    )
    own = k @ attention.q_proj.bias.view(heads, -1, 1) + bias.transpose(-2, -1)
    keys = (k @ attention.by_head(attention.q_proj)).flatten(1, 2)
    logits = torch.baddbmm(own.flatten(1, 2), keys, q.transpose(-2, -1))
    shares = logits.view(len(q), heads, -1, q.shape[1]).softmax(dim=2).flatten(1, 2)
    outward = attention.out_proj.weight.view(-1, heads, attention.head_dim)
    values = (v @ outward.permute(1, 2, 0)).flatten(1, 2)
    out = shares.transpose(1, 2) @ values
    moved: Tensor = out + attention.out_proj.bias.to(out.dtype)
    return moved


def in_token_order(masks: Tensor) -> Tensor:
    """Brings pixels of square masks [K,4g,4g] into the order of `ImageDecoder`, [K,16*g*g].

    The 16 pixels of a token one after the other: of each 2 x 2 quarter its 2 x 2.
    """
    grid = masks.shape[-1] // 4
    squares = masks.reshape(-1, grid, 2, 2, grid, 2, 2)
    return squares.permute(0, 1, 4, 2, 5, 3, 6).flatten(1)


def in_row_order(masks: Tensor) -> Tensor:
    """Undoes `in_token_order`: [K,16*g*g] to [K,4g,4g]."""
    side = round(masks.shape[-1] ** 0.5)
    return in_rows(masks, columns=side // 4).reshape(-1, side, side)


def _for_each(images: Tensor, counts: list[int]) -> Tensor:
    """Repeats rows of images [B,...] for the prompts of each: [K,...]. Backward sums slices."""
    rows = zip(images.tensor_split(len(counts)), counts, strict=True)
    return torch.cat([row.expand(count, *row.shape[1:]) for row, count in rows])
