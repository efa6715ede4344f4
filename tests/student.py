"""A student as small as composed data allows: its patches have the 16 px of the batches' masks."""

from samclip_sdk.modeling.config import (
    ClassifierHeadConfig,
    ClipHeadConfig,
    ClipTextConfig,
    MaskDecoderConfig,
    ModelConfig,
    PyramidConfig,
    ViTDetConfig,
)

STUDENT = ModelConfig(
    name="student-test",
    embed_dim=16,
    classification_resolution=64,
    segmentation_resolution=64,
    image_encoder=ViTDetConfig(
        image_size_px=64,
        embed_dim=32,
        depth=2,
        num_heads=2,
        window_size=3,
        global_attn_indexes=(1,),
    ),
    clip_head=ClipHeadConfig(depth=1, hidden_dim=32),
    mask_decoder=MaskDecoderConfig(
        embed_dim=32, mask_in_chans=8, num_heads=2, mlp_dim=32, iou_head_hidden_dim=16
    ),
    text_encoder=ClipTextConfig(width=32, num_heads=2, depth=1, embedding_width=8),
)

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
