"""Masks of the boxes that the image encoder proposes, for things of any kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.segment import decode_in_boxes
from samclip_sdk.picture.image_prompts import image_prompts
from samclip_sdk.picture.proposals import Proposals, read_proposals

Array = NDArray[np.float32]

MOST_PROPOSALS = 100
"""Boxes of an image that get a mask."""

SAME_IOU = 0.7
"""The IoU above which two boxes are of one thing."""


def decode_proposals(one: Pass) -> tuple[Proposals, Array, Array]:
    """Asks the mask decoder for one mask of each box that the image encoder proposes.

    Returns:
        The N boxes, the masks' logits [N,1,4g,4g], and their predicted IoU [N,1].
    """
    values = one.embedding.proposals
    assert values is not None
    found = read_proposals(values, frame=one.frame, most=MOST_PROPOSALS, same_iou=SAME_IOU)
    prompts = image_prompts(boxes=found.boxes).in_model(one.frame, mask_side=one.mask_side)
    return found, *decode_in_boxes(one, prompts, tokens=slice(0, 1))
