"""One model by the method of SAM-CLIP: one backbone pass, three skills, any edge runtime."""

from samclip_sdk.client import SamClip
from samclip_sdk.engine.learning import LabelQuality, LearnedLabel, LearnReport
from samclip_sdk.engine.video.sources import VideoSource
from samclip_sdk.errors import (
    BundleError,
    ImageError,
    PromptError,
    RuntimeMissingError,
    SamClipError,
    SamClipWarning,
    TextError,
)
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import ImageSource
from samclip_sdk.results.classification import Classification
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.results.row_items import Instance, LabelProb, Mask, NamedMask, TextMask
from samclip_sdk.results.text_masks import TextMasks
from samclip_sdk.results.tracked import TrackedInstance, TrackedInstances
from samclip_sdk.text.word_table import Reading

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "Classification",
    "Frame",
    "ImageEmbedding",
    "ImageError",
    "ImageSource",
    "Instance",
    "Instances",
    "LabelProb",
    "LabelQuality",
    "LearnReport",
    "LearnedLabel",
    "Mask",
    "Masks",
    "NamedMask",
    "NamedMasks",
    "PreparedImage",
    "PromptError",
    "Reading",
    "RuntimeMissingError",
    "SamClip",
    "SamClipError",
    "SamClipWarning",
    "TextError",
    "TextMask",
    "TextMasks",
    "TrackedInstance",
    "TrackedInstances",
    "VideoSource",
]
