"""The references: segment-anything and open_clip, with every parameter drawn at random.

SAM's position tables start at zero and its LayerNorms at one and zero, so a model that is merely
constructed hides a transposed or forgotten table; `randomize` leaves nothing at its default.
"""

from __future__ import annotations

import math

import numpy as np
import open_clip
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import from_sam_and_clip
from samclip_sdk.modeling.config import ClipTextConfig, MaskDecoderConfig, ModelConfig, ViTDetConfig
from samclip_sdk.modeling.vit_det_encoder import PIXEL_MEAN, PIXEL_STD


def randomize(module: nn.Module, *, seed: int) -> None:
    """Draws every parameter and stored buffer anew, at scales that let each one show."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 1 and name.endswith("weight"):
            noise = 1 + 0.2 * noise
        elif tensor.ndim == 1:
            noise = 0.2 * noise
        elif "rel_pos" in name:
            noise = 0.4 * noise
        elif name.endswith("text_projection"):
            noise = noise / math.sqrt(tensor.shape[0])
        elif tensor.ndim > 1 and tensor.shape[0] > 4 and "pos" not in name:
            noise = noise / math.sqrt(tensor[0].numel())
        tensor.copy_(noise)


def build_sam(config: ModelConfig, *, seed: int) -> Sam:
    """A segment-anything model of `config`'s sizes, out of its own classes."""
    encoder, decoder = config.image_encoder, config.mask_decoder
    grid = encoder.grid
    sam = Sam(
        image_encoder=ImageEncoderViT(
            img_size=encoder.image_size_px,
            patch_size=encoder.patch_size,
            embed_dim=encoder.embed_dim,
            depth=encoder.depth,
            num_heads=encoder.num_heads,
            mlp_ratio=encoder.mlp_ratio,
            out_chans=decoder.embed_dim,
            norm_layer=_layer_norm,
            use_rel_pos=True,
            window_size=encoder.window_size,
            global_attn_indexes=encoder.global_attn_indexes,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=decoder.embed_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(encoder.image_size_px, encoder.image_size_px),
            mask_in_chans=decoder.mask_in_chans,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=decoder.embed_dim,
            transformer=TwoWayTransformer(
                depth=decoder.depth,
                embedding_dim=decoder.embed_dim,
                mlp_dim=decoder.mlp_dim,
                num_heads=decoder.num_heads,
            ),
            iou_head_hidden_dim=decoder.iou_head_hidden_dim,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    randomize(sam, seed=seed)
    return sam.eval()


def _layer_norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=1e-6)  # as segment_anything.build_sam asks for


def build_clip(config: ModelConfig, *, seed: int) -> nn.Module:
    """An open_clip model of `config`'s text sizes; its image tower, which we drop, is minute."""
    text = config.text_encoder
    clip = open_clip.model.CLIP(
        embed_dim=config.embed_dim,
        vision_cfg={"image_size": 16, "layers": 1, "width": 64, "patch_size": 16},
        text_cfg={
            "context_length": text.context_length,
            "vocab_size": text.vocab_size,
            "width": text.width,
            "heads": text.num_heads,
            "layers": text.depth,
        },
        quick_gelu=text.activation == "quick_gelu",
    )
    randomize(clip, seed=seed)
    return clip.eval()


def convert(config: ModelConfig, *, sam: Sam, clip: nn.Module) -> SamClipModel:
    """Our model with the references' weights, through our own converter."""
    return from_sam_and_clip(config, sam=sam.state_dict(), clip=clip).eval()


def small_config(
    *, image_size_px: int, mask_decoder: MaskDecoderConfig | None = None
) -> ModelConfig:
    """Few and narrow encoder layers, windowed and global, at SAM's own patch and window sizes."""
    return ModelConfig(
        name="small",
        embed_dim=64,
        classification_resolution=image_size_px,
        segmentation_resolution=image_size_px,
        image_encoder=ViTDetConfig(
            image_size_px=image_size_px,
            embed_dim=64,
            depth=4,
            num_heads=4,
            global_attn_indexes=(1, 3),
        ),
        mask_decoder=mask_decoder or MaskDecoderConfig(),
        text_encoder=ClipTextConfig(width=64, embedding_width=64, num_heads=4, depth=2),
    )


@torch.no_grad()
def encode_image(sam: Sam, image: Tensor) -> tuple[Tensor, Tensor]:
    """SAM's tokens before the neck and embeddings after it, of `image` [1,3,S,S], 0..255.

    At another resolution than the encoder's own, the absolute table is bicubic. The global
    layers' relative tables are SAM's `get_rel_pos`'s doing: it interpolates what does not fit.
    """
    encoder, grid = sam.image_encoder, image.shape[-1] // 16
    stored, size = encoder.pos_embed, encoder.img_size
    if stored.shape[1] != grid:
        resized = F.interpolate(
            stored.permute(0, 3, 1, 2), size=(grid, grid), mode="bicubic", align_corners=False
        )
        encoder.pos_embed = nn.Parameter(resized.permute(0, 2, 3, 1))
    tokens: list[Tensor] = []
    hook = encoder.blocks[-1].register_forward_hook(lambda *call: tokens.append(call[2]))
    try:
        encoder.img_size = image.shape[-1]  # what `preprocess` pads to
        embeddings = encoder(sam.preprocess(image.float()))
    finally:
        hook.remove()
        encoder.pos_embed, encoder.img_size = stored, size
    return tokens[0].permute(0, 3, 1, 2), embeddings


def predictor_with(sam: Sam, features: Tensor) -> SamPredictor:
    """A predictor whose square image, at the model's own resolution, has these embeddings."""
    predictor = SamPredictor(sam)
    side = sam.image_encoder.img_size
    predictor.features = features
    predictor.original_size = predictor.input_size = (side, side)
    predictor.is_image_set = True
    return predictor


def random_image(resolution: int, *, seed: int) -> Tensor:
    """Smooth uint8 noise [1,3,resolution,resolution]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 24, 24, generator=generator) * 255
    return F.interpolate(coarse, size=resolution, mode="bilinear").to(torch.uint8)


def relative_error(actual: Tensor | np.ndarray, expected: Tensor | np.ndarray) -> float:
    """The largest difference, relative to the reference's largest magnitude."""
    ours, theirs = torch.as_tensor(actual), torch.as_tensor(expected)
    assert ours.shape == theirs.shape, f"shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    return float((ours - theirs).abs().max() / theirs.abs().max())
