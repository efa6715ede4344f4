from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from samclip_sdk.modeling.config import (
    MOBILE,
    PRESETS,
    TINY,
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


def test_the_kind_says_which_image_encoder() -> None:
    content = VIT_B.model_dump(mode="json")
    assert content["image_encoder"]["kind"] == "vit_det"
    content = MOBILE.model_dump(mode="json")
    assert content["image_encoder"]["kind"] == "pyramid"
    assert content["image_encoder"]["patch_size"] == 16
    assert MOBILE.image_encoder.grid == 32


VIT = {"kind": "vit_det"}
PYRAMID = {"kind": "pyramid", "backbone": "x", "widths": (8, 8, 8), "image_size_px": 64}
HEAD = {"features": 64}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name"),
        ({"depth": 3}, "Extra inputs"),
        ({"segmentation_resolution": 1000}, "resolution 1000 is not a positive multiple of 16"),
        ({"classification_resolution": 0}, "greater than 0"),
        ({"image_encoder": {**VIT, "image_size_px": 1020}}, "resolution 1020"),
        (
            {"image_encoder": {**VIT, "num_heads": 7}},
            "image_encoder.embed_dim 768 is not a multiple",
        ),
        (
            {"image_encoder": {**VIT, "global_attn_indexes": (2, 12)}},
            "has 12, outside 0..11",
        ),
        (
            {"image_encoder": {**VIT, "global_attn_indexes": (2, 5)}},
            "the last layer must be global",
        ),
        ({"image_encoder": {"image_size_px": 1024}}, "using discriminator 'kind'"),
        ({"image_encoder": {"kind": "resnet"}}, "'vit_det', 'pyramid', 'tiny_vit'"),
        ({"image_encoder": {"kind": "pyramid"}}, "backbone"),
        ({"image_encoder": {**PYRAMID, "patch_size": 8}}, "patch_size"),
        ({"image_encoder": {**PYRAMID, "pixel_std": (1, 0, 1)}}, "pixel_std"),
        ({"image_encoder": {**PYRAMID, "depth": 3}}, "Extra inputs"),
        (
            {"image_encoder": {**PYRAMID, "image_size_px": 48}, "clip_head": HEAD},
            "resolution 48 .* multiple of 32",
        ),
        (
            {"image_encoder": PYRAMID, "clip_head": HEAD},
            "resolution 336 is not a positive multiple of 32",
        ),
        (
            {"image_encoder": PYRAMID},
            "a clip_head with depth does not fit the image encoder pyramid",
        ),
        ({"clip_head": HEAD}, "a clip_head with features does not fit the image encoder vit_det"),
        ({"mask_decoder": {"num_heads": 24}}, "mask_decoder.embed_dim 256 is not a multiple"),
        ({"mask_decoder": {"embed_dim": 260}}, "multiple of 8"),
        (
            {"text_encoder": {"kind": "clip", "num_heads": 7}},
            "text_encoder.width 768 is not a multiple",
        ),
        ({"text_encoder": {"kind": "bert", "num_heads": 7}}, "text_encoder.width 384 is not a"),
        ({"text_encoder": {"kind": "bert", "templates": ["a dog"]}}, "templates"),
        ({"text_encoder": {"kind": "gpt"}}, "'clip', 'bert'"),
        ({"text_encoder": {"kind": "clip", "activation": "relu"}}, "activation"),
        ({"clip_head": {"token_pooling": {1024: 4}}}, "token_pooling"),
        ({"clip_head": {"token_pooling": {336: 2}}}, "resolution 336 is not .* multiple of 32"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ModelConfig.model_validate({"name": "x", **change})


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TINY.name = "other"


def test_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import samclip_sdk.modeling.config as config; "
        "print(config.TINY.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "samclip-tiny"
