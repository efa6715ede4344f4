"""What the model answers: frozen dataclasses of read-only numpy arrays, their shapes checked.

Each is a sequence too, of one item a row (`items.py`), and carries `speed` (milliseconds by step)
and `picture`, what it was made from. Boxes are XYXY in pixels of the upright image; in JSON, which
follows COCO, `bbox` is [x, y, width, height] and masks are compressed RLE.
"""

from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.result_base import Labelled, MaskResult, Result
from samclip_sdk.results.row_items import Instance, LabelProb, Mask, MaskItem, TextMask
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
    "PreparedImage",
    "Result",
    "TextMask",
    "TextMasks",
    "TrackedInstance",
    "TrackedInstances",
]
