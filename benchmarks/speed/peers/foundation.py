"""SAM and CLIP of their own packages, with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from benchmarks.speed.peers.architecture import PATCH_PX, SamArchitecture
from benchmarks.speed.peers.forced import SEED


def build_sam(architecture: SamArchitecture) -> Sam:
    """Builds SAM as segment-anything does, at any size, in evaluation mode."""
    size, width = architecture.image_size_px, architecture.prompt_embed_dim
    grid = size // PATCH_PX
    torch.manual_seed(SEED)
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=architecture.depth,
            embed_dim=architecture.embed_dim,
            img_size=size,
            mlp_ratio=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=architecture.num_heads,
            patch_size=PATCH_PX,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=architecture.global_attn_indexes,
            window_size=14,
            out_chans=width,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=width,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=width,
                mlp_dim=architecture.decoder_mlp_dim,
                num_heads=architecture.decoder_heads,
            ),
            transformer_dim=width,
            iou_head_depth=3,
            iou_head_hidden_dim=width,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    # SAM's positions start at zero, which no trained model has: an exporter may drop them.
    for name, parameter in sam.named_parameters():
        if "pos_embed" in name or "rel_pos" in name:
            nn.init.trunc_normal_(parameter, std=0.02)
    return sam.eval().requires_grad_(False)


def load_clip(
    name: str, *, in_bfloat16: bool = False
) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """Builds an open_clip model and its preprocessing of one picture.

    Args:
        name: of an open_clip architecture, or the path of a JSON file of open_clip's kind.
        in_bfloat16: all of its parameters, and the pictures that it takes.

    Raises:
        RuntimeError: open_clip has no such architecture.
    """
    with _hidden("transformers"):
        import open_clip
    torch.manual_seed(SEED)
    if name.endswith(".json"):
        open_clip.add_model_config(name)
        name = Path(name).stem
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, precision="pure_bf16" if in_bfloat16 else "fp32"
    )
    return model.eval().requires_grad_(False), preprocess


def run_in_bfloat16(module: nn.Module) -> None:
    """Casts a module of one input and one output to bfloat16; what goes in and out is float32."""
    module.to(torch.bfloat16)
    module.register_forward_pre_hook(lambda _module, given: (given[0].to(torch.bfloat16),))
    module.register_forward_hook(lambda _module, _given, answer: answer.float())


def set_threads(threads: int) -> None:
    """Sets torch's threads; 0 leaves what torch chose."""
    if threads:
        torch.set_num_threads(threads)


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Hides an optional dependency that another peer brought: it would count as this one's load."""
    if package in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
