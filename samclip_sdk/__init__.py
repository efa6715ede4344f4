"""One merged SAM + CLIP model: one backbone pass, three skills, any edge runtime."""

from samclip_sdk.client import SamClip
from samclip_sdk.errors import (
    BundleError,
    EmbeddingMismatchError,
    ImageError,
    PromptError,
    RuntimeMissingError,
    SamClipError,
    SamClipWarning,
    StorageError,
    TextError,
    TextTruncatedWarning,
    UnverifiedArtifactWarning,
    VerificationError,
)
from samclip_sdk.image_embedding import ImageEmbedding
from samclip_sdk.results import Classification, Masks
from samclip_sdk.text_masks import TextMasks

__all__ = [
    "BundleError",
    "Classification",
    "EmbeddingMismatchError",
    "ImageEmbedding",
    "ImageError",
    "Masks",
    "PromptError",
    "RuntimeMissingError",
    "SamClip",
    "SamClipError",
    "SamClipWarning",
    "StorageError",
    "TextError",
    "TextMasks",
    "TextTruncatedWarning",
    "UnverifiedArtifactWarning",
    "VerificationError",
]
