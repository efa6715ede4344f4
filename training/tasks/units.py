"""What a sharded run gathers one at a time: the transformer blocks of the student and teachers."""

from __future__ import annotations

from open_clip.transformer import ResidualAttentionBlock
from segment_anything.modeling.image_encoder import Block as SegmentAnythingBlock
from torch import nn

from samclip_sdk.modeling.attention import Block
from samclip_sdk.modeling.clip_text_encoder import TextBlock

_BLOCKS = (Block, TextBlock, ResidualAttentionBlock, SegmentAnythingBlock)
_TABLES = ("token_embedding",)  # of text encoders: large, and seldom called


def find_units(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks in a model, and its text encoders' tables of tokens."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BLOCKS) or name.endswith(_TABLES)
    ]
