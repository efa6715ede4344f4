from __future__ import annotations

import pytest

from samclip_sdk.modeling.config import (
    PRESETS,
    VIT_B,
    ModelConfig,
    ViTDetConfig,
)


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name: str) -> None:
    assert ModelConfig.model_validate_json(PRESETS[name].model_dump_json()) == PRESETS[name]


def test_token_pooling_survives_json() -> None:
    # JSON has text keys only.
    back = ModelConfig.model_validate_json(VIT_B.model_dump_json())
    assert back.token_pooling(1024) == 2
    assert back.token_pooling(336) == 1


def test_vit_b_is_the_papers() -> None:
    assert VIT_B.image_encoder == ViTDetConfig(
        image_size_px=1024,
        patch_size=16,
        embed_dim=768,
        depth=12,
        num_heads=12,
        mlp_ratio=4.0,
        window_size=14,
        global_attn_indexes=(2, 5, 8, 11),
    )
    assert VIT_B.image_encoder.grid == 64
    assert (VIT_B.clip_head.depth, VIT_B.embed_dim) == (3, 768)
    assert (VIT_B.classification_resolution, VIT_B.segmentation_resolution) == (336, 1024)
