"""Class maps: one label for each pixel, where labels compete. They are drawn when asked for."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.image.upscale import upscale_above

BACKGROUND = -1
"""The class map's value where no label has a mask."""

MAX_LABELS = int(np.iinfo(np.int16).max)
"""The most labels that a class map can tell apart."""


def map_of_logits(
    low_res: NDArray[np.float32],
    indexes: NDArray[np.int32],
    *,
    frame: Frame,
    mask_threshold: float,
) -> NDArray[np.int16]:
    """Gives every pixel to its highest label; memory holds one label's logits at a time.

    Args:
        low_res: logits [P,s,s] in the model frame.
        indexes: the index [P] of each label among all asked.
        frame: the image's frame.
        mask_threshold: the logit that a pixel of a label exceeds.

    Returns:
        int16 [H,W], the index of each pixel's label, or `BACKGROUND`.
    """
    size = (frame.height_px, frame.width_px)
    class_map = np.full(size, BACKGROUND, dtype=np.int16)
    best = np.full(size, mask_threshold, dtype=np.float32)
    for each, index in zip(low_res, indexes.tolist(), strict=True):
        part, logits = upscale_above(each, frame=frame, threshold=mask_threshold)
        if not logits.size:
            continue
        highest = logits > best[part]
        # NumPy's assignment by a mask takes three to thirty times as long.
        own = np.full(highest.shape, index, dtype=np.int16)
        cv2.copyTo(own, highest.view(np.uint8), class_map[part])
        np.maximum(best[part], logits, out=best[part])
    return class_map


def map_of_masks(
    claims: Iterable[tuple[PackedMask, int]], *, size: tuple[int, int]
) -> NDArray[np.int16]:
    """Gives every pixel to the last of the masks that hold it.

    Args:
        claims: masks, each with its label's index among all asked.
        size: height and width of the image.

    Returns:
        int16 [H,W], the index of each pixel's label, or `BACKGROUND`.
    """
    class_map = np.full(size, BACKGROUND, dtype=np.int16)
    for mask, index in claims:
        class_map[mask.rows, mask.columns][mask.part()] = index
    return class_map
