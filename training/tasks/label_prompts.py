"""Prompts of text-to-mask in training, made of score maps as in the SDK.

A model's own images its CLIP head knows better than others, so each map is disturbed first. Some
labels are asked for by one of their parts, as single objects are: then the label's connected
regions that the box touches are to be drawn, else all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_points import points_and_box
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import find_parts
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.model_prompts import text_prompts
from training.batches import CELL_PX, PATCH_PX

_MAX_POINTS = 3
_PART = 0.3  # of the labels are asked for by one of their parts alone
_COARSE_GRID = 6  # cells of the noise that a whole region has in common
_COARSE_NOISE, _FINE_NOISE, _SHIFT, _STEEPNESS = 2.0, 1.0, 1.5, (0.7, 1.3)  # in logits


class LabelPrompts(NamedTuple):
    """Prompts of L labels: coords [L,P,2], labels int32 [L,P], mask_input [L,1,4g,4g]."""

    coords: Tensor
    labels: Tensor
    mask_input: Tensor


def ask_for_labels(
    maps: Tensor, targets: Tensor, *, frames: Sequence[Frame], calibration: Calibration
) -> tuple[LabelPrompts, Tensor]:
    """Makes the prompts of labels, each of all of its parts or of one.

    Args:
        maps: [L,g,g], scores in logits.
        targets: [L,h,h], 0..1, how much of each square of `CELL_PX` the label covers.
        frames: of each label, where its image lies.
        calibration: with the thresholds of parts and of masks.

    Returns:
        The prompts, and what they ask for: the targets, or what is connected in them and reaches
        into the part's box.
    """
    side = targets.shape[-1]
    if not len(maps):
        nothing = LabelPrompts(
            maps.new_zeros(0, 1, 2), maps.new_zeros(0, 1).int(), maps.new_zeros(0, 1, side, side)
        )
        return nothing, targets
    points, corners, masks = [], [], []
    whole = (torch.rand(len(maps)) >= _PART).tolist()
    for index, score_map in enumerate(maps.float().cpu().numpy()):
        frame = frames[index]
        best, box = points_and_box(
            score_map,
            cells=_cells(score_map, frame=frame, whole=whole[index], calibration=calibration),
            frame=frame,
            count=int(torch.randint(1, _MAX_POINTS + 1, ())),
            threshold=calibration.mask_threshold_score,
        )
        points.append(best)
        corners.append(box)
        scale = calibration.prompt_scale
        masks.append(mask_prompt(score_map, frame=frame, side=side, scale=scale))
    prompts = text_prompts(points, corners=np.stack(corners), mask_input=np.stack(masks))
    given = (prompts.point_coords, prompts.point_labels, prompts.mask_input)
    boxes = np.stack(corners).reshape(-1, 4) / CELL_PX
    asked = [
        target if all_of_it else touched(target, box)
        for target, box, all_of_it in zip(targets, boxes, whole, strict=True)
    ]
    return (
        LabelPrompts(*(torch.from_numpy(each).to(maps.device) for each in given)),
        torch.stack(asked),
    )


def _cells(
    score_map: np.ndarray, *, frame: Frame, whole: bool, calibration: Calibration
) -> np.ndarray:
    """The cells [g,g] of all parts of a label, or of one of them."""
    parts = find_parts(
        score_map,
        frame=frame,
        threshold=calibration.mask_threshold_score,
        presence_threshold=calibration.presence_threshold,
    )
    if whole:
        return parts > 0
    numbers = np.unique(parts[parts > 0])
    return np.asarray(parts == numbers[int(torch.randint(len(numbers), ()))])


def touched(target: Tensor, box: np.ndarray) -> Tensor:
    """Returns the connected regions of a label's mask [h,h] that reach into a box XYXY of cells."""
    _, pieces = cv2.connectedComponents((target.cpu().numpy() >= 0.5).astype(np.uint8))
    left, top, right, bottom = np.round(box).astype(int)
    inside = np.unique(pieces[top : max(bottom, top + 1), left : max(right, left + 1)])
    kept = np.isin(pieces, inside[inside > 0])
    return target * torch.from_numpy(kept).to(target.device)


def disturbed(maps: Tensor) -> Tensor:
    """Score maps [K,g,g], each steeper or flatter, higher or lower, and noisy at two scales."""
    count, grid = len(maps), maps.shape[-1]

    def even(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, device=maps.device).uniform_(low, high)

    coarse = torch.randn(count, 1, _COARSE_GRID, _COARSE_GRID, device=maps.device)
    coarse = F.interpolate(coarse, size=(grid, grid), mode="bilinear")[:, 0]
    noise = even(0, _COARSE_NOISE) * coarse + even(0, _FINE_NOISE) * torch.randn_like(maps)
    return even(*_STEEPNESS) * maps + even(-_SHIFT, _SHIFT) + noise


def frame_of(token_mask: np.ndarray, size: int) -> Frame:
    """Returns the frame of an image in the model's input, to the cell, by a mask [g,g]."""
    rows, columns = int(token_mask[:, 0].sum()), int(token_mask[0].sum())
    return Frame.fit(rows * PATCH_PX, columns * PATCH_PX, resolution=size)
