"""Pixels and geometry in pure numpy: images, frames, prompts, masks."""

from samclip_sdk.image.frame import Frame, center_crop, letterbox
from samclip_sdk.image.loading import load_image
from samclip_sdk.image.masks import mask_to_box, mask_to_polygons, mask_to_rle, rle_to_mask
from samclip_sdk.image.packed_masks import PackedMasks

__all__ = [
    "Frame",
    "PackedMasks",
    "center_crop",
    "letterbox",
    "load_image",
    "mask_to_box",
    "mask_to_polygons",
    "mask_to_rle",
    "rle_to_mask",
]
