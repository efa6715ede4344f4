"""The tiny models of all tests: each part as small as it can be."""

from __future__ import annotations

from samclip_sdk.modeling.config import (
    BertTextConfig,
    ClassifierHeadConfig,
    ClipHeadConfig,
    ClipTextConfig,
    MaskDecoderConfig,
    ModelConfig,
    PyramidConfig,
    TinyViTConfig,
    ViTDetConfig,
)

TINY = ModelConfig(
    name="samclip-test",
    embed_dim=16,
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
    clip_head=ClipHeadConfig(depth=1, hidden_dim=32, token_pooling={64: 2}),
    mask_decoder=MaskDecoderConfig(
        embed_dim=32,
        mask_in_chans=8,
        depth=1,
        num_heads=2,
        mlp_dim=32,
        iou_head_hidden_dim=16,
    ),
    text_encoder=ClipTextConfig(width=32, num_heads=2, depth=1, embedding_width=8),
)
"""Padded windows, and token pooling at one of the two resolutions."""

ONE_RESOLUTION = TINY.model_copy(update={"classification_resolution": 64})
"""Both tasks at the resolution with token pooling: every kind of graph and operation, once."""

STUDENT = TINY.model_copy(
    update={
        "name": "student-test",
        "classification_resolution": 64,
        "image_encoder": TINY.image_encoder.model_copy(update={"patch_size": 16}),
        "clip_head": ClipHeadConfig(depth=1, hidden_dim=32),
        "mask_decoder": TINY.mask_decoder.model_copy(update={"depth": 2}),
    }
)
"""As small as composed data allows: its patches have the 16 px of the batches' masks."""

PYRAMID_STUDENT = STUDENT.model_copy(
    update={
        "image_encoder": PyramidConfig(
            backbone="test_efficientnet", widths=(32, 48, 64), image_size_px=64, embed_dim=32
        ),
        "clip_head": ClassifierHeadConfig(features=64, hidden_dim=16, mlp_dim=32),
        "mask_decoder": STUDENT.mask_decoder.model_copy(update={"local_blocks": 1}),
    }
)
"""The same on timm's own smallest backbone, with what else samclip-mobile has."""

TINY_BERT = BertTextConfig(
    width=32, num_heads=2, depth=1, mlp_dim=32, embedding_width=8, hidden_dim=32
)

MOBILE = PYRAMID_STUDENT.model_copy(
    update={
        "mask_decoder": PYRAMID_STUDENT.mask_decoder.model_copy(update={"high_resolution": True}),
        "text_encoder": TINY_BERT,
    }
)
"""As samclip-mobile: a convolutional encoder, whose finer features the mask decoder reads, a
classifier's head, and a BERT."""

BUNDLED = MOBILE.model_copy(
    update={
        "name": "samclip-test",
        "classification_resolution": 32,
        "mask_decoder": MOBILE.mask_decoder.model_copy(update={"depth": 1}),
    }
)
"""Of the tiny bundle: the same with two resolutions, and a mask decoder of one layer."""

SMALL_TINY_VIT = TinyViTConfig(
    image_size_px=64,
    embed_dims=(8, 16, 24, 32),
    depths=(1, 2, 1, 1),
    stage_heads=(1, 2, 2, 4),
    window_sizes=(3, 3, 5, 3),
)
