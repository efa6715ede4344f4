"""The candidates for objects of a label: a prompt of the mask decoder for each part of its mask.

Pure functions of numpy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.label_points import cell_points, part_corners
from samclip_sdk.engine.label_prompts import MASK_PROMPT_LIMIT, mask_prompt
from samclip_sdk.engine.objects import model_masks
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.model_prompts import Prompts, assemble_prompts
from samclip_sdk.image.upscale import sigmoid

Array = NDArray[np.float32]

MAX_CANDIDATES = 64
"""The most parts of a label's mask that are followed; the largest ones."""

MIN_PX = 20
"""The least area of a part, in pixels of the low-resolution mask: two patches hold 32."""

MIN_PART = 0.02
"""The least area of a part, as a share of the largest part's; smaller ones are specks."""


@dataclass(frozen=True)
class Candidates:
    """The n places where a label may have an object.

    Attributes:
        prompts: the n prompts of the mask decoder.
        maps: float32 [n,4g,4g], the mask prompt of each candidate.
    """

    prompts: Prompts
    maps: Array


def find_candidates(logits_hw: Array, *, frame: Frame, mask_threshold: float) -> Candidates:
    """Makes the mask decoder's prompts for the parts of a label's mask that do not touch.

    The box around the part and the pixel deepest inside it are the prompt, with the mask without
    the other parts as mask prompt.

    Args:
        logits_hw: the label's mask, [4g,4g], in the model frame.
        frame: where the image lies; no part is in its padding.
        mask_threshold: the logit that a pixel of the mask exceeds.

    Returns:
        The candidates, the largest part first, `MAX_CANDIDATES` at most.
    """
    inside = model_masks(logits_hw, frame=frame, mask_threshold=mask_threshold)
    count, parts = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)
    areas = np.bincount(parts.ravel(), minlength=count)[1:]
    order = np.argsort(-areas, kind="stable")[:MAX_CANDIDATES]
    minimum = max(MIN_PX, MIN_PART * areas.max(initial=0))
    kept = [parts == 1 + each for each in order.tolist() if areas[each] >= minimum]
    side = len(logits_hw)
    whole = mask_prompt(logits_hw - np.float32(mask_threshold), frame=frame, side=side)
    apart = [np.where(inside & ~part, -MASK_PROMPT_LIMIT, whole) for part in kept]
    maps = np.array(apart, np.float32).reshape(-1, side, side)
    rows, columns = np.array([_deepest(part) for part in kept], np.intp).reshape(-1, 2).T
    corners = [part_corners(part, frame=frame) for part in kept]
    prompts = assemble_prompts(
        cell_points(rows, columns, frame=frame, side=side)[:, None],
        np.ones((len(kept), 1), dtype=np.int32),
        corners=np.array(corners, np.float32).reshape(-1, 2, 2),
        mask_input=maps[:, None],
        has_mask=True,
    )
    return Candidates(prompts, maps)


def _deepest(part_hw: NDArray[np.bool_]) -> tuple[np.intp, ...]:
    """The row and column of the pixel of a part that is farthest from its edge."""
    depth = cv2.distanceTransform(part_hw.view(np.uint8), cv2.DIST_L2, 3)
    return np.unravel_index(int(depth.argmax()), depth.shape)


def chosen_masks(
    low_res: Array, iou_predictions: Array, *, maps: Array, frame: Frame
) -> tuple[Array, Array]:
    """Chooses the best of the decoder's four masks for each candidate.

    The best one has the highest product of predicted IoU and soft IoU with the component's scores.

    Args:
        low_res: logits [n,4,4g,4g].
        iou_predictions: [n,4].
        maps: logits [n,4g,4g], from `Candidates`.
        frame: where the image lies; its padding does not count.

    Returns:
        The logits [n,4g,4g] and predicted IoUs [n].
    """
    rows, columns = covered_cells(frame, side=low_res.shape[-1])
    fits = np.empty_like(iou_predictions)
    for index, logits in enumerate(low_res[..., :rows, :columns]):
        drawn, wanted = sigmoid(logits), sigmoid(maps[index, :rows, :columns])
        shared = np.minimum(drawn, wanted).sum(axis=(1, 2))
        fits[index] = shared / np.maximum(drawn, wanted).sum(axis=(1, 2))
    best = (np.maximum(iou_predictions, 0) * fits).argmax(axis=1)
    every = np.arange(len(best))
    return low_res[every, best], iou_predictions[every, best]
