"""Which of many masks stay: how stable each is, and which of them show the same.

Pure functions of numpy arrays. Masks that are compared with one another are small ones, in the
model frame; a mask in the image is alive alone, and then kept in bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.picture.upscale import upscale_above

Array = NDArray[np.float32]


def pack_mask(
    low_res: Array, *, frame: Frame, mask_threshold: float, stability_offset: float
) -> tuple[PackedMask, float]:
    """Upscales a mask's logits to the image, thresholds them, and tells how stable the mask is.

    Its stability score, 0..1, is segment-anything's: the IoU of the masks at `mask_threshold` plus
    and minus `stability_offset`, 0 where both are empty.

    Args:
        low_res: logits [4g,4g] in the model frame.
        frame: of the image.
        mask_threshold: the logit that a pixel must exceed.
        stability_offset: 0 or more.
    """
    low, high = mask_threshold - stability_offset, mask_threshold + stability_offset
    (rows, columns), logits = upscale_above(low_res, frame=frame, threshold=low)
    union = np.count_nonzero(logits > np.float32(low))
    stability = np.count_nonzero(logits > np.float32(high)) / union if union else 0.0
    inside = logits > np.float32(mask_threshold)
    return PackedMask.pack(inside, top=rows.start, left=columns.start), stability


def in_image(low_res: Array, *, frame: Frame, mask_threshold: float) -> NDArray[np.bool_]:
    """Masks of logits [...,s,s] at their own size, with nothing in the padding."""
    rows, columns = covered_cells(frame, side=low_res.shape[-1])
    masks: NDArray[np.bool_] = low_res > np.float32(mask_threshold)
    masks[..., rows:, :] = False
    masks[..., columns:] = False
    return masks


def distinct_boxes(boxes: Array, *, scores: Array, iou_threshold: float) -> NDArray[np.intp]:
    """Non-maximum suppression: drops boxes that overlap a better one too much.

    Args:
        boxes: float [N,4], XYXY. Their edges are compared as they are.
        scores: float [N]; of equal ones the first is better.
        iou_threshold: the IoU with a box that stays, above which a box is dropped.

    Returns:
        The places of those that stay, the best first.
    """
    left = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        near = np.maximum(boxes[left, :2], boxes[best, :2])
        far = np.minimum(boxes[left, 2:], boxes[best, 2:])
        shared = np.maximum(far - near, 0).prod(axis=1)
        # Without a division: boxes without an area overlap nothing.
        left = left[shared <= iou_threshold * (areas[best] + areas[left] - shared)]
    return np.array(kept, dtype=np.intp)


def distinct_masks(
    masks: NDArray[np.bool_], *, scores: Array, iou_threshold: float, contained_share: float
) -> NDArray[np.intp]:
    """Drops masks that overlap a better one too much, or lie inside of better ones.

    Args:
        masks: bool [N,h,w].
        scores: float [N]; of equal ones the first is better.
        iou_threshold: the IoU with a mask that stays, above which a mask is dropped.
        contained_share: the share of its area that masks that stay cover together, from which on a
            mask is dropped: a part of an object, or several objects taken for one.

    Returns:
        The places of those that stay, the best first.
    """
    flat = masks.reshape(len(masks), masks.shape[1] * masks.shape[2])
    areas = np.count_nonzero(flat, axis=1)
    covered = np.zeros(flat.shape[1], dtype=bool)
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable").tolist():
        common = np.count_nonzero(flat[kept] & flat[place], axis=1)
        same = common > iou_threshold * (areas[place] + areas[kept] - common)
        inside = np.count_nonzero(covered & flat[place]) >= contained_share * areas[place]
        if not (same.any() or (kept and inside)):
            kept.append(place)
            covered |= flat[place]
    return np.array(kept, dtype=np.intp)
