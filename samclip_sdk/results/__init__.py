"""The model's results: frozen dataclasses of read-only numpy arrays, with checked shapes.

Each result is also a sequence with one item for each row (`row_items.py`). It has `speed`
(milliseconds by step) and `origin`, its source image. Boxes are XYXY in pixels of the upright
image. JSON follows COCO: `bbox` is [x, y, width, height], and masks are compressed RLE.
"""

from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.result_base import Labelled, MaskResult, Result
from samclip_sdk.results.row_items import Instance, LabelProb, Mask, MaskItem, NamedMask, TextMask
from samclip_sdk.results.text_masks import AskedLabels, TextMasks
from samclip_sdk.results.tracked import TrackedInstance, TrackedInstances

__all__ = [
    "AskedLabels",
    "Classification",
    "ImageEmbedding",
    "Instance",
    "Instances",
    "LabelProb",
    "Labelled",
    "Mask",
    "MaskItem",
    "MaskResult",
    "Masks",
    "NamedMask",
    "NamedMasks",
    "PreparedImage",
    "Result",
    "TextMask",
    "TextMasks",
    "TrackedInstance",
    "TrackedInstances",
]
