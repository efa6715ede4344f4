"""Boxes of things of any kind, read from what the image encoder's proposal head tells of cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.suppression import Boxes, suppress

Array = NDArray[np.float32]

ANCHORS = 6
"""Boxes that each cell of 16 pixels proposes: four small ones, a middle and a large one."""

UNITS_PX = (16.0, 16.0, 16.0, 16.0, 48.0, 160.0)
"""Of each of these, the distance that is told as 0."""

MAX_EXPONENT = 4.0
"""Of a distance, 55 units: no image is larger."""

PROPOSAL_CHANNELS = 5 * ANCHORS
"""Of each box its objectness and four distances."""

_SMALL = 4  # anchors of stride 8
_CENTRES = np.array([[4, 12, 4, 12, 8, 8], [4, 4, 12, 12, 8, 8]], dtype=np.float32)
_CELL_PX = 16
_LOOKED_AT = 300  # boxes among which equal ones are looked for


class Proposals(NamedTuple):
    """Boxes of an image, the best first.

    Attributes:
        boxes: float32 [N,4], XYXY in image pixels, inside the image.
        scores: float32 [N], how likely each shows one whole thing, 0..1.
    """

    boxes: Array
    scores: Array


NO_PROPOSALS = Proposals(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

MAX_PROPOSALS = 100
"""Boxes of an image that are looked at."""

SAME_IOU = 0.7
"""The IoU above which two boxes are of one thing."""


def read_proposals(
    values: Array, *, frame: Frame, maximum: int = MAX_PROPOSALS, same_iou: float = SAME_IOU
) -> Proposals:
    """Reads the best boxes; of those that are alike the best one.

    A side of the value v is unit * exp(min(v, 4)) pixels from the middle of its anchor.

    Args:
        values: float32 [1,30,h,w], of the image encoder.
        frame: where the image lies in the model's input.
        maximum: how many boxes are wanted.
        same_iou: the IoU above which two boxes are of one thing.

    Returns:
        At most `maximum` of them.
    """
    rows, columns = covered_cells(frame, side=frame.resolution // _CELL_PX)
    shown = values[0, :, :rows, :columns]
    small = shown[: 5 * _SMALL].reshape(5, _SMALL, rows, columns)
    own = np.concatenate(
        [small, shown[5 * _SMALL :].reshape(5, ANCHORS - _SMALL, rows, columns)], 1
    )
    order = np.argsort(-own[0], axis=None, kind="stable")[:_LOOKED_AT]
    anchor, row, column = np.unravel_index(order, own[0].shape)
    x = _CENTRES[0, anchor] + _CELL_PX * column
    y = _CENTRES[1, anchor] + _CELL_PX * row
    told = np.minimum(own[1:, anchor, row, column], MAX_EXPONENT)
    left, top, right, bottom = np.array(UNITS_PX, np.float32)[anchor] * np.exp(told)
    corners = np.stack([x - left, y - top, x + right, y + bottom], axis=-1).reshape(-1, 2, 2)
    max_px = (frame.width_px, frame.height_px)
    boxes = frame.to_image(corners).clip(0, max_px).reshape(-1, 4).astype(np.float32)
    filled = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)).tolist()
    kept = suppress(Boxes(boxes), filled, same_iou=same_iou, at_most=maximum)
    scores = 1 / (1 + np.exp(-own[0].ravel()[order[kept]]))
    return Proposals(boxes[kept], scores.astype(np.float32))


def box_scores(boxes: Array, proposals: Proposals) -> Array:
    """How likely each of boxes [n,4] shows one whole thing: the score of the proposal it fits best.

    It is the highest product of a proposal's score and its IoU with the box, 0 without proposals.
    """
    best = np.zeros(len(boxes), np.float32)
    if len(proposals.boxes):
        low = np.maximum(boxes[:, None, :2], proposals.boxes[:, :2])
        high = np.minimum(boxes[:, None, 2:], proposals.boxes[:, 2:])
        shared = (high - low).clip(min=0).prod(axis=2)
        areas, own = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (proposals.boxes, boxes))
        union = (own[:, None] + areas - shared).clip(min=1e-6)
        best = (proposals.scores * shared / union).max(axis=1).astype(np.float32)
    return best
