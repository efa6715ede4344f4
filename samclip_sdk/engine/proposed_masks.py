"""Masks of the boxes that the image encoder proposes, for things of any kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.segment import decode_in_boxes
from samclip_sdk.picture.image_prompts import image_prompts
from samclip_sdk.picture.proposals import Proposals, read_proposals
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.system.timing import Stopwatch

Array = NDArray[np.float32]

MOST_PROPOSALS = 100
"""Boxes of an image that get a mask."""

SAME_IOU = 0.7
"""The IoU above which two boxes are of one thing."""


def decode_proposals(
    engine: Engine, embedding: ImageEmbedding, *, clock: Stopwatch
) -> tuple[Proposals, Array, Array]:
    """Asks the mask decoder for one mask of each box that the image encoder proposes.

    Returns:
        The N boxes, the masks' logits [N,4g,4g], and their predicted IoU [N].
    """
    assert embedding.proposals is not None
    frame = embedding.frame
    proposals = read_proposals(
        embedding.proposals, frame=frame, most=MOST_PROPOSALS, same_iou=SAME_IOU
    )
    prompts = image_prompts(boxes=proposals.boxes).in_model(
        frame, mask_side=engine.mask_side(frame)
    )
    low_res, predicted_iou = decode_in_boxes(
        engine, embedding, prompts=prompts, tokens=slice(0, 1), clock=clock
    )
    return proposals, low_res[:, 0], predicted_iou[:, 0]
