"""Masks of the boxes that the image encoder proposes, for things of any kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.segment import decode_in_boxes
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.image.proposals import Proposals
from samclip_sdk.image.upscale import sigmoid

Array = NDArray[np.float32]

MIN_FIT = 0.1
"""The least score of a label in the better half of a box's cells, for the box to show it."""


def decode_proposals(one: Pass, proposals: Proposals) -> tuple[Array, Array]:
    """Asks the mask decoder for one mask of each proposed box.

    Returns:
        The logits [N,1,4g,4g] of N masks, and their predicted IoU [N,1].
    """
    if not len(proposals.boxes):
        side = one.mask_side
        return np.zeros((0, 1, side, side), np.float32), np.zeros((0, 1), np.float32)
    prompts = image_prompts(boxes=proposals.boxes).in_model(one.frame, mask_side=one.mask_side)
    return decode_in_boxes(one, prompts, tokens=slice(0, 1))


def proposals_on(one: Pass, score_map: Array) -> Proposals:
    """The proposals that a label fits, by its score map [h,h]: half of a box may be background."""
    found = one.proposals
    side = score_map.shape[-1]
    cell_px = one.frame.resolution / side
    corners = one.frame.to_model(found.boxes.reshape(-1, 2, 2)) / cell_px
    scores = sigmoid(score_map)
    kept = []
    for index, ((left, top), (right, bottom)) in enumerate(corners):
        rows = slice(int(top), max(int(np.ceil(bottom)), int(top) + 1))
        columns = slice(int(left), max(int(np.ceil(right)), int(left) + 1))
        inside = np.sort(scores[rows, columns], axis=None)
        if inside[len(inside) // 2 :].mean() >= MIN_FIT:
            kept.append(index)
    return Proposals(found.boxes[kept], found.scores[kept])
