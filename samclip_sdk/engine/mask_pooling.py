"""What is inside a mask, in CLIP's joint space: patch embeddings pooled over it, and their labels.

Pure functions of numpy arrays. Each mask and each label is computed on its own: its scores never
depend, to the last bit, on which others stand beside it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_parts import sigmoid
from samclip_sdk.engine.text_to_mask import score_maps
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]


def pool_over_mask(patch_embeddings: Array, *, mask: NDArray[np.bool_] | Array) -> Array:
    """The mean of the patches under a mask, each by the share of it that the mask covers.

    Args:
        patch_embeddings: [1,h*h,E], unit length.
        mask: bool [s,s] in the model frame, s a multiple of h, or float32, the share of each of
            its pixels; none of it in the padding.

    Returns:
        float32 [E], unit length; zeros for an empty mask.
    """
    patches = patch_embeddings[0]
    side = math.isqrt(len(patches))
    shares = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return normalize((shares.ravel() @ patches).astype(np.float32))


def score_labels(embedding: Array, *, texts: Array, calibration: Calibration) -> Array:
    """How well each label fits what was pooled.

    Args:
        embedding: [E], unit length.
        texts: [K,E], unit length.
        calibration: of the scores.

    Returns:
        float32 [K], 0..1: the sigmoid of the calibrated cosine.
    """
    maps = score_maps(embedding[None, None], text_embeddings=texts, calibration=calibration)
    return sigmoid(maps.ravel())
