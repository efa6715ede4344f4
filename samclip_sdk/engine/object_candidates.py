"""The candidates for objects of a label: a prompt of the mask decoder for each part of its mask.

Pure functions of numpy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.label_prompts import MASK_PROMPT_LIMIT
from samclip_sdk.engine.objects import model_masks
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.masks import mask_to_box
from samclip_sdk.picture.model_prompts import Prompts, assemble_prompts
from samclip_sdk.picture.upscale import sigmoid

Array = NDArray[np.float32]

MAX_CANDIDATES = 64
"""The most parts of a label's mask that are followed; the largest ones."""

LEAST_PX = 20
"""The least area of a part, in pixels of the low-resolution mask: two patches hold 32."""

LEAST_SHARE = 0.02
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


def find_candidates(logits: Array, *, frame: Frame, mask_threshold: float) -> Candidates:
    """Makes the mask decoder's prompts for the parts of a label's mask that do not touch.

    The box around the part and the pixel deepest inside it are the prompt, with the mask without
    the other parts as mask prompt.

    Args:
        logits: the label's mask, [4g,4g], in the model frame.
        frame: where the image lies; no part is in its padding.
        mask_threshold: the logit that a pixel of the mask exceeds.

    Returns:
        The candidates, the largest part first, `MAX_CANDIDATES` at most.
    """
    inside = model_masks(logits, frame=frame, mask_threshold=mask_threshold)
    count, parts = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)
    areas = np.bincount(parts.ravel(), minlength=count)[1:]
    order = np.argsort(-areas, kind="stable")[:MAX_CANDIDATES]
    least = max(LEAST_PX, LEAST_SHARE * areas.max(initial=0))
    kept = [parts == 1 + each for each in order.tolist() if areas[each] >= least]
    rows, columns = covered_cells(frame, side=len(logits))
    prompt = np.full_like(logits, -MASK_PROMPT_LIMIT)
    prompt[:rows, :columns] = logits[:rows, :columns] - np.float32(mask_threshold)
    prompt = prompt.clip(-MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)
    maps = [np.where(inside & ~part, -MASK_PROMPT_LIMIT, prompt) for part in kept]
    pixel = np.float32(frame.resolution / len(logits))
    limit = (frame.resized_width_px, frame.resized_height_px)
    corners = [np.minimum(mask_to_box(part).reshape(2, 2) * pixel, limit) for part in kept]
    points = [(_deepest(part) + np.float32(0.5)) * pixel - np.float32(0.5) for part in kept]
    as_masks = np.array(maps, np.float32).reshape(-1, *logits.shape)
    prompts = assemble_prompts(
        np.array(points, np.float32).reshape(-1, 1, 2),
        np.ones((len(kept), 1), dtype=np.int32),
        corners=np.array(corners, np.float32).reshape(-1, 2, 2),
        mask_input=as_masks[:, None],
        has_mask=True,
    )
    return Candidates(prompts, as_masks)


def _deepest(part: NDArray[np.bool_]) -> Array:
    """The pixel (x, y) of a part that is farthest from its edge."""
    depth = cv2.distanceTransform(part.view(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([column, row], np.float32)


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
    for place, logits in enumerate(low_res[..., :rows, :columns]):
        drawn, wanted = sigmoid(logits), sigmoid(maps[place, :rows, :columns])
        shared = np.minimum(drawn, wanted).sum(axis=(1, 2))
        fits[place] = shared / np.maximum(drawn, wanted).sum(axis=(1, 2))
    best = (np.maximum(iou_predictions, 0) * fits).argmax(axis=1)
    every = np.arange(len(best))
    return low_res[every, best], iou_predictions[every, best]
