"""How a label's mask fits what was given of it: masks, or boxes alone.

Pure functions of numpy arrays. A box is compared as it was given, not by a mask that the model
draws in it, which would share the model's own mistakes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.learning.coco_file import Labelled
from samclip_sdk.image.masks import mask_ious, mask_to_box
from samclip_sdk.image.packed_masks import union

COVERED = 0.75
"""The share of what was given that the mask of a whole thing covers at least."""

TIMES_LARGER = 2.0
"""How many times as large as what was given the mask of a whole thing is at least."""


def fit_to_given(mask: NDArray[np.bool_], own: Labelled) -> float:
    """The IoU of a label's mask with what was given of it in an image.

    Within a given box, the mask counts as the rectangle around what it covers there: a box says no
    more of a thing's outline.

    Args:
        mask: [H,W].
        own: the masks and boxes of the label's objects.
    """
    given, filled = _drawn(mask, own)
    return float(mask_ious(filled[None], given[None])[0, 0])


def takes_the_whole(mask: NDArray[np.bool_], own: Labelled) -> bool:
    """Whether a label's mask covers what was given of it, and is far larger.

    Only the pieces of the mask that touch what was given count: another object, which nobody
    labelled, makes no part a whole.

    Args:
        mask: [H,W].
        own: the masks and boxes of the label's objects.
    """
    given, filled = _drawn(pieces_at(mask, own), own)
    area = np.count_nonzero(given)
    covers = np.count_nonzero(filled & given) >= COVERED * area
    return bool(area and covers and np.count_nonzero(filled) >= TIMES_LARGER * area)


def pieces_at(mask: NDArray[np.bool_], own: Labelled) -> NDArray[np.bool_]:
    """The connected pieces of a mask [H,W] that touch what was given."""
    given, _ = _drawn(mask, own)
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return mask & np.isin(pieces, pieces[mask & given])


def _drawn(mask: NDArray[np.bool_], own: Labelled) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What was given [H,W], and the mask [H,W], filled to rectangles within given boxes."""
    given, filled = np.zeros_like(mask), mask.copy()
    union(own.masks).draw(given)
    for box in own.boxes:
        x0, y0, x1, y1 = np.rint(np.maximum(box, 0)).astype(np.int64)
        inside = slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))
        given[inside] = True
        left, top, right, bottom = mask_to_box(mask[inside]).astype(np.int64)
        filled[inside][top:bottom, left:right] = True
    return given, filled
