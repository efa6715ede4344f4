from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import (
    ClipHeadConfig,
    ClipTextConfig,
    MaskDecoderConfig,
    ModelConfig,
    ViTDetConfig,
)

SMALLEST = ModelConfig(
    name="smallest",
    embed_dim=24,
    classification_resolution=32,
    segmentation_resolution=64,
    image_encoder=ViTDetConfig(
        image_size_px=64,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
    ),
    clip_head=ClipHeadConfig(depth=2, hidden_dim=40, token_pooling={64: 2}),
    mask_decoder=MaskDecoderConfig(
        embed_dim=32, mask_in_chans=8, num_heads=2, mlp_dim=48, iou_head_hidden_dim=16
    ),
    text_encoder=ClipTextConfig(
        context_length=12, vocab_size=50, width=32, num_heads=2, depth=2, embedding_width=20
    ),
)
"""Windows of 3 on grids of 8 and 4 pad; 2x2 token pooling at 64 px only."""


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    return SMALLEST


@pytest.fixture
def model() -> SamClipModel:
    """A model whose every parameter shows: none is left at zero or one."""
    model = build_model(SMALLEST, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model.requires_grad_(False)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)
