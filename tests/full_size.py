"""The paper's ViT-B at its real widths and resolutions, with a quarter of its layers.

What a converter or a compiler makes of one layer, windowed or global, it makes of the next ones.
Tests of memory, and of the export as a whole, take all layers.
"""

from __future__ import annotations

from samclip_sdk.modeling.config import VIT_B, ModelConfig


def _few_layers() -> ModelConfig:
    encoder = {"depth": 3, "global_attn_indexes": (2,)}
    return VIT_B.model_copy(
        update={
            "image_encoder": VIT_B.image_encoder.model_copy(update=encoder),
            "text_encoder": VIT_B.text_encoder.model_copy(update={"depth": 3}),
        }
    )


FEW_LAYERS = _few_layers()
