"""The mask decoder's prompts for labels that are in an image: points, a box and a mask prompt.

Pure functions of numpy arrays. The points and the box come from `label_points`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_points import points_and_box
from samclip_sdk.engine.label_search import FoundLabels, find_parts
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.model_prompts import Prompts, text_prompts

Array = NDArray[np.float32]


MASK_PROMPT_LIMIT = 10.0
"""The bound of a mask prompt's logits; the padding holds its negative."""


@dataclass(frozen=True)
class LabelPrompts:
    """The mask decoder's prompts for the P labels that are in the image.

    Attributes:
        prompts: P prompts.
        points: P arrays float32 [n,2], the points of each label in model pixels.
    """

    prompts: Prompts
    points: Sequence[Array]


def mask_prompt(score_map_hw: Array, *, frame: Frame, side: int, scale: float = 1.0) -> Array:
    """Turns a score map into SAM's mask prompt.

    Args:
        score_map_hw: [h,h].
        frame: where the image lies in the model's input.
        side: 4g, the side of the prompt.
        scale: the factor of the scores.

    Returns:
        float32 [side,side]: the scaled scores, clipped to +-10, with bilinear interpolation
        (half-pixel centres); -10 in the padding.
    """
    clipped = np.clip(np.float32(scale) * score_map_hw, -MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)
    prompt: Array = cv2.resize(  # type: ignore[assignment]  # cv2 types any array
        extend_into_padding(clipped, frame=frame), (side, side), interpolation=cv2.INTER_LINEAR
    )
    rows, columns = covered_cells(frame, side=side)
    prompt[rows:] = -MASK_PROMPT_LIMIT
    prompt[:, columns:] = -MASK_PROMPT_LIMIT
    return prompt


def extend_into_padding(maps_nhw: Array, *, frame: Frame) -> Array:
    """Repeats the image's last row and column of scores [...,h,h] into the padding.

    The model's scores of the padding mean nothing, but interpolation would carry them across the
    image's edge.
    """
    side = maps_nhw.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    row, column = (np.minimum(np.arange(side), last - 1) for last in (rows, columns))
    return maps_nhw[..., row[:, None], column]


def label_prompts(
    found: FoundLabels,
    *,
    frame: Frame,
    options: TextToMaskOptions,
    calibration: Calibration,
    mask_side: int,
) -> LabelPrompts:
    """Makes the mask decoder's prompt for each label that is in the image.

    The prompt has the box around all parts of the label, their best cells as points, and the
    label's scores as a mask. The graph that phones run, `export/apps/text_to_mask.py`, knows no
    threshold of a caller: there a part counts from the calibrated presence on.

    Args:
        found: where the labels are.
        frame: where the image lies in the model's input.
        options: the number of points, and the presence of a label. A part counts from that on, or
            from the calibrated presence if that is lower.
        calibration: which cells belong to a part, and how a score map becomes a mask prompt.
        mask_side: 4g.
    """
    threshold = calibration.mask_threshold_score
    points, corners, masks = [], [], []
    for index in found.present.tolist():
        score_map, own = found.score_maps[index], options.threshold_of(index)
        parts = find_parts(
            score_map,
            frame=frame,
            threshold=threshold,
            presence_threshold=min(own, calibration.presence_threshold),
        )
        best, box = points_and_box(
            score_map,
            cells=parts > 0,
            frame=frame,
            count=options.points_per_class,
            threshold=threshold,
        )
        points.append(best)
        corners.append(box)
        scale = calibration.prompt_scale
        masks.append(mask_prompt(score_map, frame=frame, side=mask_side, scale=scale))
    prompts = text_prompts(points, corners=np.stack(corners), mask_input=np.stack(masks))
    return LabelPrompts(prompts, points)
