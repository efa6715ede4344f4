"""A student as small as composed data allows: its patches have the 16 px of the batches' masks."""

from samclip_sdk.modeling.config import ClassifierHeadConfig, ClipHeadConfig, PyramidConfig
from tests.tiny_config import TINY

STUDENT = TINY.model_copy(
    update={
        "name": "student-test",
        "classification_resolution": 64,
        "image_encoder": TINY.image_encoder.model_copy(update={"patch_size": 16}),
        "clip_head": ClipHeadConfig(depth=1, hidden_dim=32),
        "mask_decoder": TINY.mask_decoder.model_copy(update={"depth": 2}),
    }
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
